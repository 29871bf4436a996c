"""`Potential`: an energy model as a record of pure functions, whatever its architecture."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jphys import elements, ops
from jphys.elements import SYMBOLS
from jphys.graph import Graph, bond_rows, with_edges
from jphys.neighbors import within_cutoff

__all__ = [
    "PROMISES",
    "Params",
    "Potential",
    "check_bonds",
    "check_elements",
    "check_graph_bonds",
    "felt_only",
    "reference_energies",
    "reference_energy",
]

Params = dict[str, Any]
PROMISES = frozenset({"conservative", "equivariant", "additive", "smooth_at_cutoff", "repels"})
"""What holds for every value of the parameters. conservative: forces are slopes of the energy; equivariant:
rotations, mirror images and the order of atoms change no energy; additive: energies of structures far apart
add up; smooth_at_cutoff: forces are continuous where pairs cross it; repels: close atoms repel each other."""


@dataclasses.dataclass(frozen=True)
class Potential:
    """An energy model. All functions are pure: jit, vmap and differentiate them freely.

    Heads by name, and their values:
        pair_parameters: PairParameters of (n_edge,).
        angle_parameters: AngleParameters of (n_node, C).
        torsion_parameters: TorsionParameters of (n_edge, 3).
        element_logits: (n_node, max_z) for Z = 1..max_z; atoms of species 0 are hidden.
        auxiliary: {name: (n_graph, k)} of "atoms" (of each element), "orbitals" (of each element present)
            and "scale" (density over a grid of scales).

    Energies are relative to the sum of `config.reference_energies`, so that float32 keeps meV;
    `jphys.reference_energy` gives that sum.

    Attributes:
        config: the frozen dataclass that `make_potential` was given.
        cutoff: Å; edges longer than it do not change the energy.
        init: (key, graph) -> params, a plain nested dict.
        energy: (params, graph) -> (n_graph,) eV, 0 on padding.
        atom_energies: (params, graph) -> (n_node,) eV, their sum is `energy`, 0 on padding.
        heads: what else the model tells, {name: function (params, graph) -> …}, by the names below.
        promises: what holds for every value of the parameters, of PROMISES; tests and users read it.
        felt_edges: graph of numpy arrays -> (n_edge,) bool, edges that may change the energy however long
            they are; None: all. Training leaves the others out.
        needs_bonds: whether molecules need `bonds`: without them they would have another energy.
        bond_types: types of the pairs that may change the energy, as `pair_types` names them; None: all.
    """

    config: Any
    cutoff: float
    init: Callable[[jax.Array, Graph], Params]
    energy: Callable[[Params, Graph], jax.Array]
    atom_energies: Callable[[Params, Graph], jax.Array]
    heads: Mapping[str, Callable[[Params, Graph], Any]] = dataclasses.field(default_factory=dict, hash=False)
    promises: frozenset[str] = PROMISES - {"repels"}
    felt_edges: Callable[[Graph], np.ndarray] | None = None
    needs_bonds: bool = False
    bond_types: tuple[str, ...] | None = None

    def __post_init__(self):
        if not set(self.promises) <= PROMISES:
            known = ", ".join(sorted(PROMISES))
            raise ValueError(f"promises must be of {known}, got {', '.join(sorted(self.promises))}")

    def head(self, name: str) -> Callable[[Params, Graph], Any]:
        """The head of that name.

        Raises:
            ValueError: for a model without it, naming the heads that it has.
        """
        if name not in self.heads:
            names = ", ".join(sorted(self.heads)) or "none"
            raise ValueError(f"potential must have a head {name!r}, it has {names}")
        return self.heads[name]

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


def pair_types(species, bonds, *, images: bool = False) -> set[str]:
    """Types of the pairs that a structure has, however far apart they are.

    >>> sorted(pair_types([8, 1, 1], [(0, 1, 1), (0, 2, 1)]))
    ['nonbonded', 'single']

    Args:
        species: (n,) atomic numbers.
        bonds: (m, 3) rows (i, j, order), or None.
        images: whether every atom is paired with its own periodic images, too.

    Returns:
        The orders of the bonds, "single", "double" or "triple"; of other pairs "metallic" between two
        metals, else "nonbonded".
    """
    rows, metal = bond_rows(bonds, len(species)), elements.IS_METAL[np.asarray(species)]
    n, n_metal = len(metal), int(metal.sum())
    bonded_metals = int((metal[rows[:, 0]] & metal[rows[:, 1]]).sum())
    metallic = _n_pairs(n_metal) - bonded_metals
    found = {("single", "double", "triple")[order - 1] for order in set(rows[:, 2].tolist())}
    if metallic or (images and n_metal):
        found.add("metallic")
    if _n_pairs(n) - len(rows) > metallic or (images and n_metal < n):
        found.add("nonbonded")
    return found


def _n_pairs(n: int) -> int:
    return n * (n - 1) // 2


def check_bonds(potential: Potential, species, bonds, cell=None) -> None:
    """Refuse a structure whose atoms would not feel each other for want of bonds.

    An isolated atom has nothing to feel; atoms that are bonded, but beyond the cutoff, are in order.

    Args:
        potential: the model.
        species: (n,) atomic numbers.
        bonds: (m, 3) rows (i, j, order); None or empty for nothing.
        cell: (3, 3) Å rows of a crystal, else None or zeros.

    Raises:
        ValueError: if there are no bonds for a potential whose energy depends on them, and more than one atom
            that is no metal; or if no pair of the structure is of a type that the potential feels.
    """
    lone = len(species) < 2 or elements.IS_METAL[np.asarray(species)].all()
    if potential.needs_bonds and (bonds is None or not len(bonds)) and not lone:
        raise ValueError("bonds must be given for a potential whose energy depends on them, got none")
    if potential.bond_types is None:
        return
    found = pair_types(species, bonds, images=_sees_itself(cell, potential.cutoff))
    if found and not found & set(potential.bond_types):
        raise ValueError(
            f"species and bonds must have a pair of the types that the potential feels, "
            f"{', '.join(potential.bond_types)}, got {', '.join(sorted(found))} alone"
        )


def check_graph_bonds(potential: Potential, graph: Graph) -> None:
    """`check_bonds` of one structure that is a graph."""
    order = np.asarray(graph.edges.bond_type)
    rows = np.column_stack([graph.receivers, graph.senders, order])[order > 0]
    check_bonds(potential, graph.nodes.species, rows, np.asarray(graph.globals.cell[0]))


def _sees_itself(cell, cutoff: float) -> bool:
    """Whether images of one atom are closer than the cutoff."""
    if cell is None or not np.any(cell):
        return False
    return len(within_cutoff(np.zeros((1, 3)), np.asarray(cell, np.float64), cutoff)[0]) > 0


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
