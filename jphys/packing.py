"""Structures of mixed size end to end on the device, and the flat Graph of a few of them at a time.

The flat graph is assembled under jit, without padding between its members, as `graph.pad(graph.batch(…))`
would give it: training and relaxation show a model the same graphs.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.graph import Globals, Graph, Nodes
from jphys.ops import graph_of_node
from jphys.ragged import Ragged, ragged_rows, take_rows


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


def store(graphs: Sequence[Graph], *, members: int = 0, n_node: int = 0, n_edge: int = 0) -> Stored:
    """Lay out graphs of one structure each; empty structures and unused rows follow up to the sizes given.

    Host side: the rows come onto the device where they are used.
    """
    spare = max(members - len(graphs), 0)

    def join(*rows):
        return np.concatenate([*rows, np.zeros((spare, *rows[0].shape[1:]), rows[0].dtype)])

    edges = [(g.senders, g.receivers, g.edges) for g in graphs]
    return Stored(
        nodes=ragged_rows([graph.nodes for graph in graphs], n_rows=n_node, members=members),
        edges=ragged_rows(edges, n_rows=n_edge, members=members),
        globals=jax.tree.map(join, *[graph.globals for graph in graphs]),
    )


def narrow(stored: Stored, n_atom: int) -> Stored:
    """The same in small integers: the edges of a data set in a third of the memory.

    Args:
        stored: on the host.
        n_atom: of the largest structure of the data set.

    Raises:
        ValueError: for an image beyond ±32767.
    """
    atoms = next(kind for kind in (np.uint8, np.uint16, np.int32) if n_atom - 1 <= np.iinfo(kind).max)
    senders, receivers, edges = stored.edges.rows
    if np.abs(edges.shifts).max(initial=0) > np.iinfo(np.int16).max:
        raise ValueError(f"shifts must be within ±32767, got {np.abs(edges.shifts).max()}")
    few = edges._replace(shifts=edges.shifts.astype(np.int16), bond_type=edges.bond_type.astype(np.int8))
    rows = (senders.astype(atoms), receivers.astype(atoms), few)
    return stored._replace(edges=stored.edges._replace(rows=rows))


def stored_batch(graph: Graph) -> Stored:
    """The structures of a flat graph, to pack some of them again; its padding is the last. Runs under jit."""
    first_node, first_edge = jnp.cumsum(graph.n_node) - graph.n_node, jnp.cumsum(graph.n_edge) - graph.n_edge
    first = first_node[graph_of_node(graph)]
    rows = (graph.senders - first[graph.senders], graph.receivers - first[graph.receivers], graph.edges)
    return Stored(
        nodes=Ragged(graph.nodes, first_node, graph.n_node),
        edges=Ragged(rows, first_edge, graph.n_edge),
        globals=graph.globals,
    )


def budget(n_atoms, n_edges, members: int) -> Budget:
    """Room for about `members` structures at a time, drawn in any order: mean plus half a standard deviation.

    Who takes them looks whether they fit: more room would be padding in nearly every round, less would leave
    places free. Never less than the largest structure needs, nor more than `members` of it.

    Args:
        n_atoms, n_edges: (m,) of every structure.
        members: how many at a time.
    """

    def size(counts):
        counts = np.asarray(counts, float)
        usual = members * counts.mean() + 0.5 * np.sqrt(members) * counts.std()
        return int(np.ceil(np.clip(usual, counts.max(), members * counts.max())))

    return Budget(size(n_atoms) + 1, max(1, size(n_edges)))


def fits(stored: Stored, chosen, room: Budget):
    """Which of the chosen structures (k,), −1 for none, fit together: true up to the first that does not."""

    def total(counts):
        return jnp.cumsum(jnp.where(chosen >= 0, counts[chosen], 0))

    return (total(stored.nodes.counts) < room.n_node) & (total(stored.edges.counts) <= room.n_edge)


def pack(stored: Stored, chosen, room: Budget) -> Pack:
    """Flat graph of the structures `chosen` (k,), −1 for none; they must fit. Runs under jit."""
    stored = jax.tree.map(jnp.asarray, stored)
    nodes = take_rows(stored.nodes, chosen, room.n_node)
    edges = take_rows(stored.edges, chosen, room.n_edge)
    real = chosen >= 0
    n_node = jnp.where(real, stored.nodes.counts[chosen], 0)
    n_edge = jnp.where(real, stored.edges.counts[chosen], 0)
    last = jnp.full(1, room.n_node - 1, n_node.dtype)
    first = jnp.concatenate([jnp.cumsum(n_node, dtype=n_node.dtype) - n_node, last])
    senders, receivers, rows = edges.rows
    whole = {"shifts": rows.shifts.astype(jnp.int32), "bond_type": rows.bond_type.astype(jnp.int32)}
    rows = rows._replace(**whole)

    def ends(local):
        return jnp.where(edges.mask, first[edges.owner] + local.astype(jnp.int32), last[0])

    def per_graph(rows):
        kept = _where(real, rows[chosen])
        return jnp.concatenate([kept, jnp.zeros_like(kept[:1])])

    graph = Graph(
        nodes=Nodes(*(_where(nodes.mask, rows) for rows in nodes.rows)),
        edges=jax.tree.map(lambda field: _where(edges.mask, field), rows),
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
