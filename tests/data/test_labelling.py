"""Resumable labels: what is missing is calculated, and how the run went does not show in the file."""

import dataclasses
import functools
import signal
import subprocess
import sys

import numpy as np
import pytest

from jphys.data import crystals, growth
from jphys.data.labelling import label
from jphys.data.scaled import CONVERGED, FAILED, NOT_ASKED
from jphys.data.scaled_files import load, read_table
from jphys.engines import Engine, Result, make_engine

ABOUT = {"source": "made up", "licence": "CC0", "made_by": "test", "progress": False}
SCALES = np.array([0.9, 1.0, 1.1])


def pair_sum(species, positions, cell):
    """An energy that anybody can compute: the sum of all distances, with nuclear charges."""
    distances = np.linalg.norm(positions[:, None] - positions, axis=-1)
    return Result(float(species @ distances @ species), True)


def fails_when_stretched(species, positions, cell):
    large = np.ptp(positions, axis=0).max() > 4.2
    return Result(float("nan"), False) if large else pair_sum(species, positions, cell)


def stops_after(calls, n, species, positions, cell):
    if len(calls) == n:
        raise KeyboardInterrupt
    calls.append(len(species))
    return pair_sum(species, positions, cell)


def engine(energy=pair_sum, **changed):
    return dataclasses.replace(Engine("pairs", "1", {"power": 1}, energy), **changed)


@pytest.fixture(scope="module")
def clusters():
    return growth.shapes({13: 4.0, 29: 3.6}, n_growths=1, sizes=(15, 16))


def test_labels_are_the_engine_s_at_the_scaled_positions(clusters, tmp_path):
    table = label(clusters, SCALES, engine(), tmp_path / "a.npz", **ABOUT)
    expected = [[s * table.energy[i, 1] for s in SCALES] for i in range(4)]
    np.testing.assert_allclose(table.energy, expected, rtol=1e-9)
    found = load(tmp_path / "a.npz")
    assert len(found) == 12 and found.n_failed == 0
    ends = np.cumsum(found.structures.n_atoms)
    for i, energy in enumerate(found.structures.energy):
        atoms = slice(ends[i] - found.structures.n_atoms[i], ends[i])
        again = pair_sum(found.structures.species[atoms], found.structures.positions[atoms], None)
        assert energy == pytest.approx(again.energy, abs=1e-5)


def test_a_stopped_run_goes_on_to_the_same_file(clusters, tmp_path):
    label(clusters, SCALES, engine(), tmp_path / "whole.npz", **ABOUT)
    calls = []
    with pytest.raises(KeyboardInterrupt):
        stopping = engine(functools.partial(stops_after, calls, 5))
        label(clusters, SCALES, stopping, tmp_path / "a.npz", **ABOUT)
    status = read_table(tmp_path / "a.npz").status
    assert (status == CONVERGED).sum() == 5 and (status == NOT_ASKED).sum() == 7
    assert load(tmp_path / "a.npz").n_not_asked == 7
    more = []
    label(clusters, SCALES, engine(functools.partial(stops_after, more, 99)), tmp_path / "a.npz", **ABOUT)
    assert len(more) == 7
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "whole.npz").read_bytes()


KILLED = """
import os, signal, sys
from jphys.data import growth
from jphys.data.labelling import label
from jphys.engines import Engine, Result

calls = []

def dies(species, positions, cell):
    calls.append(1)
    if len(calls) > 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return Result(float(len(calls)), True)

clusters = growth.shapes({13: 4.0, 29: 3.6}, n_growths=1, sizes=(15, 16))
about = {"source": "made up", "licence": "CC0", "made_by": "test", "progress": False}
label(clusters, [0.9, 1.0, 1.1], Engine("pairs", "1", {"power": 1}, dies), sys.argv[1],
      checkpoint_seconds=0, **about)
"""


