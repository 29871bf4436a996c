"""jphys: machine-learned energy models in JAX that are trusted as physics.

What needs flax, orbax, jax_md or rdkit loads on first use: `import jphys` costs what `import jax` costs.
"""

from typing import TYPE_CHECKING

from jphys import graph
from jphys.derivatives import energy_and_forces, energy_forces_stress, hessian
from jphys.graph import Graph, from_ase, make_graph
from jphys.lazy import attributes as _attributes
from jphys.version import VERSION as __version__

if TYPE_CHECKING:
    from jphys import (
        alignment,
        basis,
        bonds,
        checkpoint,
        data,
        elements,
        engines,
        figures,
        harmonic,
        losses,
        md,
        models,
        ops,
        paths,
        reliability,
        runs,
        training,
        units,
    )
    from jphys.calculator import Calculator
    from jphys.checkpoint import load, save
    from jphys.harmonic import phonons, thermochemistry, vibrations
    from jphys.implicit import stationary
    from jphys.losses import Objective
    from jphys.md import (
        Dynamics,
        energy_fn,
        energy_neighbor_list,
        relax,
        simulate,
        simulate_replicas,
    )
    from jphys.models import MessagePassingConfig, TransformerConfig, make_potential
    from jphys.models.potential import Potential, reference_energy
    from jphys.paths import neb, saddles
    from jphys.second_derivatives import hessians
    from jphys.training.config import TrainConfig
    from jphys.training.fit import train

__all__ = [
    "Calculator",
    "Dynamics",
    "Graph",
    "MessagePassingConfig",
    "Objective",
    "Potential",
    "TrainConfig",
    "TransformerConfig",
    "__version__",
    "alignment",
    "basis",
    "bonds",
    "checkpoint",
    "data",
    "elements",
    "energy_and_forces",
    "energy_fn",
    "energy_forces_stress",
    "energy_neighbor_list",
    "engines",
    "figures",
    "from_ase",
    "graph",
    "harmonic",
    "hessian",
    "hessians",
    "load",
    "losses",
    "make_graph",
    "make_potential",
    "md",
    "models",
    "neb",
    "ops",
    "paths",
    "phonons",
    "reference_energy",
    "relax",
    "reliability",
    "runs",
    "saddles",
    "save",
    "simulate",
    "simulate_replicas",
    "stationary",
    "thermochemistry",
    "train",
    "training",
    "units",
    "vibrations",
]

_HOME = {
    "Calculator": "jphys.calculator",
    "MessagePassingConfig": "jphys.models",
    "Objective": "jphys.losses",
    "Potential": "jphys.models.potential",
    "TrainConfig": "jphys.training.config",
    "TransformerConfig": "jphys.models",
    "Dynamics": "jphys.md",
    "energy_fn": "jphys.md",
    "energy_neighbor_list": "jphys.md",
    "hessians": "jphys.second_derivatives",
    "load": "jphys.checkpoint",
    "make_potential": "jphys.models",
    "neb": "jphys.paths",
    "phonons": "jphys.harmonic",
    "reference_energy": "jphys.models.potential",
    "relax": "jphys.md",
    "saddles": "jphys.paths",
    "save": "jphys.checkpoint",
    "simulate": "jphys.md",
    "simulate_replicas": "jphys.md",
    "stationary": "jphys.implicit",
    "thermochemistry": "jphys.harmonic",
    "train": "jphys.training.fit",
    "vibrations": "jphys.harmonic",
}
__getattr__ = _attributes(__name__, _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
