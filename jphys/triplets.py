"""Lists of bonds and of pairs of edges at one atom, made on the device from the sorted edges of a graph."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jphys import ops

__all__ = ["Triplets", "triplets"]


class Triplets(NamedTuple):
    """Pairs of edges that meet at an atom, their receiver; each pair once."""

    first: jax.Array  # (t,) numbers of edges, first < second
    second: jax.Array  # (t,) ascending
    mask: jax.Array  # (t,) bool, false on padding
    crowded: jax.Array  # (n_graph,) bool, structures with more triplets than places: some are missing


def allot(counts, graph, per_node: int):
    """How many of the entries of every edge fit into n_node · `per_node` places.

    Where there are more entries than places, no structure has more than its atoms bring: one that collapses
    does not take the places of its neighbours in a batch.

    Args:
        counts: (n_edge,) int, entries of every edge.
        graph: edges sorted by receiver.
        per_node: places per atom.

    Returns:
        The entries that fit (n_edge,), and which structures (n_graph,) have more than that.
    """
    owner = ops.graph_of_edge(graph)
    wanted = jax.ops.segment_sum(counts, owner, len(graph.n_node), indices_are_sorted=True)
    fair = jnp.minimum(wanted, per_node * jnp.asarray(graph.n_node))
    places = jnp.where(jnp.sum(wanted) <= per_node * len(graph.nodes.species), wanted, fair)
    before = jnp.cumsum(counts) - counts - (jnp.cumsum(wanted) - wanted)[owner]
    return jnp.clip(places[owner] - before, 0, counts), wanted > places


def listed(counts, length: int):
    """Every edge as often as it has entries.

    Returns:
        Numbers of edges (length,), ascending; the number of each entry among those of its edge; and whether
        the place is taken, the others repeat the last edge.
    """
    edges = jnp.repeat(jnp.arange(len(counts)), counts, total_repeat_length=length)
    ends, places = jnp.cumsum(counts), jnp.arange(length)
    return edges, places - (ends - counts)[edges], places < ends[-1]


def places_of(flags, graph, per_node: int):
    """Flagged edges (n_edge,) in n_node · `per_node` places.

    Returns:
        Edge numbers (n_node · per_node,), ascending; which of them are flagged edges, the others repeat the
        last edge; and which structures (n_graph,) have more flagged edges than places.
    """
    fitting, crowded = allot(flags.astype(jnp.int32), graph, per_node)
    edges, _, real = listed(fitting, per_node * len(graph.nodes.species))
    return edges, real, crowded


def triplets(graph, per_node: int, among=None) -> Triplets:
    """The pairs of edges at every atom, in n_node · `per_node` places.

    In a crystal the images of an atom are neighbours of their own, by the edges that lead to them.

    Args:
        graph: edges sorted by receiver.
        per_node: places per atom; an atom with m edges has m(m−1)/2 triplets.
        among: (n_edge,) bool, edges that take part, say bonds or those within a shorter cutoff (as
            `~(lengths > reach)`, which does not lose what is NaN); None: all.
    """
    if not len(graph.receivers):
        none = jnp.zeros(0, jnp.int32)
        return Triplets(none, none, none > 0, jnp.zeros(len(graph.n_node), bool))
    flags = jnp.asarray(graph.edges.mask) if among is None else among & graph.edges.mask
    receivers, n_node = jnp.asarray(graph.receivers), len(graph.nodes.species)
    at_node = jax.ops.segment_sum(flags.astype(jnp.int32), receivers, n_node, indices_are_sorted=True)
    number = jnp.cumsum(flags) - 1  # among the flagged edges
    rank = jnp.where(flags, number - (jnp.cumsum(at_node) - at_node)[receivers], 0)  # among those at its atom
    flagged = (
        jnp.zeros_like(receivers)
        .at[jnp.where(flags, number, len(flags))]
        .set(jnp.arange(len(flags), dtype=receivers.dtype), mode="drop")
    )
    # An edge of rank r closes r triplets, with the edges of rank 0 … r−1 at the same atom.
    fitting, crowded = allot(rank, graph, per_node)
    second, entry, mask = listed(fitting, per_node * n_node)
    first = flagged[jnp.maximum(number[second] - rank[second] + entry, 0)]
    return Triplets(jnp.where(mask, first, second), second, mask, crowded)
