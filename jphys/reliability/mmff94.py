"""MMFF94 (Halgren 1996, doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P) by RDKit.

A classical force field that knows the bonds: what it cannot do is break one.
"""

import functools

import numpy as np

from jphys.bonds import rdkit_molecule
from jphys.graph import Graph, bonds_of
from jphys.reliability.surface import Calculated
from jphys.units import KCAL_PER_MOL

__all__ = ["energy_and_forces", "surface"]


def surface() -> Calculated:
    """MMFF94 as a surface to judge; graphs need bonds."""
    return Calculated(energy_and_forces)


def energy_and_forces(graph: Graph) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (n, 3) eV/Å of one molecule.

    Raises:
        ValueError: for a graph without bonds, or a molecule that MMFF94 has no parameters for.
    """
    species, bonds = np.asarray(graph.nodes.species), bonds_of(graph)
    if len(species) > 1 and not len(bonds):
        raise ValueError("graph must have bonds for MMFF94, got none")
    molecule, properties = _typed(tuple(species.tolist()), tuple(map(tuple, bonds.tolist())))
    field = _field(molecule, properties)
    positions = np.asarray(graph.nodes.positions, np.float64).ravel().tolist()
    energy, gradient = field.CalcEnergy(positions), np.array(field.CalcGrad(positions))
    return energy * KCAL_PER_MOL, -gradient.reshape(-1, 3) * KCAL_PER_MOL


@functools.lru_cache(maxsize=4096)
def _typed(species: tuple, bonds: tuple):
    """The molecule with atom types, which depend on the bonds alone."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    molecule = rdkit_molecule(np.array(species), np.array(bonds).reshape(-1, 3))
    Chem.SanitizeMol(molecule)
    properties = AllChem.MMFFGetMoleculeProperties(molecule)  # pyright: ignore
    if properties is None:
        raise ValueError(f"molecule must have MMFF94 parameters, got {Chem.MolToSmiles(molecule)}")
    conformer = Chem.Conformer(len(species))
    molecule.AddConformer(conformer)
    return molecule, properties


def _field(molecule, properties):
    from rdkit.Chem import AllChem

    return AllChem.MMFFGetMoleculeForceField(  # pyright: ignore
        molecule, properties, nonBondedThresh=1e3, ignoreInterfragInteractions=False
    )
