"""The same graph at other positions, in another cell, with other edges, with atoms hidden."""

import jax
import jax.numpy as jnp
import numpy as np

from jphys import neighbors
from jphys.graph.types import Edges, Graph


def with_positions(graph: Graph, positions) -> Graph:
    """The same graph at other positions (n_node, 3) Å; the edge list is kept.

    Raises:
        ValueError: for edges with vectors of their own, which would stay where they are.
    """
    if graph.edges.vectors is not None:
        raise ValueError("edges must be without vectors for atoms to move, got vectors")
    return graph._replace(nodes=graph.nodes._replace(positions=positions))


def bonds_of(graph: Graph) -> np.ndarray:
    """The bonds of a single structure as `make_graph` takes them: rows (i, j, order) with i < j, (m, 3)."""
    rows = np.stack([graph.receivers, graph.senders, graph.edges.bond_type], axis=1)
    return rows[(rows[:, 0] < rows[:, 1]) & (rows[:, 2] > 0)].astype(np.int32)


def with_cell(graph: Graph, cell) -> Graph:
    """The same single structure in another cell (3, 3) Å; positions and edge list are kept."""
    return graph._replace(globals=graph.globals._replace(cell=cell[None]))


def with_edges_within(graph: Graph, cutoff: float, *, bonds_of: Graph) -> Graph:
    """The same single structure with the pairs within `cutoff` Å as its edges, found anew.

    Args:
        graph: one structure.
        cutoff: Å.
        bonds_of: the structure whose edges know the bonds; no atom was wrapped since.
    """
    cell, positions = np.asarray(graph.globals.cell[0], float), np.asarray(graph.nodes.positions, float)
    found = neighbors.within_cutoff(positions, cell if cell.any() else None, cutoff)
    senders, receivers, shifts = found
    bonded = np.flatnonzero(bonds_of.edges.bond_type)
    ends = zip(
        bonds_of.senders[bonded], bonds_of.receivers[bonded], map(tuple, bonds_of.edges.shifts[bonded])
    )
    order = dict(zip(ends, bonds_of.edges.bond_type[bonded]))
    bond_type = np.zeros(len(senders), np.int32)
    if order:
        edges = zip(senders, receivers, map(tuple, shifts))
        bond_type[:] = [order.get(edge, 0) for edge in edges]
    return graph._replace(
        edges=Edges(shifts, bond_type, np.ones(len(senders), bool)),
        senders=senders,
        receivers=receivers,
        n_edge=np.array([len(senders)], np.int32),
    )


def with_edges(graph: Graph, chosen) -> Graph:
    """The same single structure with only the chosen edges (n_edge,) bool, in numpy."""
    return graph._replace(
        edges=jax.tree.map(lambda field: np.asarray(field)[chosen], graph.edges),
        senders=graph.senders[chosen],
        receivers=graph.receivers[chosen],
        n_edge=np.array([np.count_nonzero(chosen)], np.int32),
    )


def hide_atoms(graph: Graph, hidden) -> Graph:
    """The graph with the element of the chosen atoms (n_node,) bool hidden: species 0, mask still true."""
    return graph._replace(nodes=graph.nodes._replace(species=jnp.where(hidden, 0, graph.nodes.species)))
