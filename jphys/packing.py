"""Structures of mixed size end to end on the device, and the flat Graph of a few of them at a time.

The flat graph is assembled under jit, without padding between its members, as `graph.pad(graph.batch(…))`
would give it: training and relaxation show a model the same graphs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.graph import Edges, Globals, Graph, Nodes
from jphys.ragged import Ragged, make_ragged, round_size, take_rows


class Stored(NamedTuple):
    """m structures."""

    nodes: Ragged  # rows: Nodes
    edges: Ragged  # rows: senders and receivers within the structure, Edges
    globals: Globals  # (m, …)


class Budget(NamedTuple):
    """Static size of a flat graph, padding included."""

    n_node: int
    n_edge: int


class Pack(NamedTuple):
    """A flat graph of k chosen structures; member i is graph i, the last graph is padding."""

    graph: Graph
    first: jax.Array  # (k + 1,) first node of each member; for the padding the last node
    owner: jax.Array  # (n_node,) member of each node; k on padding
    local: jax.Array  # (n_node,) which atom of its member


def store(graphs: Sequence[Graph], *, rounded: bool = False) -> Stored:
    """Lay out graphs of one structure each; `rounded` where their numbers of edges will change."""
    return Stored(
        nodes=make_ragged([graph.nodes for graph in graphs]),
        edges=make_ragged([(g.senders, g.receivers, g.edges) for g in graphs], rounded=rounded),
        globals=jax.tree.map(
            lambda *rows: jnp.asarray(np.concatenate(rows)), *[graph.globals for graph in graphs]
        ),
    )


def budget(stored: Stored, members: int, *, rounded: bool = False) -> Budget:
    """Room for about `members` structures at a time, drawn in any order: mean plus half a standard deviation.

    Who takes them looks whether they fit: more room would be padding in nearly every round, less would leave
    places free. Never less than the largest structure needs, nor more than `members` of it.
    """

    def size(counts):
        counts = np.asarray(counts, float)
        usual = members * counts.mean() + 0.5 * np.sqrt(members) * counts.std()
        return int(np.ceil(np.clip(usual, counts.max(), members * counts.max())))

    n_edge = max(1, size(stored.edges.counts))
    return Budget(size(stored.nodes.counts) + 1, round_size(n_edge) if rounded else n_edge)


def fits(stored: Stored, chosen, room: Budget):
    """Which of the chosen structures (k,), −1 for none, fit together: true up to the first that does not."""

    def total(counts):
        return jnp.cumsum(jnp.where(chosen >= 0, counts[chosen], 0))

    return (total(stored.nodes.counts) < room.n_node) & (total(stored.edges.counts) <= room.n_edge)


def pack(stored: Stored, chosen, room: Budget) -> Pack:
    """Flat graph of the structures `chosen` (k,), −1 for none; they must fit. Runs under jit."""
    nodes = take_rows(stored.nodes, chosen, room.n_node)
    edges = take_rows(stored.edges, chosen, room.n_edge)
    real = chosen >= 0
    n_node = jnp.where(real, stored.nodes.counts[chosen], 0)
    n_edge = jnp.where(real, stored.edges.counts[chosen], 0)
    last = jnp.full(1, room.n_node - 1, n_node.dtype)
    first = jnp.concatenate([jnp.cumsum(n_node, dtype=n_node.dtype) - n_node, last])
    senders, receivers, rows = edges.rows

    def ends(local):
        return jnp.where(edges.mask, first[edges.owner] + local, last[0])

    def per_graph(rows):
        kept = _where(real, rows[chosen])
        return jnp.concatenate([kept, jnp.zeros_like(kept[:1])])

    graph = Graph(
        nodes=Nodes(*(_where(nodes.mask, rows) for rows in nodes.rows)),
        edges=Edges(*(_where(edges.mask, field) for field in rows)),
        senders=ends(senders),
        receivers=ends(receivers),
        globals=Globals(*(per_graph(field) for field in stored.globals)),
        n_node=jnp.append(n_node, room.n_node - jnp.sum(n_node)),
        n_edge=jnp.append(n_edge, room.n_edge - jnp.sum(n_edge)),
    )
    return Pack(graph, first, nodes.owner, nodes.local)


def _where(flags, rows):
    """Rows where the leading axes are flagged, zeros elsewhere."""
    flags = flags.reshape(flags.shape + (1,) * (rows.ndim - flags.ndim))
    return jnp.where(flags, rows, jnp.zeros_like(rows))


def to_flat(packed: Pack, values):
    """Values (k, n_max, …) on the nodes of the flat graph: (n_node, …), 0 on padding."""
    members = len(values)
    rows = values[jnp.minimum(packed.owner, members - 1), packed.local]
    return _where(packed.owner < members, rows)


def from_flat(packed: Pack, values, n_max: int):
    """Node values (n_node, …) by member: (k, n_max, …), 0 beyond its atoms."""
    place = jnp.arange(n_max)
    inside = place < packed.graph.n_node[:-1, None]
    return _where(inside, values[jnp.where(inside, packed.first[:-1, None] + place, 0)])
