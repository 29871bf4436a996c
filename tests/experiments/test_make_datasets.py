"""The scripts that make data sets, at their smallest size: files load, finished ones are left alone."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

from jphys.data import augmented_qm9, crystals, growth

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def script(monkeypatch, capsys):
    """Run a script in this process, which has the imports; gives what it printed."""

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--workers", "0"])
        runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
        return capsys.readouterr().out

    return call


def test_augmented_qm9(script, tmp_path):
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    path = tmp_path / "set.npz"
    printed = script("make_augmented_qm9.py", "--smoke", "--output", str(path))
    assert "points                              30" in printed and "0.9667 to 1.0333" in printed
    found = augmented_qm9.load(path)
    assert (found.n_shape, len(found), found.n_failed) == (3, 30, 0)
    assert sorted(found.structures.n_atoms[::10].tolist()) == [3, 3, 4]
    assert found.provenance["engine"] == "gfn2-xtb" and found.provenance["licence"] == "CC0"
    assert found.provenance["source"].startswith("QM9 (doi:10.1038/sdata.2014.22), 3 characterised molecules")


def test_infinite_crystal(script, tmp_path):
    path = tmp_path / "set.npz"
    printed = script("make_infinite_crystal.py", "--smoke", "--output", str(path))
    constants = [float(line.split()[-2]) for line in printed.splitlines() if "lattice constant" in line]
    np.testing.assert_allclose(constants, [3.995, 3.590], atol=0.01)  # of ASE's parameters
    assert len(crystals.load(path)) == 50


@pytest.mark.parametrize(("subset", "n_points"), [("stable", 8), ("unstable", 80)])
def test_crystal_growth(script, tmp_path, subset, n_points):
    path = tmp_path / "set.npz"
    script("make_crystal_growth.py", "--smoke", "--subset", subset, "--output", str(path))
    found = growth.load_stable(path)
    assert (found.n_shape, len(found)) == (8, n_points)
    assert found.structures.n_atoms.min() == 15 and found.structures.n_atoms.max() == 18
    written = path.stat().st_mtime_ns, path.read_bytes()
    script("make_crystal_growth.py", "--smoke", "--subset", subset, "--output", str(path))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_a_file_of_another_set_is_one_line(refusal, tmp_path):
    path = tmp_path / "set.npz"
    path.write_bytes(b"nothing")
    message = refusal("make_infinite_crystal.py", "--smoke", "--output", str(path))
    assert "error: " in message and "set.npz must be a complete npz file" in message
