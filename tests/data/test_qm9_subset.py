"""The shipped subset of QM9 against published facts, textbook valences and the whole set."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial import KDTree

from jphys.data import qm9
from jphys.elements import SYMBOLS

HARTREE = 27.211386245988
FULL = Path(__file__).resolve().parents[3] / "shared" / "data" / "qm9.npz"
needs_full = pytest.mark.skipif(not FULL.is_file(), reason="shared/data/qm9.npz is not on this machine")


@pytest.fixture(scope="module")
def small():
    return qm9.load_small()


def _atoms(structures, i) -> slice:
    end = int(np.sum(structures.n_atoms[: i + 1]))
    return slice(end - int(structures.n_atoms[i]), end)


def _bonds(structures, i) -> np.ndarray:
    end = int(np.sum(structures.n_bonds[: i + 1]))
    return structures.bonds[end - int(structures.n_bonds[i]) : end]


def test_subset_holds_the_small_molecules_of_qm9(small):
    owner = np.repeat(np.arange(len(small)), small.n_atoms)
    n_heavy = np.bincount(owner, weights=small.species > 1)
    counts = [int(np.count_nonzero(n_heavy <= n)) for n in (5, 6, 7)]
    assert counts == [175, 783, 3921]
    assert n_heavy.max() == 7
    assert set(small.species.tolist()) == {1, 6, 7, 8, 9}
    assert small.forces is None
    assert not small.cell.any()


def test_subset_begins_with_methane_at_its_published_energy(small):
    assert small.name[0] == "dsgdb9nsd_000001"
    assert sorted(SYMBOLS[z] for z in small.species[:5]) == ["C", "H", "H", "H", "H"]
    assert small.energy[0] == pytest.approx(-40.47893 * HARTREE, abs=1e-9)


def test_subset_has_no_atoms_closer_than_any_of_qm9(small):
    shortest = [
        KDTree(small.positions[_atoms(small, i)]).query(small.positions[_atoms(small, i)], k=2)[0][:, 1].min()
        for i in range(len(small))
    ]
    assert 0.959 <= min(shortest) < 1.0  # an O-H bond; the smallest distance of the whole set is 0.959 Å


def test_subset_bonds_fill_the_valences(small):
    """In a kekulised neutral molecule without charges H has valence 1, C 4, N 3, O 2, F 1."""
    standard = np.zeros(10)
    standard[[1, 6, 7, 8, 9]] = 1, 4, 3, 2, 1
    neutral = 0
    for i in range(len(small)):
        species, bonds = small.species[_atoms(small, i)], _bonds(small, i)
        valence = np.zeros(len(species))
        np.add.at(valence, bonds[:, 0], bonds[:, 2])
        np.add.at(valence, bonds[:, 1], bonds[:, 2])
        excess = valence - standard[species]
        assert np.abs(excess).max() <= 1, small.name[i]  # ±1: an atom of a zwitterion
        assert excess.sum() == 0, small.name[i]
        neutral += not excess.any()
    assert neutral > 0.98 * len(small)


def test_subset_pyrrole_is_kekulised(small):
    # pyrrole, C4H5N: the only ring of five atoms of this formula with 10 bonds, two of them double
    of_formula = [
        i
        for i in range(len(small))
        if sorted(small.species[_atoms(small, i)].tolist()) == [1] * 5 + [6] * 4 + [7]
    ]
    aromatic = []
    for i in of_formula:
        species, bonds = small.species[_atoms(small, i)], _bonds(small, i)
        heavy = (species[bonds[:, :2]] > 1).all(axis=1)
        degree = np.bincount(bonds[heavy, :2].ravel(), minlength=len(species))
        n_hydrogen = np.bincount(bonds[~heavy, :2].ravel(), minlength=len(species))[species > 1]
        if heavy.sum() == 5 and (degree[species > 1] == 2).all() and (n_hydrogen == 1).all():
            aromatic.append(sorted(bonds[heavy, 2].tolist()))
    assert aromatic == [[1, 1, 1, 2, 2]]


def test_subset_is_smaller_than_a_megabyte():
    assert qm9.SMALL.stat().st_size < 1_000_000


@needs_full
def test_subset_agrees_with_the_full_set(small):
    full = qm9.load(FULL)
    assert len(full) == 130_831
    owner = np.repeat(np.arange(len(full)), full.n_atoms)
    chosen = np.flatnonzero(np.bincount(owner, weights=full.species > 1) <= 7)
    np.testing.assert_array_equal(small.name, full.name[chosen])
    np.testing.assert_array_equal(small.energy, full.energy[chosen])
    np.testing.assert_array_equal(small.positions, full.positions[np.isin(owner, chosen)])


def _kinds(species, bonds) -> list[tuple[int, int, int]]:
    """Element, element and order of every bond, without the numbering of the atoms."""
    rows = [(int(species[i]), int(species[j]), int(order)) for i, j, order in bonds]
    return sorted((min(a, b), max(a, b), order) for a, b, order in rows)


def _smiles_kinds(smiles: str) -> tuple[list, bool]:
    from rdkit import Chem

    molecule = Chem.AddHs(Chem.MolFromSmiles(smiles))
    aromatic = any(bond.GetIsAromatic() for bond in molecule.GetBonds())
    Chem.Kekulize(molecule, clearAromaticFlags=True)
    bonds = [
        (bond.GetBeginAtomIdx(), bond.GetEndAtomIdx(), bond.GetBondTypeAsDouble())
        for bond in molecule.GetBonds()
    ]
    return _kinds([atom.GetAtomicNum() for atom in molecule.GetAtoms()], bonds), aromatic


@needs_full
def test_subset_bonds_are_those_of_the_gdb_smiles(small):
    records, other_kekule = qm9.read(FULL), []
    smiles = {f"dsgdb9nsd_{i:06d}": s for i, s in zip(records.index, records.smiles, strict=True)}
    for i in np.flatnonzero([smiles[name] != "" for name in small.name]):
        got = _kinds(small.species[_atoms(small, i)], _bonds(small, i))
        expected, aromatic = _smiles_kinds(smiles[small.name[i]])
        if got != expected:
            other_kekule.append((small.name[i], aromatic, _orders(got) == _orders(expected)))
    # 1,2,3,4-tetrazines: their two Kekulé formulas differ in the elements that the double bonds join
    assert [facts[1:] for facts in other_kekule] == [(True, True)] * 4, other_kekule


def _orders(kinds: list[tuple[int, int, int]]) -> list[int]:
    return sorted(order for *_, order in kinds)
