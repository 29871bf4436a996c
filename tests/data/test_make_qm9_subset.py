"""The script that makes the shipped subset, run as its user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jphys.data import qm9

ROOT = Path(__file__).resolve().parents[2]
FULL = ROOT.parent / "shared" / "data" / "qm9.npz"


def _run(cache, *arguments) -> str:
    command = [sys.executable, str(ROOT / "experiments" / "make_qm9_subset.py"), *map(str, arguments)]
    environment = os.environ | {"JPHYS_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_subset_of_an_official_archive(make_tar, tmp_path):
    output = tmp_path / "none.npz"
    printed = _run(tmp_path / "cache", "--source", make_tar(), "--output", output, "--max-heavy-atoms", 1)
    counts = [
        int(line.split()[-1])
        for line in printed.splitlines()
        if "molecules read" in line or "dropped" in line
    ]
    assert counts == [2, 1]
    made = qm9.load(output)
    assert made.name.tolist() == ["dsgdb9nsd_000001", "dsgdb9nsd_000003"]
    assert made.n_bonds.tolist() == [4, 2]
    with np.load(output) as archive:
        np.savez(output, **{key: archive[key] for key in archive if key != "n_uncharacterized"})
    assert "dropped       unknown" in _run(tmp_path, "--source", output, "--output", tmp_path / "again.npz")


@pytest.mark.skipif(not FULL.is_file(), reason="shared/data/qm9.npz is not on this machine")
def test_shipped_subset_is_what_the_script_makes(tmp_path):
    output = tmp_path / "small.npz"
    printed = _run(tmp_path / "cache", "--source", FULL, "--output", output)
    assert "3,921" in printed and "3,054" in printed and "130,831" in printed
    with np.load(output) as made, np.load(qm9.SMALL) as shipped:
        assert set(made) == set(shipped)
        for key in made:
            np.testing.assert_array_equal(made[key], shipped[key])
