"""Any jphys potential as a calculator of ASE: optimisers, dynamics, NEB, vibrations."""

from typing import Any, ClassVar

import ase
import jax
import numpy as np
from ase.calculators.calculator import CalculationFailed, PropertyNotImplementedError, all_changes
from ase.calculators.calculator import Calculator as AseCalculator
from ase.geometry import find_mic
from ase.stress import full_3x3_to_voigt_6_stress

from jphys.compiling import remembered
from jphys.derivatives import energy_and_forces, energy_forces_stress
from jphys.graph import bond_rows, from_ase, pad
from jphys.models.potential import Potential, check_bonds, check_elements
from jphys.shapes import Shapes, round_size, rungs

__all__ = ["Calculator"]

GROWTH = 1.25  # a new shape has room for this multiple of what is needed


class Calculator(AseCalculator):
    """Energy, forces, stress and energies per atom of a potential.

    The energy is that of `potential.energy`: relative to the sum of its reference energies, which
    `jphys.reference_energy` gives. One compiled function serves all structures that fit into its static
    shape; a larger one makes the shape grow, with room to spare.

    Args:
        potential: the model.
        params: its parameters.
        bonds: (m, 3) int rows (i, j, order) for a model that reads bond types; they stay as they are while
            atoms move.

    Raises:
        ValueError: at the calculation, for no atoms, an element that the potential does not know, charges
            or magnetic moments, and boundaries that are periodic in some directions only.
        CalculationFailed: where energy, forces or stress are not finite, as with two atoms on one spot.
        PropertyNotImplementedError: for the stress of a molecule.
    """

    implemented_properties: ClassVar[list[str]] = ["energy", "free_energy", "forces", "stress", "energies"]

    def __init__(self, potential: Potential, params, *, bonds=None):
        super().__init__()
        self.potential, self.params, self.bonds = potential, jax.device_put(params), bonds
        self.programs = _programs(potential)

    def calculate(self, atoms: ase.Atoms | None = None, properties=("energy",), system_changes=all_changes):
        """Fill `results`; called by ASE."""
        super().calculate(atoms, properties, system_changes)
        if self.atoms is None or not len(self.atoms):
            raise ValueError(f"atoms must hold at least one atom, got {self.atoms}")
        graph = self._graph(self.atoms)
        n = len(self.atoms)
        if self.atoms.pbc.all():
            energy, forces, stress = jax.device_get(self.programs.crystal(self.params, graph))
        elif "stress" in properties:
            raise PropertyNotImplementedError("stress needs a cell that is periodic in all directions")
        else:
            energy, forces = jax.device_get(self.programs.molecule(self.params, graph))
            stress = np.zeros((1, 3, 3))
        for name, values in (("energy", energy[0]), ("forces", forces[:n]), ("stress", stress[0])):
            if not np.isfinite(values).all():
                raise CalculationFailed(f"{name} must be finite, got NaN or infinity; {_closest(self.atoms)}")
        if self.atoms.pbc.all():
            self.results["stress"] = full_3x3_to_voigt_6_stress(stress[0].astype(float))
        self.results["energy"] = self.results["free_energy"] = float(energy[0])
        self.results["forces"] = forces[:n].astype(float)
        if "energies" in properties:
            energies = np.asarray(self.programs.energies(self.params, graph))
            self.results["energies"] = energies[:n].astype(float)

    def _graph(self, atoms: ase.Atoms) -> Any:
        """Padded graph of the atoms."""
        check_elements(self.potential, atoms.numbers)
        cell = atoms.cell.array if atoms.pbc.all() else None
        check_bonds(self.potential, atoms.numbers, self.bonds, cell)
        bonds = _felt(atoms, bond_rows(self.bonds, len(atoms)), self.potential.cutoff)
        graph = from_ase(atoms, cutoff=self.potential.cutoff, bonds=bonds)
        return pad(graph, *self.programs.room(len(atoms) + 1, len(graph.senders)), n_graph=2)


class Programs:
    """What calculators of one potential share: compiled functions, and the shapes they are compiled for."""

    def __init__(self, potential: Potential):
        self.molecule = jax.jit(energy_and_forces(potential))
        self.crystal = jax.jit(energy_forces_stress(potential))
        self.energies = jax.jit(potential.atom_energies)
        self.shapes: Shapes[tuple[int, int]] = Shapes(sum)

    def room(self, n_node: int, n_edge: int) -> tuple[int, int]:
        """Static numbers of nodes and edges, at least those given."""
        grown = int(np.ceil(GROWTH * n_node)), int(np.ceil(GROWTH * n_edge))
        tight = round_size(grown[0]), round_size(grown[1])
        nodes, edges = rungs(tight, (64, 256))
        return self.shapes.choose((n_node, n_edge), tight, (nodes, edges))


@remembered(8)
def _programs(potential: Potential) -> Programs:
    return Programs(potential)


def _felt(atoms: ase.Atoms, bonds: np.ndarray, cutoff: float) -> np.ndarray:
    """The bonds shorter than the cutoff: atoms farther apart do not feel each other."""
    ends = atoms.positions[bonds[:, 1]] - atoms.positions[bonds[:, 0]]
    lengths = find_mic(ends, atoms.cell, bool(atoms.pbc.all()))[1] if len(bonds) else np.zeros(0)
    return bonds[lengths < cutoff]


def _closest(atoms: ase.Atoms) -> str:
    """Who is to blame, most often."""
    if len(atoms) < 2:
        return "there is one atom"
    distances = atoms.get_all_distances(mic=bool(atoms.pbc.all()))
    np.fill_diagonal(distances, np.inf)
    i, j = np.unravel_index(np.argmin(distances), distances.shape)
    return f"the closest atoms, {i} and {j}, are {distances[i, j]:.3g} Å apart"
