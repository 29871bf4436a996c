"""Conformers against molecules whose rotamers, stereoisomers and equal atoms are textbook knowledge."""

import ase.build
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jphys.bonds import embed_smiles, perceive_bonds
from jphys.reliability import conformers


def molecule(name):
    atoms = ase.build.molecule(name)
    bonds = perceive_bonds(atoms.numbers, atoms.positions)
    assert bonds is not None
    return atoms.numbers, atoms.positions, bonds


def turned(positions, axis, by, atoms):
    """Some atoms turned by an angle in degrees about the line from one atom to another."""
    origin, along = positions[axis[0]], positions[axis[1]] - positions[axis[0]]
    rotation = Rotation.from_rotvec(np.radians(by) * along / np.linalg.norm(along))
    moved = positions.copy()
    moved[atoms] = rotation.apply(positions[atoms] - origin) + origin
    return moved


# Elements, bonds and equal atoms: a line, a ring, three methyl groups, no heavy atom, a planar skeleton.
EQUAL = {
    "C2H2": [1, 0, 3, 2],
    "C6H6": [1, 2, 3, 4, 5, 0, 7, 8, 9, 10, 11, 6],
    "isobutane": None,
    "H2": [1, 0],
    "CH3CONH2": None,
    "CH4": [0, 2, 3, 1, 4],
    "H2O": [0, 2, 1],
    "CH3CN": None,
}


@pytest.mark.parametrize("name", EQUAL)
def test_equal_atoms_are_laid_on_each_other(name, rng):
    """Exchanged, turned and moved, a molecule lies on itself; what is not equal stays where it is."""
    species, positions, bonds = molecule(name)
    order = np.array(EQUAL[name] or range(len(species)))
    if EQUAL[name] is None:  # hydrogens of the first methyl group, one place on
        (first, *_) = [c for c in np.flatnonzero(species == 6) if hydrogens(species, bonds, c).size == 3]
        order[hydrogens(species, bonds, first)] = np.roll(hydrogens(species, bonds, first), 1)
    moved = Rotation.random(rng=rng).apply(positions[order]) + 3.0
    laid = conformers.laid_on(species, bonds, positions, moved)
    np.testing.assert_allclose(laid, positions, atol=1e-6)
    np.testing.assert_allclose(conformers.laid_on(species, bonds, positions, laid), laid, atol=1e-6)


def hydrogens(species, bonds, atom):
    pairs = [pair for pair in bonds[:, :2].tolist() if atom in pair]
    return np.array([other for pair in pairs for other in pair if other != atom and species[other] == 1], int)


def test_a_mirror_image_does_not_lie_on_the_molecule():
    species, positions, bonds = embed_smiles("C[C@H](O)C#N")
    laid = conformers.laid_on(species, bonds, positions, positions * [1, 1, -1])
    assert conformers.rmsd(laid, positions) > 0.3


def test_torsions_are_those_of_ase():
    species, positions, bonds = molecule("trans-butane")
    atoms = ase.Atoms(species, positions)
    chains = conformers._chains(bonds)
    np.testing.assert_allclose(
        np.cos(np.radians(conformers.torsions(bonds, positions))),
        np.cos(np.radians([atoms.get_dihedral(*chain) for chain in chains.tolist()])),
        atol=1e-9,
    )
    signs = np.sign([np.sin(np.radians(atoms.get_dihedral(*chain))) for chain in chains.tolist()])
    found = conformers.torsions(bonds, positions)
    away = np.abs(np.sin(np.radians(found))) > 1e-3
    np.testing.assert_array_equal(np.sign(found)[away], signs[away])


@pytest.mark.parametrize(("by", "same"), [(40, True), (80, False), (-80, False), (360, True)])
def test_a_rotor_makes_another_conformer(by, same):
    species, positions, bonds = molecule("CH3CH2OH")
    (oxygen,) = np.flatnonzero(species == 8)
    (carbon,) = (c for c in np.flatnonzero(species == 6) if sorted((c, oxygen)) in bonds[:, :2].tolist())
    moved = turned(positions, (carbon, oxygen), by, hydrogens(species, bonds, oxygen))
    assert conformers.same_conformer(bonds, moved, positions) is same


