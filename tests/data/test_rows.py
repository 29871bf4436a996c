"""Rows of many structures: made once, kept under what they were made of."""

import dataclasses

import jax
import numpy as np
import pytest

from jphys.data import rows
from jphys.data.kept import Writer, read
from jphys.data.qm9 import load_small
from jphys.data.rows import Layout, lay_out
from jphys.data.structures import take


@pytest.fixture
def structures():
    return take(load_small(), np.arange(60, 71))


@pytest.fixture
def few_are_many(monkeypatch, tmp_path):
    """Eleven structures count as many; how often rows of a chunk were made."""
    made = []

    def here(layout, parts, n):
        for part in parts:
            made.append(len(part))
            yield layout(part)

    monkeypatch.setattr(rows, "MANY", 11)
    monkeypatch.setattr(rows, "CHUNK", 4)
    monkeypatch.setattr(rows, "in_processes", here)
    monkeypatch.setenv("JPHYS_CACHE", str(tmp_path))
    return made


def test_made_once(structures, few_are_many, tmp_path):
    layout = Layout(4.0, 0.0, False, int(structures.n_atoms.max()))
    first = jax.tree.map(np.asarray, lay_out(structures, layout))
    assert few_are_many == [4, 4, 3] and len(list(tmp_path.iterdir())) == 1
    jax.tree.map(np.testing.assert_array_equal, first, layout(structures))
    jax.tree.map(np.testing.assert_array_equal, first, jax.tree.map(np.asarray, lay_out(structures, layout)))
    assert len(few_are_many) == 3


@pytest.mark.parametrize("other", ["cutoff", "positions", "forces"])
def test_of_something_else_they_are_made_anew(structures, few_are_many, tmp_path, other):
    layout = Layout(4.0, 0.0, False, int(structures.n_atoms.max()))
    lay_out(structures, layout)
    moved = structures.positions + 0.1
    changed = {"positions": {"positions": moved}, "forces": {"forces": moved}}.get(other, {})
    if other == "cutoff":
        layout = dataclasses.replace(layout, cutoff=3.0)
    found = lay_out(dataclasses.replace(structures, **changed), layout)
    assert len(few_are_many) == 6 and len(list(tmp_path.iterdir())) == 2
    assert (found.forces is None) == (other != "forces")


def test_what_broke_off_is_not_there(structures, monkeypatch, few_are_many, tmp_path):
    def broken(layout, parts, n):
        yield layout(next(parts))
        raise KeyboardInterrupt

    monkeypatch.setattr(rows, "in_processes", broken)
    with pytest.raises(KeyboardInterrupt):
        lay_out(structures, Layout(4.0, 0.0, False, 8))
    assert list(tmp_path.iterdir()) == []


def test_edges_felt_by_a_function_of_a_script_are_made_here(structures, few_are_many, tmp_path):
    """Other processes would not find it."""
    layout = Layout(4.0, 0.0, False, 8, felt_edges=lambda graph: np.asarray(graph.senders) < 2)
    found = lay_out(structures, layout)
    assert not few_are_many and list(tmp_path.iterdir()) == []
    assert found.stored.edges.rows[0].max() == 1


def test_a_cache_that_cannot_be_written_is_named(structures, few_are_many, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("JPHYS_CACHE", str(tmp_path / "file"))
    with pytest.raises(OSError, match=r"rows must find room in \$JPHYS_CACHE, .*file, got: "):
        lay_out(structures, Layout(4.0, 0.0, False, 8))


def test_rows_of_one_kind(tmp_path):
    with pytest.raises(ValueError, match=r"leaves must be those of the first tree, .*f8.*, got .*f4"):
        with Writer(tmp_path / "kept") as writer:
            writer.add([np.zeros(2)])
            writer.add([np.zeros(2, np.float32)])
    assert list(tmp_path.iterdir()) == []


def test_arrays_on_disk(tmp_path):
    whole = np.arange(24.0).reshape(8, 3)
    with Writer(tmp_path / "kept") as writer:
        writer.add({"a": whole[:5], "b": np.zeros((0, 2), bool)})
        writer.add({"a": whole[5:], "b": np.zeros((0, 2), bool)})
    a, b = read(tmp_path / "kept")
    assert len(a) == 8 and a.shape == (8, 3) and a.dtype == float
    np.testing.assert_array_equal(a[2:6], whole[2:6])
    np.testing.assert_array_equal(np.asarray(a), whole)
    assert np.asarray(b).shape == (0, 2) and len(b[0:1]) == 0


def test_the_first_to_write_wins(tmp_path):
    with Writer(tmp_path / "kept") as late:
        late.add([np.zeros(2)])
        with Writer(tmp_path / "other") as first:
            first.add([np.ones(2)])
        (tmp_path / "other").rename(tmp_path / "kept")
    assert np.asarray(read(tmp_path / "kept")[0]).tolist() == [1.0, 1.0]
    assert [path.name for path in tmp_path.iterdir()] == ["kept"]
