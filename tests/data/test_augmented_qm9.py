"""Augmented QM9: which molecules, with which bonds, at which scales."""

import numpy as np
import pytest

from jphys.data import augmented_qm9, qm9, qm9_npz
from jphys.data.scaled import split_shapes, take
from jphys.elements import formula
from jphys.reliability.stable_distance import stable_scale


@pytest.fixture(scope="module")
def records():
    return qm9_npz.read_npz(qm9.SMALL)


def test_molecules_are_the_first_by_number(records):
    shuffled = qm9_npz.take(records, np.random.default_rng(0).permutation(200))
    found = augmented_qm9.shapes(shuffled, 12)
    assert found.name.tolist() == [f"dsgdb9nsd_{i:06d}" for i in sorted(records.index.tolist())[:12]]
    methane, ethyne = found.n_bonds[0], found.bonds[found.n_bonds[:3].sum() :][: found.n_bonds[3]]
    assert methane == 4 and 3 in ethyne[:, 2]


def test_fewer_molecules_than_asked_for_are_an_error(records):
    with pytest.raises(ValueError, match="n_molecules must be from 1 to 3921, got 10000"):
        augmented_qm9.shapes(records)


def test_a_molecule_by_its_formula(records):
    found = augmented_qm9.of_formula(records, "C3H4O3")
    assert len(found) == 1 and sorted(found.species.tolist()) == [1] * 4 + [6] * 3 + [8] * 3
    with pytest.raises(ValueError, match="formula must be that of one of 3921 molecules, got 'C90'"):
        augmented_qm9.of_formula(records, "C90")


def test_the_molecule_of_figure_3_lies_beyond_the_set():
    found = augmented_qm9.load(augmented_qm9.LARGER_FILE)
    assert formula(found.structures.species[:16]) == "C5H7N3O" and len(found) == 10
    assert found.structures.name[0] > "dsgdb9nsd_010276"


def test_scales_are_those_of_the_paper():
    assert len(augmented_qm9.SCALES) == 10
    np.testing.assert_allclose(augmented_qm9.SCALES, [0.9 + i * 0.6 / 9 for i in range(10)])


class TestShipped:
    @pytest.fixture(scope="class")
    def found(self):
        return augmented_qm9.load()

    def test_it_is_whole(self, found):
        assert found.n_shape == 10_000 and found.n_not_asked == found.n_failed == 0
        assert len(found) == 100_000
        assert found.provenance["engine"] == "gfn2-xtb"

    def test_methane_is_where_tblite_puts_it(self, found):
        """GFN2-xTB of CH4 has its minimum at −4.175218 Ha (as xtb prints it): no scale is below."""
        methane = take(found, np.flatnonzero(found.shape == 0))
        assert methane.structures.name[0] == "dsgdb9nsd_000001@0.9000"
        np.testing.assert_allclose(methane.spacing, 1.0919, atol=1e-3)
        lowest = methane.structures.energy.min() / 27.211386245988
        assert -4.175219 < lowest < -4.17

    def test_every_molecule_is_stable_near_scale_1(self, found):
        owner = np.split(np.arange(len(found)), np.flatnonzero(np.diff(found.shape)) + 1)
        lowest = [found.scale[points[found.structures.energy[points].argmin()]] for points in owner]
        assert min(lowest) > 0.95 and max(lowest) < 1.05

    def test_no_molecule_is_in_two_parts(self, found):
        parts = split_shapes(found, seed=0)
        sizes = [len(np.unique(found.shape[part])) for part in parts]
        np.testing.assert_allclose(sizes, [8000, 1000, 1000], atol=17)  # seventeen molecules repeat another
        assert len(np.unique(np.concatenate(parts))) == len(found)

    def test_density_functional_theory_agrees_with_its_shapes(self, found):
        """The same structures by another engine. QM9's geometries are minima of this one: its curves are
        lowest at scale 1, and those of GFN2-xTB, whose bonds are shorter by half a percent, close to it."""
        judge = augmented_qm9.load(augmented_qm9.DFT_FILE)
        assert judge.n_shape == 150 and judge.n_not_asked == 0
        assert judge.n_failed == 2 and len(judge) == 1498
        assert judge.provenance["engine"] == "pyscf"
        row = {name: number for number, name in enumerate(found.structures.name)}
        same = take(found, [row[name] for name in judge.structures.name])
        np.testing.assert_array_equal(same.structures.species, judge.structures.species)
        np.testing.assert_allclose(same.structures.positions, judge.structures.positions, atol=1e-9)
        np.testing.assert_allclose(minima(judge), 1.0, atol=3e-4)
        np.testing.assert_allclose(minima(same), 0.995, atol=0.007)


def minima(points):
    """Scale of every shape where the spline through its curve is lowest."""
    rows = [np.flatnonzero(points.shape == shape) for shape in range(points.n_shape)]
    return [stable_scale(points.scale[row], points.structures.energy[row]) for row in rows]
