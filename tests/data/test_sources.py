"""The data of a run by name: what no run can use is refused with its file."""

import ase.build
import ase.io
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

from jphys.data import sources


def _write(path, n: int):
    atoms = ase.build.molecule("H2O")
    atoms.calc = SinglePointCalculator(atoms, energy=-5.0)
    ase.io.write(path, [atoms] * n, format="extxyz")
    return str(path)


@pytest.mark.parametrize("n", [1, 2])
def test_fewer_structures_than_parts_are_refused_with_their_file(n, tmp_path):
    path = _write(tmp_path / "few.extxyz", n)
    with pytest.raises(ValueError, match=rf"few\.extxyz must hold at least 3 structures.* got {n}"):
        sources.load(path)


def test_tiny_copy_of_qm9_is_refused_with_its_file(make_folder, tmp_path, monkeypatch):
    monkeypatch.setenv("JPHYS_CACHE", str(tmp_path / "cache"))
    folder = make_folder()
    with pytest.raises(ValueError, match=f"{folder} must hold at least 3 structures.* got 2"):
        sources.load("qm9", folder)


def test_folder_is_no_file(tmp_path):
    with pytest.raises(ValueError, match=f"{tmp_path} must be one file of structures, got a folder"):
        sources.load(str(tmp_path))


def test_name_of_a_file_may_hold_an_at_sign(tmp_path):
    structures = sources.load(_write(tmp_path / "a@b.extxyz", 3))
    assert structures.name.tolist() == ["a@b.extxyz:0", "a@b.extxyz:1", "a@b.extxyz:2"]
    assert len(sources.load(_write(tmp_path / "a@1.extxyz", 4))) == 4  # not the frame number 1
