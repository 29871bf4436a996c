"""Perturbed structures, and any energy function evaluated on many structures at once."""

import functools
from collections.abc import Sequence

import jax
import numpy as np

from jphys import graph as graphs_of
from jphys.derivatives import energy_and_forces, energy_function
from jphys.graph import Graph, with_positions


def perturb(graphs: Sequence[Graph], sigma: float, *, key) -> list[Graph]:
    """The graphs with Gaussian noise of standard deviation `sigma` (Å) on every coordinate.

    Rigid motion is not removed. Graph i draws from the i-th split of the key, so its noise does not
    depend on the other graphs, and with one key the noise of two amplitudes is the same direction.

    Raises:
        ValueError: if sigma is negative.
    """
    if not sigma >= 0:
        raise ValueError(f"sigma must be at least 0 Å, got {sigma}")
    n_max = max((len(g.nodes.species) for g in graphs), default=0)
    noise = jax.vmap(lambda k: jax.random.normal(k, (n_max, 3)))(jax.random.split(key, len(graphs)))
    moved = []
    for graph, step in zip(graphs, np.asarray(noise), strict=True):
        positions = np.asarray(graph.nodes.positions)
        step = (sigma * step[: len(positions)]).astype(positions.dtype)
        moved.append(with_positions(graph, positions + step))
    return moved


def evaluate(potential, params, graphs: Sequence[Graph], *, chunk: int = 64):
    """Energies (m,) eV, float64, and a list of forces (n_i, 3) eV/Å of many graphs.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each.
        chunk: graphs per device call; all calls share one padded shape.
    """
    if not len(graphs):
        return np.zeros(0), []
    parts = [graphs[start : start + chunk] for start in range(0, len(graphs), chunk)]
    batches = [graphs_of.batch(part) for part in parts]
    n_node = max(len(batch.nodes.species) for batch in batches) + 1
    n_edge = max(len(batch.senders) for batch in batches)
    compute = _compiled(energy_function(potential))
    energies, forces = [], []
    for part, batch in zip(parts, batches, strict=True):
        energy, force = compute(params, graphs_of.pad(batch, n_node, n_edge, min(chunk, len(graphs)) + 1))
        ends = np.cumsum(batch.n_node)
        energies.append(np.asarray(energy, np.float64)[: len(part)])
        forces += np.split(np.asarray(force)[: ends[-1]], ends[:-1])
    return np.concatenate(energies), forces


@functools.lru_cache(maxsize=32)
def _compiled(energy):
    return jax.jit(energy_and_forces(energy))


def finite_or_none(value) -> float | None:
    """A float for JSON, which knows no NaN or infinity."""
    value = float(value)
    return value if np.isfinite(value) else None
