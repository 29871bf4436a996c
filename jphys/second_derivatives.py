"""Hessians of many structures of mixed size, in few compiled shapes."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jphys import ops
from jphys.compiling import remembered
from jphys.derivatives import energy_and_forces, energy_function
from jphys.evaluation import Program
from jphys.graph import Graph, with_positions
from jphys.shapes import rung

__all__ = ["hessians"]

COLUMNS = 8  # at once


def hessians(
    potential, params, graphs: Sequence[Graph], *, chunk: int = 16, rows: int | None = None
) -> list[np.ndarray]:
    """H = ∂²E/∂p∂p, forward over reverse, of each of m graphs.

    One product of Hessian and vector gives a column of every structure of a batch: the structures do not feel
    each other, so the vector moves one coordinate of each.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each.
        chunk: graphs per device call.
        rows: those of so many atoms at the beginning of each graph alone; None: of all.

    Returns:
        m arrays (n_i, 3, n_i, 3) eV/Å², or (rows, 3, n_i, 3).

    Raises:
        ValueError: for rows that are no whole number from 1.
    """
    if rows is not None and not (rows >= 1 and rows == int(rows)):
        raise ValueError(f"rows must be a whole number from 1, got {rows}")
    if not graphs:
        return []
    program, found = _program(energy_function(potential)), []
    most = max(len(graph.nodes.species) for graph in graphs)
    n_max = rung(most if rows is None else min(rows, most), 8)
    for columns, sizes in program.over(params, graphs, chunk, n_max=n_max):
        columns, first = np.asarray(columns), 0
        for n in sizes:
            k = n if rows is None else min(rows, n)
            found.append(columns[: 3 * k, first : first + n].reshape(k, 3, n, 3).copy())
            first += n
    return found


@remembered(8)
def _program(energy) -> Program:
    return Program(functools.partial(_columns, energy), static=("n_max",))


def _columns(energy, params, graph: Graph, *, n_max: int):
    """Column k of every structure of the batch: (3 n_max or more, n_node, 3) eV/Å², 0 beyond its atoms.

    Those of `n_max` atoms at its beginning, where it has more.
    """
    n_node = jnp.asarray(graph.n_node)
    local = jnp.arange(len(graph.nodes.species)) - (jnp.cumsum(n_node) - n_node)[ops.graph_of_node(graph)]
    compute, axes = energy_and_forces(energy), jnp.arange(3)

    def forces(positions):
        return compute(params, with_positions(graph, positions))[1]

    positions = jnp.asarray(graph.nodes.positions)
    _, push = jax.linearize(forces, positions)

    def column(number):
        moved = (local == number // 3)[:, None] & (axes == number % 3) & graph.nodes.mask[:, None]
        return -push(moved.astype(positions.dtype))

    def some(turn, columns):
        block = jax.vmap(column)(turn * COLUMNS + jnp.arange(COLUMNS))
        return jax.lax.dynamic_update_slice_in_dim(columns, block, turn * COLUMNS, axis=0)

    turns = -(-3 * n_max // COLUMNS)
    needed = -(-3 * jnp.max(jnp.where(graph.globals.mask, n_node, 0)) // COLUMNS)
    columns = jnp.zeros((turns * COLUMNS, *positions.shape), positions.dtype)
    return jax.lax.fori_loop(0, jnp.minimum(needed, turns), some, columns)
