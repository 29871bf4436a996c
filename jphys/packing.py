"""Structures of mixed size waiting on the device, and the flat Graph of a few of them at a time.

The flat graph is assembled under jit, without padding between its members, as `graph.pad(graph.batch(…))`
would give it: what an energy function sees here is what it saw in training.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.graph import Graph


class Budget(NamedTuple):
    """Static size of a flat graph, padding included."""

    n_node: int
    n_edge: int


class Pack(NamedTuple):
    """A flat graph of some waiting structures; member i is graph i, the last graph is padding."""

    graph: Graph
    atoms: jax.Array  # (members, n_max) flat index of each atom
    mask: jax.Array  # (members, n_max) bool, false beyond the atoms of a member
    owner: jax.Array  # (n_node,) member of each node; the number of members on padding
    place: jax.Array  # (n_node,) which atom of its member


def stack(graphs: Sequence[Graph]) -> Graph:
    """Graphs of one structure each with a leading axis, zero-padded to the largest."""
    n_node = max(len(graph.nodes.species) for graph in graphs)
    n_edge = max(1, *(len(graph.senders) for graph in graphs))

    def join(size, *fields):
        filled = [np.concatenate([f, np.zeros((size - len(f), *f.shape[1:]), f.dtype)]) for f in fields]
        return np.stack(filled)

    def join_all(size, parts):
        return jax.tree.map(lambda *fields: join(size, *fields), *parts)

    return Graph(
        nodes=join_all(n_node, [graph.nodes for graph in graphs]),
        edges=join_all(n_edge, [graph.edges for graph in graphs]),
        senders=join_all(n_edge, [graph.senders for graph in graphs]),
        receivers=join_all(n_edge, [graph.receivers for graph in graphs]),
        globals=join_all(1, [graph.globals for graph in graphs]),
        n_node=np.array([graph.n_node[0] for graph in graphs], np.int32),
        n_edge=np.array([graph.n_edge[0] for graph in graphs], np.int32),
    )


def budget(waiting: Graph, members: int) -> Budget:
    """Room for `members` structures at a time, drawn in any order: mean plus three standard deviations.

    Never less than the largest structure needs, nor more than `members` of it.
    """

    def size(counts):
        counts = np.asarray(counts, float)
        usual = members * counts.mean() + 3 * np.sqrt(members) * counts.std()
        return int(np.ceil(np.clip(usual, counts.max(), members * counts.max())))

    return Budget(size(waiting.n_node) + 1, max(1, size(waiting.n_edge)))


def fits(waiting: Graph, chosen, alive, room: Budget):
    """Which of the wanted structures (members,) fit together: true up to the first that does not."""
    nodes = jnp.cumsum(jnp.where(alive, waiting.n_node[chosen], 0))
    edges = jnp.cumsum(jnp.where(alive, waiting.n_edge[chosen], 0))
    return (nodes < room.n_node) & (edges <= room.n_edge)


def pack(waiting: Graph, chosen, alive, room: Budget) -> Pack:
    """Flat graph of the structures `chosen` (members,) where `alive`; they must fit."""
    members = chosen.shape[0]
    n_node = jnp.where(alive, waiting.n_node[chosen], 0)
    n_edge = jnp.where(alive, waiting.n_edge[chosen], 0)
    first_node = jnp.cumsum(n_node) - n_node
    owner, place = _places(n_node, room.n_node)
    edge_owner, edge_place = _places(n_edge, room.n_edge)

    def flat(fields, owner, place):
        inside = owner < members
        row = chosen[jnp.minimum(owner, members - 1)]
        return jax.tree.map(lambda f: jnp.where(_like(inside, f[row, place]), f[row, place], 0), fields)

    def ends(field):
        moved = flat(field, edge_owner, edge_place) + first_node[jnp.minimum(edge_owner, members - 1)]
        return jnp.where(edge_owner < members, moved, room.n_node - 1)

    def per_graph(field):
        kept = jnp.where(_like(alive, field[chosen, 0]), field[chosen, 0], 0)
        return jnp.concatenate([kept, jnp.zeros_like(kept[:1])])

    graph = Graph(
        nodes=flat(waiting.nodes, owner, place),
        edges=flat(waiting.edges, edge_owner, edge_place),
        senders=ends(waiting.senders),
        receivers=ends(waiting.receivers),
        globals=jax.tree.map(per_graph, waiting.globals),
        n_node=jnp.append(n_node, room.n_node - jnp.sum(n_node)),
        n_edge=jnp.append(n_edge, room.n_edge - jnp.sum(n_edge)),
    )
    within = jnp.arange(waiting.nodes.species.shape[1])
    mask = within < n_node[:, None]
    return Pack(graph, jnp.where(mask, first_node[:, None] + within, 0), mask, owner, place)


def _places(counts, size: int):
    """For each of `size` flat rows: which member it belongs to, and which of its rows it is."""
    ends = jnp.cumsum(counts)
    rows = jnp.arange(size, dtype=counts.dtype)
    owner = jnp.searchsorted(ends, rows, side="right").astype(counts.dtype)
    inside = jnp.minimum(owner, len(counts) - 1)
    return owner, jnp.where(owner < len(counts), rows - (ends - counts)[inside], 0)


def _like(flags, array):
    return flags.reshape(flags.shape + (1,) * (array.ndim - flags.ndim))


def to_flat(packed: Pack, values):
    """Values (members, n_max, …) on the nodes of the flat graph: (n_node, …), 0 on padding."""
    inside = packed.owner < values.shape[0]
    rows = values[jnp.minimum(packed.owner, values.shape[0] - 1), packed.place]
    return jnp.where(_like(inside, rows), rows, 0)


def from_flat(packed: Pack, values):
    """Node values (n_node, …) by member: (members, n_max, …), 0 beyond its atoms."""
    rows = values[packed.atoms]
    return jnp.where(_like(packed.mask, rows), rows, 0)
