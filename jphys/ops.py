"""Array primitives with safe gradients. The only module that knows how edges are laid out in memory.

Edges are flat arrays (n_edge, …), sorted by receiver; a message runs from sender to receiver.
"""

import jax
import jax.numpy as jnp

__all__ = [
    "ahead",
    "at_nodes",
    "at_receivers",
    "at_senders",
    "edge_distances",
    "edge_vectors",
    "graph_of_edge",
    "graph_of_node",
    "pseudo_huber",
    "safe_norm",
    "silu",
    "sum_at_ends",
    "sum_at_receivers",
    "sum_over_graphs",
    "undirected",
]


def safe_norm(vectors, axis: int = -1):
    """Euclidean norm along `axis`, with gradient 0 (not NaN) at the zero vector.

    >>> float(safe_norm(jnp.array([3.0, 4.0])))
    5.0
    """
    squared = jnp.sum(vectors**2, axis=axis)
    zero = squared == 0  # not "> 0": NaN has to stay NaN
    return jnp.where(zero, 0.0, jnp.sqrt(jnp.where(zero, 1.0, squared)))


@jax.custom_jvp
def silu(x):
    """x·σ(x). Its derivatives to any order share one sigmoid: nn.silu takes more passes over the array.

    >>> float(silu(jnp.array(0.0)))
    0.0
    """
    return x * jax.nn.sigmoid(x)


@silu.defjvp
def _silu_jvp(primals, tangents):
    (x,), (tangent,) = primals, tangents
    sigmoid = jax.nn.sigmoid(x)
    return x * sigmoid, tangent * (sigmoid + x * sigmoid * (1.0 - sigmoid))


def pseudo_huber(squared, scale: float):
    """2s²(√(1 + x²/s²) − 1) of the squared error x²: x² where it is small, 2s·x where it is large.

    >>> float(pseudo_huber(jnp.array(0.0), 0.3))
    0.0
    """
    return 2.0 * scale**2 * (jnp.sqrt(1.0 + squared / scale**2) - 1.0)


def at_senders(node_values, graph):
    """Values (n_node, …) seen from the sending end of every edge: (n_edge, …)."""
    return jnp.asarray(node_values)[graph.senders]


def at_receivers(node_values, graph):
    """Values (n_node, …) seen from the receiving end of every edge: (n_edge, …)."""
    return jnp.asarray(node_values)[graph.receivers]


def sum_at_receivers(edge_values, graph):
    """Sum of the values (n_edge, …) of the edges that arrive at each node: (n_node, …)."""
    n_node = graph.nodes.species.shape[0]
    return jax.ops.segment_sum(edge_values, graph.receivers, n_node, indices_are_sorted=True)


def ahead(graph):
    """Which edges (n_edge,) are the first of the two directions of their pair; no padding."""
    x, y, z = jnp.moveaxis(graph.edges.shifts, -1, 0)
    positive = (x > 0) | ((x == 0) & ((y > 0) | ((y == 0) & (z > 0))))
    first = (graph.senders < graph.receivers) | ((graph.senders == graph.receivers) & positive)
    return first & graph.edges.mask


def undirected(graph):
    """One of the two directed edges of every pair, for pair terms that need no direction.

    Every edge of a Graph has its reverse, so that half of the slots hold all pairs.

    Returns:
        Edge numbers (n_edge // 2,), ascending, and which of them are real (the rest is padding).
    """
    n_edge = graph.senders.shape[0]
    chosen = ahead(graph)
    pair = jnp.nonzero(chosen, size=n_edge // 2, fill_value=max(n_edge - 1, 0))[0]
    return pair, jnp.arange(n_edge // 2) < jnp.sum(chosen)


def sum_at_ends(pair_values, receivers, senders, n_node: int):
    """Sum of the values (p,) of all pairs at both of their atoms: (n_node,)."""
    at_receivers = jax.ops.segment_sum(pair_values, receivers, n_node, indices_are_sorted=True)
    return at_receivers + jax.ops.segment_sum(pair_values, senders, n_node)


def graph_of_node(graph):
    """Index of the graph that each node belongs to: (n_node,) int32."""
    n_node, n_graph = graph.nodes.species.shape[0], graph.n_node.shape[0]
    return jnp.repeat(jnp.arange(n_graph), graph.n_node, total_repeat_length=n_node)


def graph_of_edge(graph):
    """Index of the graph that each edge belongs to: (n_edge,) int32."""
    return graph_of_node(graph)[graph.receivers]


def at_nodes(graph_values, graph):
    """Values (n_graph, …) copied to every node of the graph: (n_node, …)."""
    return jnp.asarray(graph_values)[graph_of_node(graph)]


def sum_over_graphs(node_values, graph):
    """Sum of the values (n_node, …) over the nodes of each graph: (n_graph, …).

    A masked sum per graph: with few graphs it beats a scatter-add on every device, and unlike a product
    with the membership matrix it keeps a value that is not finite within its own graph.
    """
    n_graph = graph.n_node.shape[0]
    if n_graph == 1:
        return jnp.sum(node_values, axis=0, keepdims=True)
    member = graph_of_node(graph) == jnp.arange(n_graph)[:, None]
    member = member.reshape(*member.shape, *(1,) * (node_values.ndim - 1))
    return jnp.sum(jnp.where(member, node_values, 0), axis=1)


def edge_vectors(graph):
    """Vectors (n_edge, 3) in Å from each receiver to its sender's periodic image.

    Those that the edges bring along, else positions[sender] + shift @ cell − positions[receiver].
    """
    if graph.edges.vectors is not None:
        return graph.edges.vectors
    cell = jnp.asarray(graph.globals.cell)[graph_of_edge(graph)]
    offsets = jnp.einsum("ei,eij->ej", graph.edges.shifts.astype(cell.dtype), cell)
    positions = graph.nodes.positions
    return at_senders(positions, graph) - at_receivers(positions, graph) + offsets


def edge_distances(graph):
    """Lengths (n_edge,) in Å of the edges; exactly 0 on padding edges."""
    return safe_norm(edge_vectors(graph))
