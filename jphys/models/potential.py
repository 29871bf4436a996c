"""`Potential`: an energy model as a record of pure functions, whatever its architecture."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jphys import elements, ops
from jphys.elements import SYMBOLS
from jphys.graph import Graph, with_edges

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
        auxiliary: (params, graph) -> {name: (n_graph, k)} of "atoms" (of each element), "orbitals" (of each
            element present) and "scale" (density over a grid of scales); None without such readouts.
        felt_edges: graph of numpy arrays -> (n_edge,) bool, edges that may change the energy however long
            they are; None: all. Training leaves the others out.
        needs_bonds: whether molecules need `bonds`: without them they would have another energy.
    """

    config: Any
    cutoff: float
    init: Callable[[jax.Array, Graph], Params]
    energy: Callable[[Params, Graph], jax.Array]
    atom_energies: Callable[[Params, Graph], jax.Array]
    pair_parameters: Callable[[Params, Graph], Any] | None = None
    element_logits: Callable[[Params, Graph], jax.Array] | None = None
    auxiliary: Callable[[Params, Graph], dict[str, jax.Array]] | None = None
    felt_edges: Callable[[Graph], np.ndarray] | None = None
    needs_bonds: bool = False

    def node_contributions(self, params: Params, graph: Graph) -> jax.Array:
        """|e_i|/Σ_j|e_j| of the atom energies within each structure: (n_node,), 0 on padding.

        The share of each atom in the energy estimate (VIMPNN, sec. 5.4).
        """
        size = abs(self.atom_energies(params, graph))
        return size / jnp.maximum(ops.at_nodes(ops.sum_over_graphs(size, graph), graph), 1e-30)


def fitted_elements(config, species) -> jax.Array:
    """Whether each element (n,) is one that the reference energies were fitted for; hidden atoms (0) are.

    A model never trained knows all up to its `max_z`.
    """
    allowed = np.zeros(elements.MAX_Z + 1, bool)
    allowed[[0, *(z for z, _ in config.reference_energies)]] = True
    if not config.reference_energies:
        allowed[: config.max_z + 1] = True
    return jnp.asarray(allowed)[species]


def felt_only(potential: Potential, graphs: list[Graph]) -> list[Graph]:
    """The graphs (numpy) without the edges that never change the potential's energy."""
    if potential.felt_edges is None:
        return graphs
    return [with_edges(graph, potential.felt_edges(graph)) for graph in graphs]


def check_bonds(potential: Potential, species, bonds) -> None:
    """Refuse a molecule without bonds for a potential whose energy depends on them.

    Args:
        potential: the model.
        species: (n,) atomic numbers.
        bonds: what is known of bonds; None or empty for nothing.

    Raises:
        ValueError: if there are none and more than one atom that is no metal.
    """
    lone = len(species) < 2 or elements.IS_METAL[np.asarray(species)].all()
    if potential.needs_bonds and (bonds is None or not len(bonds)) and not lone:
        raise ValueError("bonds must be given for a potential whose energy depends on them, got none")


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
