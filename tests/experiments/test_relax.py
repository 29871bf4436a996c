"""The relaxation script as a user runs it: from SMILES and from a file, and with what it cannot do."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import ase.io
import numpy as np
import pytest
from ase.build import molecule
from ase.constraints import FixAtoms

ROOT = Path(__file__).parents[2]


def run(*arguments: str):
    return subprocess.run(
        [sys.executable, str(ROOT / "experiments" / "relax.py"), *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.smoke
@pytest.mark.slow
def test_smiles_and_a_file_together(tmp_path):
    held = molecule("CH4")
    held.rattle(0.1, seed=0)
    held.set_constraint(FixAtoms([1, 2]))
    ase.io.write(tmp_path / "in.xyz", [molecule("H2O"), held])
    done = run("--smiles", "CCO", "--input", str(tmp_path / "in.xyz"), "--output", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr[-2000:]
    frames: list[Any] = list(ase.io.iread(tmp_path / "out" / "relaxed.extxyz"))
    assert [frame.info["name"] for frame in frames] == ["CCO", "OH2", "CH4"]
    np.testing.assert_allclose(frames[2].positions[1:3], held.positions[1:3], atol=1e-6)
    assert np.abs(frames[2].positions - held.positions).max() > 0.02
    for frame in frames:
        assert frame.info["status"] == "converged"
        assert np.linalg.norm(frame.get_forces(), axis=1).max() < 0.01
    assert frames[1].get_distance(0, 1) == pytest.approx(0.962, abs=0.02)  # O-H of B3LYP
    assert done.stdout.count("converged") == 3 and "-20" in done.stdout  # water: -2079 eV in total
    assert (tmp_path / "out" / "relaxed.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "smiles or input must be given"),
        (("--smiles", "C1CC"), "smiles must be readable by RDKit, got 'C1CC'"),
        (("--smiles", "[NH4+]"), "without charged atoms"),
        (("--smiles", "[CH3]"), "smiles must be of a molecule with a closed shell, got '[CH3]'"),
        (("--smiles", "C", "--seed", "-5"), "seed must be from 0 to below 2**31, got -5"),
        (("--smiles", "C", "--max-steps", "0"), "max_steps must be at least 1, got 0"),
        (("--smiles", "C", "--relax-cell"), "relax_cell needs a crystal, got molecules alone"),
        (("--smiles", "CS"), "species must be among the potential's elements"),
        (("--input", "nowhere.xyz"), "input must be an existing file"),
        (("--smile", "C"), "--smiles"),
    ],
)
def test_what_cannot_be_relaxed_is_named(refusal, arguments, message):
    assert message in refusal("relax.py", *arguments)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("empty.xyz", "", "input must be a file that ASE reads, got"),
        ("junk.xyz", "no structure\n\x00\n", "input must be a file that ASE reads, got"),
        ("water.unknown", "O 0 0 0\n", "input must be a file that ASE reads, got"),
        ("element.xyz", "1\n\nXx 0 0 0\n", "input must be a file that ASE reads, got"),
        ("nothing.xyz", "0\n\n", "input must hold structures with atoms, got none in"),
        ("iron.xyz", "1\n\nFe 0 0 0\n", "structure 0 (Fe): species must be among the potential's elements"),
        (
            "ion.xyz",
            '1\nProperties=species:S:1:pos:R:3:initial_charges:R:1 pbc="F F F"\nO 0 0 0 -1\n',
            "structure 0 (O): initial charges must be zero",
        ),
    ],
)
def test_files_that_cannot_be_relaxed_are_named(refusal, tmp_path, name, text, message):
    """In one line, with the file."""
    file = tmp_path / name
    file.write_text(text)
    said = refusal("relax.py", "--input", str(file), "--output", str(tmp_path / "out"))
    assert message in said and str(file) in said and not (tmp_path / "out").exists()
    assert len(said.strip().splitlines()) == 1


def test_an_output_that_is_a_file_is_named_before_anything_is_relaxed(refusal, tmp_path):
    file = tmp_path / "taken"
    file.write_text("")
    assert f"output must be a folder, got the file {file}" in refusal(
        "relax.py", "--smiles", "C", "--output", str(file)
    )
    inside = refusal("relax.py", "--smiles", "C", "--output", str(file / "below"))
    assert "error: " in inside and "fmax" not in inside and str(file) in inside
