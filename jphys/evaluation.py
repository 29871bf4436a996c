"""Any energy function on many structures, in batches of one padded shape."""

import functools
from collections.abc import Iterator, Sequence

import jax
import numpy as np

from jphys.derivatives import energy_and_forces, energy_forces_stress, energy_function
from jphys.graph import Graph, batch, pad
from jphys.ragged import round_size


def energies(potential, params, graphs: Sequence[Graph], *, chunk: int = 64) -> np.ndarray:
    """Energies (m,) eV, float64, of m graphs of one structure each.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs.
        chunk: graphs per device call.
    """
    compute = _compiled_energy(energy_function(potential))
    found = [np.asarray(compute(params, padded))[:size] for padded, size in padded_batches(graphs, chunk)]
    return np.concatenate([np.zeros(0), *found])


def evaluate(potential, params, graphs: Sequence[Graph], *, chunk: int = 64):
    """Energies (m,) eV, float64, and a list of forces (n_i, 3) eV/Å; arguments as `energies`."""
    compute = _compiled(energy_function(potential))
    found, forces = [np.zeros(0)], []
    for padded, size in padded_batches(graphs, chunk):
        energy, force = compute(params, padded)
        ends = np.cumsum(padded.n_node[:size])
        found.append(np.asarray(energy)[:size])
        forces += np.split(np.asarray(force)[: ends[-1]], ends[:-1])
    return np.concatenate(found), forces


def stresses(potential, params, graphs: Sequence[Graph], *, chunk: int = 64) -> np.ndarray:
    """Stress (m, 3, 3) eV/Å³, 0 without a cell; arguments as `energies`."""
    compute = _compiled_stress(energy_function(potential))
    found = [np.asarray(compute(params, padded)[2])[:size] for padded, size in padded_batches(graphs, chunk)]
    return np.concatenate([np.zeros((0, 3, 3)), *found])


def padded_batches(graphs: Sequence[Graph], chunk: int) -> Iterator[tuple[Graph, int]]:
    """Padded batches of one shape, each with its number of graphs; similar sets of graphs share it."""
    parts = [graphs[start : start + chunk] for start in range(0, len(graphs), chunk)]
    joined = [batch(part) for part in parts]
    n_node = max((len(one.nodes.species) for one in joined), default=0)
    n_edge = max((len(one.senders) for one in joined), default=0)
    room = round_size(n_node) + 1, round_size(n_edge), round_size(min(chunk, len(graphs))) + 1
    for part, one in zip(parts, joined, strict=True):
        yield pad(one, *room), len(part)


@functools.lru_cache(maxsize=32)
def _compiled_energy(energy):
    return jax.jit(energy)


@functools.lru_cache(maxsize=32)
def _compiled(energy):
    return jax.jit(energy_and_forces(energy))


@functools.lru_cache(maxsize=32)
def _compiled_stress(energy):
    return jax.jit(energy_forces_stress(energy))
