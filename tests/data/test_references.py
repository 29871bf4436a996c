"""Reference energies: exact where energies are sums over atoms, least squares otherwise."""

import dataclasses

import numpy as np
import pytest

from jphys.data import qm9
from jphys.data.references import fit, residual_energies
from jphys.data.structures import take


@pytest.fixture(scope="module")
def small():
    return qm9.load_small()


def test_sums_over_atoms_are_recovered(small):
    constants = {1: -13.6, 6: -1030.0, 7: -1485.0, 8: -2042.0, 9: -2713.5}
    per_atom = np.array([constants[z] for z in small.species.tolist()])
    energy = np.add.reduceat(per_atom, np.cumsum(small.n_atoms) - small.n_atoms)
    structures = dataclasses.replace(small, energy=energy + 0.0)
    references = fit(structures)
    assert references.keys() == constants.keys()
    assert [references[z] for z in constants] == pytest.approx(list(constants.values()), abs=1e-6)
    np.testing.assert_allclose(residual_energies(structures, references), 0, atol=1e-6)


def test_residuals_are_of_the_size_of_bonds(small):
    residuals = residual_energies(small, fit(small))
    assert residuals.dtype == np.float64
    # least squares: no element's count correlates with what is left
    for z in (1, 6, 7, 8, 9):
        owner = np.repeat(np.arange(len(small)), small.n_atoms)
        counts = np.bincount(owner[small.species == z], minlength=len(small))
        assert abs(counts @ residuals) < 1e-5 * len(small)
    assert 0.1 < residuals.std() < 1.0  # eV; total energies spread over thousands


def test_one_composition_gives_the_solution_of_smallest_norm(small):
    water = take(small, np.flatnonzero(small.name == "dsgdb9nsd_000003"))
    references = fit(water)
    # minimise a² + b² with 2a + b = E: a = 2E/5, b = E/5
    assert references[1] == pytest.approx(2 * water.energy[0] / 5)
    assert references[8] == pytest.approx(water.energy[0] / 5)


def test_unknown_element_is_named_with_its_structure(small):
    methane, water = take(small, [0]), take(small, [0, 2])
    assert water.name[1] == "dsgdb9nsd_000003"
    with pytest.raises(ValueError, match=r"those fitted \(H C\), got O in dsgdb9nsd_000003"):
        residual_energies(water, fit(methane))


def test_impossible_input_is_refused(small):
    with pytest.raises(ValueError, match="at least one structure"):
        fit(take(small, np.zeros(0, int)))
    broken = dataclasses.replace(take(small, [0, 1]), energy=np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="energy must be finite, got nan in dsgdb9nsd_000002"):
        fit(broken)