def test_a_killed_run_goes_on_from_its_last_checkpoint(clusters, tmp_path):
    """SIGKILL leaves no time for a last write."""
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "a.npz")], timeout=120)
    assert done.returncode == -signal.SIGKILL
    assert list(tmp_path.iterdir()) == [tmp_path / "a.npz"]
    before = read_table(tmp_path / "a.npz")
    assert before.energy[before.status == CONVERGED].tolist() == [1, 2, 3, 4]
    after = label(clusters, SCALES, engine(), tmp_path / "a.npz", **ABOUT)
    whole = label(clusters, SCALES, engine(), tmp_path / "whole.npz", **ABOUT)
    new = before.status == NOT_ASKED
    np.testing.assert_array_equal(after.energy[new], whole.energy[new])
    np.testing.assert_array_equal(after.energy[~new], before.energy[~new])


def test_points_that_do_not_converge_are_recorded_and_counted(clusters, tmp_path, caplog):
    with caplog.at_level("INFO"):
        table = label(clusters, SCALES, engine(fails_when_stretched), tmp_path / "a.npz", **ABOUT)
    failed = table.status == FAILED
    assert failed.any() and (table.status[~failed] == CONVERGED).all()
    assert np.isnan(table.energy[failed]).all() and np.isfinite(table.energy[~failed]).all()
    assert f"12 points, {failed.sum()} of them failed" in caplog.text
    found = load(tmp_path / "a.npz")
    assert (len(found), found.n_failed) == (12 - failed.sum(), failed.sum())
    again = label(clusters, SCALES, engine(pair_sum), tmp_path / "a.npz", **ABOUT)
    np.testing.assert_array_equal(again.status, table.status)
    mended = label(clusters, SCALES, engine(pair_sum), tmp_path / "a.npz", again=True, **ABOUT)
    assert (mended.status == CONVERGED).all()
    np.testing.assert_array_equal(mended.energy[~failed], table.energy[~failed])


def test_a_file_of_another_set_does_not_go_on(clusters, tmp_path):
    label(clusters, SCALES, engine(), tmp_path / "a.npz", set_name="one", **ABOUT)
    with pytest.raises(ValueError, match=r"a\.npz: set must stay the same to go on, got 'two' .* of 'one'"):
        label(clusters, SCALES, engine(), tmp_path / "a.npz", set_name="two", **ABOUT)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"name": "others"}, "engine must stay the same to go on, got 'others' for a file of 'pairs'"),
        ({"version": "2"}, "version must stay the same"),
        ({"settings": {"power": 2}}, "settings must stay the same"),
    ],
)
def test_another_engine_is_refused(clusters, tmp_path, changed, message):
    label(clusters, SCALES, engine(), tmp_path / "a.npz", **ABOUT)
    before = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(ValueError, match=message):
        label(clusters, SCALES, engine(**changed), tmp_path / "a.npz", **ABOUT)
    assert (tmp_path / "a.npz").read_bytes() == before


def test_other_shapes_and_scales_are_refused(clusters, tmp_path):
    label(clusters, SCALES, engine(), tmp_path / "a.npz", **ABOUT)
    with pytest.raises(ValueError, match=r"a\.npz: shapes and scales must stay the same"):
        label(clusters, SCALES[:2], engine(), tmp_path / "a.npz", **ABOUT)
    moved = dataclasses.replace(clusters, positions=clusters.positions + 0.1)
    with pytest.raises(ValueError, match="shapes must stay the same to go on, got other positions"):
        label(moved, SCALES, engine(), tmp_path / "a.npz", **ABOUT)
    with pytest.raises(ValueError, match="workers must not be negative, got -1"):
        label(clusters, SCALES, engine(), tmp_path / "b.npz", workers=-1, **ABOUT)
    with pytest.raises(ValueError, match="must not be empty, scales ascending"):
        label(clusters, SCALES[::-1], engine(), tmp_path / "b.npz", **ABOUT)
    assert not (tmp_path / "b.npz").exists()


def test_workers_give_the_same_file(tmp_path):
    shapes = crystals.shapes(crystals.LATTICE_CONSTANTS["emt"])
    for workers in (0, 2):
        label(shapes, SCALES, make_engine("emt"), tmp_path / f"{workers}.npz", workers=workers, **ABOUT)
    assert (tmp_path / "0.npz").read_bytes() == (tmp_path / "2.npz").read_bytes()
