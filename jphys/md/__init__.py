"""The border to jax-md, the only importer of it: energies, neighbour lists, relaxation, dynamics."""

from jphys.md.energies import energy_fn
from jphys.md.ensembles import Dynamics
from jphys.md.fire import Fire
from jphys.md.lists import Neighbors
from jphys.md.neighbor_list import energy_neighbor_list
from jphys.md.relaxing import relax, relax_to
from jphys.md.replicas import simulate_replicas
from jphys.md.simulation import NonFinite, Simulation, simulate

__all__ = [
    "Dynamics",
    "Fire",
    "Neighbors",
    "NonFinite",
    "Simulation",
    "energy_fn",
    "energy_neighbor_list",
    "relax",
    "relax_to",
    "simulate",
    "simulate_replicas",
]
