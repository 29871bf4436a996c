"""The arrays of a batch of molecules or crystals, and their names."""

from typing import TYPE_CHECKING, NamedTuple

import jax
import jraph
import numpy as np

Array = jax.Array | np.ndarray


class Nodes(NamedTuple):
    """Atoms. `species` 0 is a hidden atom where `mask` is true, and padding where it is false."""

    positions: Array  # (n_node, 3) Å
    species: Array  # (n_node,) atomic number Z
    mask: Array  # (n_node,) bool, false on padding


class Edges(NamedTuple):
    """Directed neighbour relations, sorted by receiver; the message runs sender → receiver."""

    shifts: Array  # (n_edge, 3) int, periodic image of the sender
    bond_type: Array  # (n_edge,) int: 0 none, 1 single, 2 double, 3 triple
    mask: Array  # (n_edge,) bool, false on padding
    vectors: Array | None = None  # (n_edge, 3) Å, receiver to sender; None: by positions and cell


class Globals(NamedTuple):
    """One row per molecule or crystal."""

    cell: Array  # (n_graph, 3, 3) Å, rows are lattice vectors; zeros for a molecule
    mask: Array  # (n_graph,) bool, false on padding


if TYPE_CHECKING:

    class Graph(NamedTuple):
        """What type checkers see: jraph.GraphsTuple with the types that jphys puts into its fields."""

        nodes: Nodes
        edges: Edges
        receivers: Array  # (n_edge,) int
        senders: Array  # (n_edge,) int
        globals: Globals
        n_node: Array  # (n_graph,) int
        n_edge: Array  # (n_graph,) int

else:
    Graph = jraph.GraphsTuple