def test_straight_molecules_have_one_conformer():
    _, positions, bonds = molecule("C2H2")
    assert np.isnan(conformers.torsions(bonds, positions)).all()
    assert conformers.same_conformer(bonds, positions, positions + 0.01 * np.arange(12).reshape(4, 3))


def rotamers(species, bonds, geometries):
    firsts = []
    for one in geometries:
        laid = (conformers.laid_on(species, bonds, first, one) for first in firsts)
        if not any(conformers.same_conformer(bonds, a, first) for a, first in zip(laid, firsts)):
            firsts.append(one)
    return firsts


@pytest.mark.parametrize("seed", [0, 5])
def test_butane_has_three_rotamers(seed):
    """Anti and two gauche ones, which are mirror images."""
    species, positions, bonds = molecule("trans-butane")
    geometries = conformers.embed(species, positions, bonds, n=30, seed=seed)
    assert geometries.shape[1:] == positions.shape and len(geometries) > 20
    carbon = np.flatnonzero(species == 6)
    ends = [c for c in carbon if hydrogens(species, bonds, c).size == 3]
    spans = [np.linalg.norm(one[ends[0]] - one[ends[1]]) for one in rotamers(species, bonds, geometries)]
    assert sorted(np.round(spans, 1)) == [3.1, 3.1, 3.9]


def test_seeds_draw_other_embeddings_and_the_same_again():
    molecule_ = molecule("CH3CH2OH")
    first, second, again = (conformers.embed(*molecule_, n=4, seed=seed) for seed in (0, 1, 0))
    np.testing.assert_array_equal(first, again)
    everything = np.concatenate([first, second]).reshape(8, -1)
    assert len(np.unique(everything.round(6), axis=0)) == 8


def test_an_atom_alone_lies_on_itself():
    lonely = [[1.0, 2.0, 3.0]]
    np.testing.assert_allclose(conformers.laid_on([8], [], lonely, [[0, 0, 0]]), lonely, atol=1e-12)
    assert conformers.same_conformer([], lonely, lonely)


@pytest.mark.parametrize("smiles", ["C[C@H](O)C#N", "C[C@@H](O)C#N", r"C/C=C\C", "C/C=C/C"])
def test_an_embedding_is_the_stereoisomer_that_was_given(smiles):
    from rdkit import Chem

    from jphys.bonds import rdkit_molecule

    def canonical(positions):
        mol = rdkit_molecule(species, bonds)
        Chem.SanitizeMol(mol)
        conformer = Chem.Conformer(len(species))
        conformer.SetPositions(np.array(positions))
        mol.AddConformer(conformer)
        Chem.AssignStereochemistryFrom3D(mol)
        return Chem.MolToSmiles(Chem.RemoveHs(mol))

    species, positions, bonds = embed_smiles(smiles)
    for geometry in conformers.embed(species, positions, bonds, n=5, seed=1):
        assert canonical(geometry) == canonical(positions) == Chem.CanonSmiles(smiles)


def test_what_is_refused():
    water = ([8, 1, 1], [[0, 0, 0.12], [0, 0.76, -0.48], [0, -0.76, -0.48]], [[0, 1, 1], [0, 2, 1]])
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        conformers.embed(*water, n=0, seed=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        conformers.embed(*water, n=1, seed=-1)
    with pytest.raises(ValueError, match=r"without charges, got \[H\]N"):  # five bonds at a nitrogen
        conformers.embed([7, 1, 1, 1, 1, 1], np.eye(6, 3), [[0, i, 1] for i in range(1, 6)], n=1, seed=0)
    with pytest.raises(ValueError, match="must have MMFF94 parameters"):
        conformers.embed([1, 1], [[0, 0, 0], [0, 0, 0.74]], [[0, 1, 1]], n=1, seed=0)
