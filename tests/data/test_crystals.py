"""Infinite crystals: cells against ASE's, and the split of the paper."""

import ase.build
import numpy as np
import pytest

from jphys.data import crystals
from jphys.data.scaled import CONVERGED, ScaledTable, expand, take


@pytest.fixture
def curves():
    """Two crystals at all scales, with a parabola around 1 as energy."""
    shapes = crystals.shapes({13: 4.0, 29: 3.6})
    energy = np.tile((crystals.SCALES - 1) ** 2, (2, 1))
    return expand(
        ScaledTable(shapes, crystals.SCALES, energy, np.full(energy.shape, CONVERGED, np.uint8), {})
    )


def test_cells_are_those_of_ase(curves):
    reference = ase.build.bulk("Cu", "fcc", a=3.6)
    shapes = crystals.shapes({13: 4.0, 29: 3.6})
    np.testing.assert_allclose(shapes.cell[1], reference.cell.array)
    assert shapes.species.tolist() == [13, 29] and shapes.name.tolist() == ["fcc-Al", "fcc-Cu"]
    np.testing.assert_allclose(np.unique(curves.spacing), np.array([3.6, 4.0]) / np.sqrt(2))


def test_scales_reach_from_90_to_150_percent_and_have_the_stable_one():
    assert len(crystals.SCALES) >= 400 and 1.0 in crystals.SCALES
    assert (crystals.SCALES[0], crystals.SCALES[-1]) == (0.9, 1.5)


def test_split_of_the_paper(curves):
    parts = crystals.split_scales(curves, seed=3)
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(curves)))
    assert [len(part) for part in parts] == [16, 472, 474]
    training = take(curves, parts.train)
    for shape in (0, 1):
        steps = np.diff(training.scale[training.shape == shape])
        np.testing.assert_allclose(steps, 0.6 / 7, atol=0.00126)
        assert len(steps) == 7


def test_split_is_seeded(curves):
    one, same, other = (crystals.split_scales(curves, seed=seed) for seed in (3, 3, 4))
    assert one.valid.tolist() == same.valid.tolist() != other.valid.tolist()
    assert one.train.tolist() == other.train.tolist()


def test_split_survives_points_that_failed(curves):
    kept = np.delete(np.arange(len(curves)), [0, 80, 481])
    parts = crystals.split_scales(take(curves, kept), seed=0)
    assert len(parts.train) == 16 and len(np.unique(np.concatenate(parts))) == len(kept)


def test_arguments_are_checked(curves):
    with pytest.raises(ValueError, match="n_train must be from 2 to 479, got 1"):
        crystals.split_scales(curves, n_train=1, seed=0)
    with pytest.raises(ValueError, match="seed must not be negative, got -1"):
        crystals.split_scales(curves, seed=-1)


def test_no_points_cannot_be_split(curves):
    with pytest.raises(ValueError, match="crystals must have points, got none"):
        crystals.split_scales(take(curves, []), seed=0)


def test_shipped_curves_have_the_lattice_constants_of_pbe():
    """PBE without zero-point motion: Al 4.04 Å and Cu 3.63 to 3.65 Å in the literature
    (Haas, Tran, Blaha 2009, doi:10.1103/PhysRevB.79.085104: 4.041 and 3.632)."""
    found = crystals.load()
    assert found.n_failed == found.n_not_asked == 0 and len(found) == 2 * len(crystals.SCALES)
    for shape, low, high in ((0, 4.03, 4.04), (1, 3.64, 3.65)):
        points = found.shape == shape
        scale, energy = found.scale[points], found.structures.energy[points]
        near = np.abs(scale - 1) < 0.05
        fit = np.polynomial.Polynomial.fit(scale[near], energy[near], 4)
        fine = np.linspace(0.97, 1.03, 6001)
        stable = fine[fit(fine).argmin()] * found.spacing[points][0] * np.sqrt(2)
        assert low < stable < high
        # neighbouring points lie on one smooth curve
        assert np.abs(np.diff(energy, 3)).max() < 2e-3
