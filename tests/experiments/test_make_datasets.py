"""The scripts that make data sets, at their smallest size: files load, finished ones are left alone."""

import runpy
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from jphys.data import augmented_qm9, crystals, growth
from jphys.elements import formula
from jphys.engines import gpaw

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def script(monkeypatch, capsys):
    """Run a script in this process, which has the imports; gives what it printed."""

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, *arguments, "--workers", "0"])
        monkeypatch.syspath_prepend(str(EXPERIMENTS))
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
    found = (growth.load_stable if subset == "stable" else growth.load_unstable)(path)
    assert found.provenance["set"] == f"crystal-growth-{subset}"
    assert found.provenance["made_by"] == (
        f"python experiments/make_crystal_growth.py --subset {subset} --engine emt --growths 1 --min-size 15 "
        f"--max-size 18 --output {path} --smoke"
    )
    assert (found.n_shape, len(found)) == (8, n_points)
    assert found.structures.n_atoms.min() == 15 and found.structures.n_atoms.max() == 18
    written = path.stat().st_mtime_ns, path.read_bytes()
    script("make_crystal_growth.py", "--smoke", "--subset", subset, "--output", str(path))
    assert (path.stat().st_mtime_ns, path.read_bytes()) == written


def test_flags_are_heard_in_a_trial_too(script, tmp_path):
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    path = tmp_path / "set.npz"
    script("make_augmented_qm9.py", "--smoke", "--formula", "C3H4O3", "--output", str(path))
    found = augmented_qm9.load(path)
    assert len(found) == 10 and formula(found.structures.species[:10]) == "C3H4O3"
    assert "--formula C3H4O3" in found.provenance["made_by"]
    path = tmp_path / "growth.npz"
    script("make_crystal_growth.py", "--smoke", "--growths", "2", "--max-size", "15", "--output", str(path))
    assert growth.load_stable(path).n_shape == 4


@pytest.mark.parametrize(
    ("name", "engine", "message"),
    [
        ("make_crystal_growth.py", "cp2k", "CP2K must be installed"),
        ("make_infinite_crystal.py", "gpaw", "GPAW must be installed"),
    ],
)
def test_an_engine_that_is_asked_for_is_not_replaced(refusal, monkeypatch, tmp_path, name, engine, message):
    """Neither is here: no trial may go on with effective medium theory."""
    gpaw.stop()
    monkeypatch.setattr(shutil, "which", lambda *args, **kwargs: None)
    monkeypatch.delenv("JPHYS_GPAW_PYTHON", raising=False)
    monkeypatch.chdir(tmp_path)
    assert message in refusal(name, "--smoke", "--engine", engine)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--formula", "CH4", "--molecules", "3"), "molecules must not be given with a formula, got 3"),
        (("--smoke", "--source", "qm9.npz"), "source must not be given for smoke"),
        (("--smoke", "--molecules", "0"), "n_molecules must be from 1 to 3921, got 0"),
    ],
)
def test_molecules_that_cannot_be_chosen(refusal, monkeypatch, tmp_path, arguments, message):
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    monkeypatch.chdir(tmp_path)
    assert message in refusal("make_augmented_qm9.py", *arguments)


def test_a_source_that_is_not_there_is_one_line(refusal, tmp_path):
    output = tmp_path / "small.npz"
    message = refusal("make_qm9_subset.py", "--source", str(tmp_path / "none"), "--output", str(output))
    assert "error: source must be a tar.bz2, folder or npz of QM9" in message and not output.exists()


def test_a_file_of_another_set_is_one_line(refusal, tmp_path):
    path = tmp_path / "set.npz"
    path.write_bytes(b"nothing")
    message = refusal("make_infinite_crystal.py", "--smoke", "--output", str(path))
    assert "error: " in message and "set.npz must be a complete npz file" in message
