"""Bonds against textbook structures, and against ASE's molecules with known Lewis formulas."""

import ase.build
import numpy as np
import pytest

from jphys.bonds import bonds_from_smiles, connectivity, embed_smiles, perceive_bonds

# orders of the bonds between heavy atoms, by Lewis formula
LEWIS = {
    "C6H6": [1, 1, 1, 2, 2, 2],
    "C5H5N": [1, 1, 1, 2, 2, 2],
    "C4H4NH": [1, 1, 1, 2, 2],
    "C4H4O": [1, 1, 1, 2, 2],
    "C2H2": [3],
    "HCN": [3],
    "C2H4": [2],
    "CO2": [2, 2],
    "CH3NO2": [1, 1, 2],
    "HCOOH": [1, 2],
    "butadiene": [1, 2, 2],
    "bicyclobutane": [1, 1, 1, 1, 1],
    "CH3CN": [1, 3],
    "N2": [3],
}


@pytest.mark.parametrize("name", LEWIS)
def test_orders_are_those_of_the_lewis_formula(name):
    atoms = ase.build.molecule(name)
    bonds = perceive_bonds(atoms.numbers, atoms.positions)
    assert bonds is not None
    assert bonds.dtype == np.int32
    heavy = (atoms.numbers[bonds[:, :2]] > 1).all(axis=1)
    assert sorted(bonds[heavy, 2].tolist()) == LEWIS[name]
    assert (bonds[~heavy, 2] == 1).all()
    assert (bonds[:, 0] < bonds[:, 1]).all()


def test_benzene_double_bonds_alternate():
    atoms = ase.build.molecule("C6H6")
    bonds = perceive_bonds(atoms.numbers, atoms.positions)
    assert bonds is not None
    double = bonds[bonds[:, 2] == 2, :2]
    assert sorted(double.ravel().tolist()) == list(range(6))  # every carbon has exactly one


def test_charge_is_respected():
    ammonium = ase.build.molecule("CH4")
    ammonium.numbers[0] = 7
    bonds = perceive_bonds(ammonium.numbers, ammonium.positions, charge=1)
    assert bonds is not None
    assert bonds[:, 2].tolist() == [1, 1, 1, 1]
    assert perceive_bonds(ammonium.numbers, ammonium.positions, charge=0) is None


def test_failure_is_none_and_connectivity_remains():
    triangle = 0.8 * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]])
    assert perceive_bonds([1, 1, 1], triangle) is None
    assert connectivity([1, 1, 1], triangle).tolist() == [[0, 1, 1], [0, 2, 1], [1, 2, 1]]


def test_single_atom_and_far_atoms_have_no_bonds():
    assert connectivity([10], np.zeros((1, 3))).shape == (0, 3)
    assert connectivity([6, 6], [[0, 0, 0], [9, 0, 0]]).shape == (0, 3)


def test_smiles_gives_its_orders_whatever_the_order_of_atoms():
    atoms = ase.build.molecule("CH3CONH2")  # acetamide
    order = np.random.default_rng(0).permutation(len(atoms))
    numbers, positions = atoms.numbers[order], atoms.positions[order]
    bonds = bonds_from_smiles("CC(N)=O", numbers, positions)
    assert bonds is not None
    double = bonds[bonds[:, 2] == 2]
    assert [sorted(numbers[row[:2]].tolist()) for row in double] == [[6, 8]]
    distance = np.linalg.norm(positions[double[0, 0]] - positions[double[0, 1]])
    assert distance == pytest.approx(1.22, abs=0.02)  # C=O
    np.testing.assert_array_equal(bonds, perceive_bonds(numbers, positions))


@pytest.mark.parametrize("smiles", ["", "not a smiles", "CCO", "CC(O)=N"])
def test_smiles_of_another_molecule_gives_none(smiles):
    atoms = ase.build.molecule("CH3CONH2")
    assert bonds_from_smiles(smiles, atoms.numbers, atoms.positions) is None


@pytest.mark.parametrize("positions", [np.zeros((2, 2)), [[0, 0, 0], [0, 0, np.nan]], np.zeros((3, 3))])
def test_impossible_positions_are_refused(positions):
    with pytest.raises(ValueError, match=r"positions must be finite with shape \(2, 3\)"):
        perceive_bonds([1, 1], positions)


def test_a_smiles_becomes_a_molecule_in_space():
    """Acetonitrile: bond lengths of experiment within MMFF94's error, orders of the Lewis formula."""
    species, positions, found = embed_smiles("CC#N", seed=3)
    assert sorted(species.tolist()) == [1, 1, 1, 6, 6, 7] and positions.shape == (6, 3)
    orders = sorted(found[:, 2].tolist())
    assert orders == [1, 1, 1, 1, 3]
    i, j, _ = found[found[:, 2] == 3][0]
    assert np.linalg.norm(positions[i] - positions[j]) == pytest.approx(1.157, abs=0.02)
    np.testing.assert_array_equal(positions, embed_smiles("CC#N", seed=3)[1])


@pytest.mark.parametrize("smiles", ["", "C1CC", "[NH4+]"])
def test_smiles_that_give_no_molecule_are_refused(smiles):
    with pytest.raises(ValueError, match="smiles must be"):
        embed_smiles(smiles)
