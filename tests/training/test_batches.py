"""Batches of a resident and of a streamed source: the same to the last bit, from any step on."""

import dataclasses
import sys

import jax
import numpy as np
import pytest
from small_batches import CONFIG

import jphys
from jphys.data import rows as data_rows
from jphys.data.loader import make_dataset, plan_epoch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.training.batches import resident, streamed
from jphys.training.step import data_mesh


@pytest.fixture(scope="module")
def structures():
    small = take(load_small(), np.arange(60, 71))
    forces = np.random.default_rng(0).normal(size=small.positions.shape)
    return dataclasses.replace(small, forces=forces)


@pytest.fixture(scope="module")
def plan(structures):
    """Two epochs in batches of four; the last of each is not full."""
    return np.concatenate([plan_epoch(structures.n_atoms, 4, 1, 0, epoch) for epoch in range(2)])


@pytest.fixture(scope="module")
def in_memory(structures):
    return make_dataset(
        structures, np.arange(11.0), cutoff=4.0, margin=1.0, with_prior=True, scale=np.ones(11)
    )


@pytest.fixture(scope="module")
def on_disk(structures, tmp_path_factory):
    """The same structures, taken for many: two processes made the rows, in chunks of six."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(data_rows, "MANY", 11)
        patch.setattr(data_rows, "CHUNK", 6)
        patch.setattr(data_rows, "n_cores", lambda: 2)
        patch.setenv("JPHYS_CACHE", str(tmp_path_factory.mktemp("cache")))
        return make_dataset(
            structures, np.arange(11.0), cutoff=4.0, margin=1.0, with_prior=True, scale=np.ones(11)
        )


def same(ours, theirs):
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)


def test_rows_on_disk_are_those_in_memory(in_memory, on_disk):
    """But for the last bits of the modes: how many structures a chunk has is another program."""
    assert type(on_disk.rows.stored.nodes.rows.positions).__name__ == "OnDisk"
    ours, theirs = (jax.tree.map(np.asarray, data.rows) for data in (on_disk, in_memory))
    same((ours.stored, ours.forces), (theirs.stored, theirs.forces))
    same((ours.prior.terms, ours.prior.sides), (theirs.prior.terms, theirs.prior.sides))
    np.testing.assert_allclose(
        ours.prior.modes.curvatures.rows, theirs.prior.modes.curvatures.rows, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("where", ["in_memory", "on_disk"])
def test_streamed_batches_are_the_resident_ones(plan, where, request):
    dataset, mesh = request.getfixturevalue(where), data_mesh()
    there, read = resident(dataset, plan, mesh), streamed(dataset, plan, mesh)
    assert len(read) == len(there) == 6 and (plan < 0).any()
    assert read.budget == there.budget
    for step, (ours, theirs) in enumerate(zip(read.iterate(), there.iterate(), strict=True)):
        empty = np.append(plan[step, 0] < 0, True)  # the bonds of a structure that is none are anyone's
        kept = jax.tree.map(lambda rows, empty=empty: np.asarray(rows)[0][~empty], ours.labels.sides)
        expected = jax.tree.map(lambda rows, empty=empty: np.asarray(rows)[0][~empty], theirs.labels.sides)
        same(kept, expected)
        without = (batch._replace(labels=batch.labels._replace(sides=None)) for batch in (ours, theirs))
        same(*without)
        assert ours.labels.index[0].tolist() == [*plan[step, 0].tolist(), -1]


def test_it_goes_on_from_any_step(in_memory, plan):
    batches = streamed(in_memory, plan, data_mesh())
    same(next(batches.iterate(4)), batches[4])
    assert len(list(batches.iterate(4))) == 2 and list(batches.iterate(6)) == []


def test_a_stream_without_grain_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "grain", None)
    config = dataclasses.replace(CONFIG, stream=True)
    with pytest.raises(ImportError, match=r"stream needs Grain: pip install 'jphys\[stream\]'"):
        jphys.train(config, take(load_small(), np.arange(20, 40)), folder=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_streamed_training_is_the_resident_one(tmp_path):
    """Also where it is stopped and goes on; and it may go on the other way."""
    structures = take(load_small(), np.arange(20, 100))
    there = jphys.train(CONFIG, structures, folder=tmp_path / "resident")
    config = dataclasses.replace(CONFIG, stream=True)
    short = dataclasses.replace(config, stop_after_minutes=1e-6)
    assert not jphys.train(short, structures, folder=tmp_path / "streamed").complete
    assert not jphys.train(short, structures, folder=tmp_path / "either").complete
    for folder, stream in (("streamed", True), ("either", False)):
        again = dataclasses.replace(config, resume=True, stream=stream)
        read = jphys.train(again, structures, folder=tmp_path / folder)
        assert read.complete and read.run.n_compilations == 1
        same(read.params, there.params)
