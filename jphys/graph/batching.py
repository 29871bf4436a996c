"""Graphs side by side: batch, pad to static sizes, take apart, check."""

import operator
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from jphys.graph.types import Globals, Graph, Nodes


def batch(graphs: Sequence[Graph], *, xp=np) -> Graph:
    """One Graph that holds the given graphs side by side, in order.

    Args:
        graphs: padded ones too.
        xp: jax.numpy where they are traced.

    Raises:
        ValueError: for an empty sequence.
    """
    if not graphs:
        raise ValueError("graphs must hold at least one graph, got an empty sequence")
    offsets = np.cumsum([0] + [len(g.nodes.species) for g in graphs[:-1]], dtype=np.int32)

    def join(parts):
        return xp.concatenate([xp.asarray(part) for part in parts])

    return Graph(
        nodes=Nodes(*(join(field) for field in zip(*(g.nodes for g in graphs)))),
        edges=jax.tree.map(lambda *fields: join(fields), *(g.edges for g in graphs)),
        senders=join([g.senders + o for g, o in zip(graphs, offsets)]),
        receivers=join([g.receivers + o for g, o in zip(graphs, offsets)]),
        globals=Globals(*(join(field) for field in zip(*(g.globals for g in graphs)))),
        n_node=join([g.n_node for g in graphs]),
        n_edge=join([g.n_edge for g in graphs]),
    )


def pad(graph: Graph, n_node: int, n_edge: int, n_graph: int) -> Graph:
    """The graph with padding up to the given sizes: masked, of species 0, in one extra graph (or more).

    Padding edges are self-edges of the last node, so that the edges stay sorted by receiver.

    Raises:
        ValueError: if the graph does not fit, or leaves no room for the padding it needs.
    """
    sizes = len(graph.nodes.species), len(graph.senders), len(graph.n_node)
    for name, size, budget in zip(("n_node", "n_edge", "n_graph"), sizes, (n_node, n_edge, n_graph)):
        if size > budget:
            raise ValueError(f"{name} must be at least {size} to hold the graph, got {budget}")
    if sizes == (n_node, n_edge, n_graph):
        return graph
    if sizes[2] == n_graph or sizes[0] == n_node:
        raise ValueError("padding needs one more graph and one more node than the graph has")
    extra_node, extra_edge, extra_graph = n_node - sizes[0], n_edge - sizes[1], n_graph - sizes[2]

    def zeros(array, extra):
        array = np.asarray(array)
        return np.concatenate([array, np.zeros((extra, *array.shape[1:]), array.dtype)])

    def ends(array):
        return np.concatenate([array, np.full(extra_edge, n_node - 1, np.int32)])

    def counts(array, extra):
        return np.concatenate([array, [extra], np.zeros(extra_graph - 1)]).astype(np.int32)

    return Graph(
        nodes=Nodes(*(zeros(field, extra_node) for field in graph.nodes)),
        edges=jax.tree.map(lambda field: zeros(field, extra_edge), graph.edges),
        senders=ends(graph.senders),
        receivers=ends(graph.receivers),
        globals=Globals(*(zeros(field, extra_graph) for field in graph.globals)),
        n_node=counts(graph.n_node, extra_node),
        n_edge=counts(graph.n_edge, extra_edge),
    )


def unbatch(graph: Graph) -> list[Graph]:
    """The graphs of a batch, one by one, without the padding."""
    graph = jax.tree.map(np.asarray, graph)
    node_ends, edge_ends = (np.cumsum(counts, dtype=np.int32) for counts in (graph.n_node, graph.n_edge))
    parts = []
    for index in np.flatnonzero(graph.globals.mask):
        nodes = slice(node_ends[index] - graph.n_node[index], node_ends[index])
        edges = slice(edge_ends[index] - graph.n_edge[index], edge_ends[index])
        parts.append(
            Graph(
                nodes=Nodes(*(field[nodes] for field in graph.nodes)),
                edges=jax.tree.map(operator.itemgetter(edges), graph.edges),
                senders=graph.senders[edges] - nodes.start,
                receivers=graph.receivers[edges] - nodes.start,
                globals=Globals(*(field[index : index + 1] for field in graph.globals)),
                n_node=graph.n_node[index : index + 1],
                n_edge=graph.n_edge[index : index + 1],
            )
        )
    return parts


def validate(graph: Graph) -> None:
    """Check the invariants that the models rely on; for graphs that were not made by this module.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    graph = jax.tree.map(np.asarray, graph)
    n_node, n_edge = len(graph.nodes.species), len(graph.senders)
    for name, array, size in (("n_node", graph.n_node, n_node), ("n_edge", graph.n_edge, n_edge)):
        if array.sum() != size:
            raise ValueError(f"{name} must sum to {size}, got {array.sum()}")
    for name, array in (("senders", graph.senders), ("receivers", graph.receivers)):
        if n_edge and not (0 <= array.min() and array.max() < n_node):
            raise ValueError(f"{name} must lie in 0..{n_node - 1}, got {array.min()}..{array.max()}")
    if np.any(np.diff(graph.receivers) < 0):
        raise ValueError("edges must be sorted by receiver")
    owner = np.repeat(np.arange(len(graph.n_node)), graph.n_node)
    if np.any(owner[graph.senders] != owner[graph.receivers]):
        raise ValueError("edges must join nodes of one graph")
    if np.any(graph.nodes.mask & (graph.nodes.species < 0)):
        raise ValueError("species must not be negative")


def to_device(graph: Graph) -> Graph:
    """The graph as jax arrays."""
    return jax.tree.map(jnp.asarray, graph)
