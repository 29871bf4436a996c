"""The truth: which structures, a file that is whole or refused, and a judge that knows itself."""

import dataclasses

import numpy as np
import pytest

from jphys import figures
from jphys.data import truth as truths
from jphys.data.qm9 import load_small
from jphys.data.structures import graphs, take
from jphys.reliability import mmff94, truth
from jphys.reliability.vibrations import numerical_hessians


@pytest.fixture(scope="module")
def cases():
    """Ten molecules of three to five heavy atoms."""
    return truths.cases(take(load_small(), np.arange(20, 60, 4)), n_scans=2)


@pytest.fixture(scope="module")
def answered(cases):
    """By MMFF94, with the second derivatives of one molecule."""
    surface, asked = mmff94.surface(), graphs(cases.structures)
    energy, forces = surface.evaluate(asked)
    structures = dataclasses.replace(cases.structures, energy=energy, forces=np.concatenate(forces))
    (hessian,) = numerical_hessians(surface, None, [asked[3]])
    return dataclasses.replace(
        cases,
        structures=structures,
        asked=np.ones(len(energy), bool),
        hessians={3: hessian},
        provenance={"engine": "mmff94", "settings": {}},
    )


def test_cases_are_whole(cases):
    assert np.bincount(cases.kind).tolist() == [10, 20, 22, 18]
    assert (cases.kind[cases.stable] == 0).all() and (cases.stable[:10] == np.arange(10)).all()
    shift = [
        np.std(place - stable)
        for (row, _, place), stable in ((p, places(cases)[cases.stable[p[0]]]) for p in truths.points(cases))
        if cases.kind[row] == 1 and cases.value[row] == 0.1
    ]
    assert np.mean(shift) == pytest.approx(0.1, rel=0.1)


def test_rises_count_from_the_stable_structures_and_are_drawn(answered, tmp_path):
    above, true = truth.rises(mmff94.surface(), None, answered)
    np.testing.assert_allclose(above, true, atol=1e-9)
    assert not above[:10].any() and above[answered.kind == 1].min() > 0
    png = figures.rises({"mmff94": above, "half": above / 2}, answered, tmp_path / "rises.png")
    assert png.read_bytes()[:4] == b"\x89PNG" and png.stat().st_size > 10000


def places(cases):
    return [place for _, _, place in truths.points(cases)]


def test_scans_move_one_side_rigidly(cases):
    everything = places(cases)
    for row in np.flatnonzero(cases.kind >= 2):
        now, then = everything[row], everything[cases.stable[row]]
        distances = [np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (now, then)]
        moved = np.linalg.norm(now - then, axis=1) > 1e-9
        for side in (moved, ~moved):
            within = np.ix_(side, side)
            np.testing.assert_allclose(distances[0][within], distances[1][within], atol=1e-9)
        if cases.kind[row] == 3:
            np.testing.assert_allclose(
                np.linalg.norm((now - then)[moved], axis=1), abs(cases.value[row]), atol=1e-9
            )
            stretched = np.abs(distances[0] - distances[1] - cases.value[row])
            assert stretched.min() < 1e-9, "the bond is longer by the value"


def test_the_file_keeps_everything(answered, tmp_path):
    truths.save(tmp_path / "truth.npz", answered)
    again = truths.load(tmp_path / "truth.npz")
    np.testing.assert_allclose(again.structures.energy, answered.structures.energy, atol=1e-6)
    assert again.structures.forces is not None
    np.testing.assert_allclose(again.structures.forces, answered.structures.forces, atol=2e-5, rtol=1e-6)
    np.testing.assert_allclose(again.hessians[3], answered.hessians[3], atol=1e-4)
    for field in ("kind", "value", "stable", "asked"):
        np.testing.assert_array_equal(getattr(again, field), getattr(answered, field))
    assert again.provenance == answered.provenance
    (tmp_path / "half.npz").write_bytes((tmp_path / "truth.npz").read_bytes()[:5000])
    with pytest.raises(ValueError, match=r"half\.npz must be a complete npz file"):
        truths.load(tmp_path / "half.npz")
    with np.load(tmp_path / "truth.npz") as file:
        arrays = {key: file[key] for key in file.files}
    np.savez(tmp_path / "short.npz", **arrays | {"energy": arrays["energy"][:-1]})
    with pytest.raises(ValueError, match=r"short\.npz: energy must have shape \(70,\), got \(69,\)"):
        truths.load(tmp_path / "short.npz")


def test_the_shipped_truth_is_whole():
    """Fifty molecules, none failed, whose forces are those of their energies' minimum where they rest."""
    found = truths.load()
    assert np.bincount(found.kind).tolist() == [50, 100, 110, 90] and len(found.hessians) == 10
    energy, rest = found.structures.energy, found.kind == 0
    assert found.asked.all() and np.isfinite(energy).all()
    assert ((energy - energy[found.stable])[found.kind == 1] > 0.1).all()
    assert found.structures.forces is not None
    forces = np.split(found.structures.forces, np.cumsum(found.structures.n_atoms)[:-1])
    at_rest = [np.abs(force).max() for force, stable in zip(forces, rest) if stable]
    assert max(at_rest) < 0.05 and found.provenance["engine"] == "pyscf"


def test_the_pretrained_surface_rises_as_density_functional_theory_has_it(pretrained):
    """Displaced by σ = 0.05 Å; the literal objective has a ratio of 0.02 and a correlation of 0.34."""
    everything = truths.load()
    rows = np.flatnonzero((everything.kind == 0) | (everything.value == 0.05) & (everything.kind == 1))
    chosen = dataclasses.replace(
        everything,
        structures=take(everything.structures, rows),
        kind=everything.kind[rows],
        value=everything.value[rows],
        stable=np.searchsorted(rows, everything.stable[rows]),
        asked=everything.asked[rows],
        hessians={},
    )
    potential, params = pretrained
    found = truth.judge(potential, params, chosen)
    (near,) = found["displaced"]
    assert found["n_unanswered"] == 0 and near["n"] == 50
    assert 0.8 < near["median_rise_ratio"] < 1.25
    assert near["force_correlation"] > 0.95 and 0.8 < near["force_slope"] < 1.2


def test_a_surface_follows_itself(answered):
    found = truth.judge(mmff94.surface(), None, answered)
    assert found["n_unanswered"] == 0 and [row["sigma"] for row in found["displaced"]] == [0.05, 0.1]
    for row in found["displaced"]:
        assert row["median_rise_ratio"] == row["force_slope"] == pytest.approx(1.0)
        assert row["force_mae"] < 1e-5 < 0.3 < row["force_size"]
    for kind in ("torsion", "stretch"):
        assert found[kind]["mae"] < 1e-6 < found[kind]["size"] and found[kind]["barrier_mae"] < 1e-6
    assert found["frequencies"]["mae"] < 0.1 and found["frequencies"]["n"] > 6


def test_half_a_surface_is_half_as_high(answered):
    """Energies and forces of MMFF94 halved: every ratio is a half, frequencies are lower by the root."""
    full = mmff94.surface()
    half = dataclasses.replace(full, ask=lambda graph: tuple(0.5 * x for x in full.ask(graph)))
    found = truth.judge(half, None, answered)
    for row in found["displaced"]:
        assert row["median_rise_ratio"] == row["force_slope"] == pytest.approx(0.5)
        assert row["force_correlation"] == pytest.approx(1.0)
    assert found["stretch"]["mae"] == pytest.approx(found["stretch"]["size"] / 2)
    assert found["frequencies"]["bias"] < -100
