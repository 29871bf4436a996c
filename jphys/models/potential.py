"""`Potential`: an energy model as a record of pure functions, whatever its architecture."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jphys.elements import SYMBOLS
from jphys.graph import Graph

Params = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Potential:
    """An energy model. All functions are pure: jit, vmap and differentiate them freely.

    Energies are relative to the sum of `config.reference_energies`, so that float32 keeps meV;
    `jphys.reference_energy` gives that sum.

    Attributes:
        config: the frozen dataclass that `make_potential` was given.
        cutoff: Å; edges longer than it do not change the energy.
        init: (key, graph) -> params, a plain nested dict.
        energy: (params, graph) -> (n_graph,) eV, 0 on padding.
        atom_energies: (params, graph) -> (n_node,) eV, their sum is `energy`, 0 on padding.
        pair_parameters: (params, graph) -> PairParameters of (n_edge,), or None without a pair head.
        element_logits: (params, graph) -> (n_node, max_z) for Z = 1..max_z; atoms of species 0 are
            hidden. None without a masked-atom head.
    """

    config: Any
    cutoff: float
    init: Callable[[jax.Array, Graph], Params]
    energy: Callable[[Params, Graph], jax.Array]
    atom_energies: Callable[[Params, Graph], jax.Array]
    pair_parameters: Callable[[Params, Graph], Any] | None = None
    element_logits: Callable[[Params, Graph], jax.Array] | None = None


def reference_energies(potential: Potential) -> dict[int, float]:
    """Fitted constants per element {Z: eV}; empty for a potential that was not trained."""
    return dict(potential.config.reference_energies)


def reference_energy(potential: Potential, species) -> float:
    """Σ_i e_ref(z_i) in eV, float64: add it to `energy` to get the total energy of the data.

    Raises:
        ValueError: if the potential was not fitted to one of the elements.
    """
    check_elements(potential, species)
    table = reference_energies(potential)
    return float(sum(table.get(int(z), 0.0) for z in np.asarray(species)))


def check_elements(potential: Potential, species) -> None:
    """Refuse elements that the potential does not know. A potential never trained knows all.

    Raises:
        ValueError: naming the element and the known ones.
    """
    known = reference_energies(potential) or range(1, potential.config.max_z + 1)
    unknown = sorted({int(z) for z in np.asarray(species)} - {0, *known})
    if unknown:
        names = ", ".join(SYMBOLS[z] if z < len(SYMBOLS) else str(z) for z in unknown)
        allowed = ", ".join(SYMBOLS[z] for z in known)
        raise ValueError(f"species must be among the potential's elements {allowed}, got {names}")
