"""Functions of many edges, of which only as many exist at a time as a cache holds.

An edge array of 10⁴ atoms takes 200 MB, and the gradient of an energy needs dozens of them. Here long edge
lists are worked through in pieces, whose values are computed once more for the gradient.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

__all__ = ["sum_of_messages", "values_on_edges"]

PIECE = 8192  # edges; (8192, 64) float32 fill 2 MB
LONG = 8 * PIECE  # edges from which on lists are cut; below it, one piece is as fast
PIECE_ON_ACCELERATORS = 2**20  # small kernels would leave them idle


def sum_of_messages(function, params, received, sent, rows, ends, n_node: int):
    """Σ_j of function(params, received_i, sent_j, row_ij) at the first end i of every edge (i, j).

    For cut lists: gradients to any order, forward over reverse too, but no forward derivative alone.

    Args:
        function: message of many edges at once, (params, (e, …), (e, …), (e, …)) -> (e, …), or a pytree of
            such arrays, say of scalars and vectors; closes over nothing that is traced.
        params, received, sent: pytrees of floats; arrays (n_node, …) in the latter two.
        rows: pytree of floats, arrays (n_edge, …).
        ends: receivers and senders (n_edge,), the first ascending.
        n_node: number of nodes.

    Returns:
        (n_node, …), or the pytree of such sums.
    """
    if not is_long(ends):
        values = function(params, _rows(received, ends[0]), _rows(sent, ends[1]), rows)
        return jax.tree.map(functools.partial(_summed, ends[0], n_node), values)
    return _in_pieces(function, n_node, params, received, sent, *_cut(rows, ends))


def values_on_edges(function, params, received, sent, rows, ends):
    """The values (n_edge, …) that `sum_of_messages` sums; the ends come in any order."""
    if not is_long(ends):
        return function(params, _rows(received, ends[0]), _rows(sent, ends[1]), rows)
    values: Any = _in_pieces(function, None, params, received, sent, *_cut(rows, ends))
    return jax.tree.map(lambda value: value.reshape(-1, *value.shape[2:])[: len(ends[0])], values)


def _summed(receivers, n_node: int, values):
    return jax.ops.segment_sum(values, receivers, n_node, indices_are_sorted=True)


def is_long(ends) -> bool:
    """Whether the list is cut."""
    return len(ends[0]) > max(LONG, _piece())


def _piece() -> int:
    return PIECE if jax.default_backend() == "cpu" else PIECE_ON_ACCELERATORS


def _cut(rows, ends):
    """Rows, receivers and senders as (pieces, edges of a piece, …); padding ends beyond all nodes."""
    n_edge, size = len(ends[0]), _piece()
    count = -(-n_edge // size)

    def cut(array, fill):
        array = jnp.asarray(array)
        padding = ((0, count * size - n_edge),) + ((0, 0),) * (array.ndim - 1)
        return jnp.pad(array, padding, constant_values=fill).reshape(count, size, *array.shape[1:])

    beyond = jnp.iinfo(jnp.int32).max
    return jax.tree.map(lambda row: cut(row, 0), rows), *(cut(end, beyond) for end in ends)


def _rows(arrays, index, mode=None):
    return jax.tree.map(lambda array: jnp.asarray(array).at[index].get(mode=mode), arrays)


def _one_piece(function, params, received, sent, piece):
    """The function on a piece (rows, receivers, senders); on padding, of the last node with itself."""
    rows, to, of = piece
    return function(params, _rows(received, to, "clip"), _rows(sent, of, "clip"), rows)


def _evaluated(function, n_node, params, received, sent, *pieces):
    """Sums (n_node, …), or with n_node None the values (pieces, edges, …)."""
    values = functools.partial(_one_piece, function, params, received, sent)
    if n_node is None:
        return jax.lax.map(values, pieces)

    def add(total, piece):
        return jax.tree.map(lambda old, new: _added(old, piece[1], new, True), total, values(piece)), None

    shapes = jax.eval_shape(values, jax.tree.map(lambda array: array[0], pieces))
    start = jax.tree.map(lambda one: jnp.zeros((n_node, *one.shape[1:]), one.dtype), shapes)
    return jax.lax.scan(add, start, pieces)[0]


def _added(total, index, values, ordered: bool):
    """Values of edges added in place to nodes; those of padding are dropped."""
    return total.at[index].add(values, mode="drop", indices_are_sorted=ordered)


_in_pieces = jax.custom_vjp(_evaluated, nondiff_argnums=(0, 1))


def _forward(function, n_node, *arguments):
    # Not by `_in_pieces` itself, which has no forward derivative: a Hessian is forward over reverse.
    return _evaluated(function, n_node, *arguments), arguments


def _backward(function, n_node, arguments, slope):
    """Slopes of the arguments, piece by piece added up in place.

    The derivative that JAX has for a loop adds a full array of nodes for every piece: N² in time.
    """
    params, received, sent, *pieces = arguments
    ordered = n_node is not None

    def add(total, given):
        (rows, to, of), by_values = given
        if by_values is None:
            by_values = jax.tree.map(lambda at: at.at[to].get(mode="fill", fill_value=0), slope)
        at_ends = _rows(received, to, "clip"), _rows(sent, of, "clip")
        by_params, by_received, by_sent, by_rows = jax.vjp(function, params, *at_ends, rows)[1](by_values)
        total = (
            jax.tree.map(jnp.add, total[0], by_params),
            jax.tree.map(lambda old, new: _added(old, to, new, ordered), total[1], by_received),
            jax.tree.map(lambda old, new: _added(old, of, new, False), total[2], by_sent),
        )
        return total, by_rows

    start = jax.tree.map(jnp.zeros_like, (params, received, sent))
    sums, by_rows = jax.lax.scan(add, start, (tuple(pieces), None if ordered else slope))
    return *sums, by_rows, None, None


_in_pieces.defvjp(_forward, _backward)
