"""`Graph`: a batch of molecules or crystals as a jraph.GraphsTuple of typed, masked arrays."""

from jphys.graph.batching import batch, pad, to_device, unbatch, validate
from jphys.graph.build import ROUNDED as ROUNDED
from jphys.graph.build import bond_rows as bond_rows
from jphys.graph.build import check_atoms as check_atoms
from jphys.graph.build import check_room_for_bonds as check_room_for_bonds
from jphys.graph.build import from_ase, make_graph
from jphys.graph.changes import (
    bonds_of,
    hide_atoms,
    with_cell,
    with_edges,
    with_edges_within,
    with_positions,
)
from jphys.graph.types import Array as Array
from jphys.graph.types import Edges, Globals, Graph, Nodes

__all__ = [
    "Edges",
    "Globals",
    "Graph",
    "Nodes",
    "batch",
    "bonds_of",
    "from_ase",
    "hide_atoms",
    "make_graph",
    "pad",
    "to_device",
    "unbatch",
    "validate",
    "with_cell",
    "with_edges",
    "with_edges_within",
    "with_positions",
]
