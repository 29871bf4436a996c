"""Any energy function on many structures, in batches of few padded shapes."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jphys.compiling import remembered
from jphys.derivatives import energy_and_forces, energy_forces_stress, energy_function
from jphys.graph import Graph, batch, pad
from jphys.shapes import SPARE, Shapes, round_size, rungs

__all__ = ["energies", "evaluate", "stresses"]


class Room(NamedTuple):
    """Static size of a padded batch, its padding graph included."""

    n_node: int
    n_edge: int
    n_graph: int


def energies(potential, params, graphs: Sequence[Graph], *, chunk: int = 64) -> np.ndarray:
    """Energies (m,) eV, float64, of m graphs of one structure each.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs.
        chunk: graphs per device call.
    """
    program = _energies(energy_function(potential))
    found = [np.asarray(energy)[: len(sizes)] for energy, sizes in program.over(params, graphs, chunk)]
    return np.concatenate([np.zeros(0), *found])


def evaluate(potential, params, graphs: Sequence[Graph], *, chunk: int = 64):
    """Energies (m,) eV, float64, and a list of forces (n_i, 3) eV/Å; arguments as `energies`."""
    program = _energies_and_forces(energy_function(potential))
    found, forces = [np.zeros(0)], []
    for (energy, force), sizes in program.over(params, graphs, chunk):
        found.append(np.asarray(energy)[: len(sizes)])
        forces += split_atoms(force, sizes)
    return np.concatenate(found), forces


def stresses(potential, params, graphs: Sequence[Graph], *, chunk: int = 64) -> np.ndarray:
    """Stress (m, 3, 3) eV/Å³, 0 without a cell; arguments as `energies`."""
    program = _stresses(energy_function(potential))
    found = [
        np.asarray(stress)[: len(sizes)] for (_, _, stress), sizes in program.over(params, graphs, chunk)
    ]
    return np.concatenate([np.zeros((0, 3, 3)), *found])


def split_atoms(values, sizes: np.ndarray) -> list[np.ndarray]:
    """Values (n_node, …) of a padded batch, one array (n_i, …) for each of its graphs."""
    ends = np.cumsum(sizes)
    return np.split(np.asarray(values)[: ends[-1]], ends[:-1])


class Program:
    """A jitted function (params, graph, **static) over many graphs, in few shapes; see `Shapes`."""

    def __init__(self, function: Callable[..., Any], spare: int = SPARE, static: Sequence[str] = ()):
        self.compute = jax.jit(function, static_argnames=static)
        self.rooms: Shapes[Room] = Shapes(lambda room: room.n_node + room.n_edge, spare)

    def over(self, params, graphs: Sequence[Graph], chunk: int, **static) -> Iterator[tuple[Any, np.ndarray]]:
        """Per batch of at most `chunk` graphs, its padding at the end: what the function returns, and the
        number of atoms of each graph."""
        joined = [batch(graphs[start : start + chunk]) for start in range(0, len(graphs), chunk)]
        if not joined:
            return
        room = self._room(joined)
        for one in joined:
            yield self.compute(params, pad(one, *room), **static), np.asarray(one.n_node)

    def _room(self, joined: list[Graph]) -> Room:
        n_node, n_edge, n_graph = (
            max(len(column(one)) for one in joined)
            for column in (lambda g: g.nodes.species, lambda g: g.senders, lambda g: g.n_node)
        )
        needs = Room(n_node + 1, n_edge, n_graph + 1)
        tight = Room(*map(round_size, needs))
        generous = Room(*rungs(tight, (64, 256, 16)))
        return self.rooms.choose(needs, tight, generous, calls=len(joined))


@remembered(16)
def _energies(energy) -> Program:
    return Program(energy)


@remembered(16)
def _energies_and_forces(energy) -> Program:
    return Program(energy_and_forces(energy))


@remembered(16)
def _stresses(energy) -> Program:
    return Program(energy_forces_stress(energy))
