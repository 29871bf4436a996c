"""experiments/train.py as a user runs it: in a process of its own, at its smallest size."""

import importlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import ase
import ase.io
import numpy as np
import pytest
from ase.calculators.singlepoint import SinglePointCalculator

import jphys
from jphys.compiling import quick_environment
from jphys.data import qm9

ROOT = Path(__file__).parents[2]
TINY = ["--preset", "smoke", "--model.channels", "8", "--model.heads", "2", "--model.n-basis", "8"]
QUICK_REPORT = ["--report.molecules", "2", "--report.max-steps", "5", "--report.xtb-molecules", "0"]


def command(*flags):
    return [sys.executable, str(ROOT / "experiments" / "train.py"), *flags]


def environment(devices=1):
    quick = os.environ | quick_environment()
    flags = f"{quick.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={devices}"
    # A wide terminal: messages are then not broken into lines.
    return quick | {
        "XLA_FLAGS": flags,
        "PYTHONPATH": str(ROOT),
        "MPLBACKEND": "agg",
        "COLUMNS": "200",
    }


def run(*flags, devices=1, **options):
    return subprocess.run(
        command(*flags), env=environment(devices), capture_output=True, text=True, timeout=1200, **options
    )


def losses(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [(r["step"], r["losses"]["total"], r["gradient_norm"]) for r in map(json.loads, lines)]


@pytest.fixture(scope="module")
def few(tmp_path_factory):
    """120 molecules of the shipped set as extxyz, with the harmonic forces of a made-up field.

    The smallest are left out: they are so symmetric that modes have equal curvatures, and rounding chooses
    their directions.
    """
    path = tmp_path_factory.mktemp("data") / "few.extxyz"
    data = qm9.load_small()
    ends = np.cumsum(data.n_atoms)
    for i in range(300, 420):
        rows = slice(ends[i] - data.n_atoms[i], ends[i])
        atoms = ase.Atoms(data.species[rows], data.positions[rows])
        atoms.calc = SinglePointCalculator(atoms, energy=data.energy[i], forces=-0.1 * atoms.positions)
        ase.io.write(path, atoms, append=True)
    return path


@pytest.mark.smoke
@pytest.mark.slow
def test_smoke_run_writes_everything_and_its_model_loads(tmp_path):
    folder = tmp_path / "run"
    done = run("--preset", "smoke", "--run", str(folder))
    assert done.returncode == 0, done.stderr
    for name in ("config.json", "environment.json", "metrics.jsonl", "summary.json", "recovery.npz"):
        assert (folder / name).stat().st_size > 0
    figures = {path.name for path in (folder / "figures").glob("*.png")}
    assert figures == {"learning_curves.png", "recovery.png", "overlays.png", "pair_energies.png"}
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["data"] == {"name": "qm9-small", "n_train": 320, "n_valid": 20, "n_test": 60}
    assert f"MAE_E {summary['test']['mae_energy_mev']:.1f} meV" in done.stdout
    assert "minutes after the imports, summary and figures in" in done.stdout
    assert summary["environment"] == json.loads((folder / "environment.json").read_text())
    assert summary["environment"]["git_revision"] and summary["settings"]["fields"]["preset"] == "smoke"
    assert str(tmp_path) not in json.dumps(summary), "a stored summary has no path of this machine"
    potential, params = jphys.load(folder / "best")
    methane = jphys.make_graph(
        [6, 1, 1, 1, 1], 0.63 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]])
    )
    assert np.isfinite(potential.energy(params, methane)).all()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "smok"], "preset must be one of smoke, default, best-cpu, qm9-gpu, got 'smok'"),
        (["--preset", "smoke", "--objective", "papers"], "objective must be one of auto, physics, paper"),
        (
            ["--preset", "smoke", "--objective", "labels"],
            "objective must not be labels for data without forces",
        ),
        (
            ["--preset", "smoke", "--data", "missing.extxyz"],
            "data must be qm9-small, qm9 or an existing file",
        ),
        (["--preset", "smoke", "--preset", "smok"], "preset must be one of smoke, default"),
        (["--preset=", "--seed", "1"], "preset must be one of smoke, default, best-cpu, qm9-gpu, got ''"),
        (["--preset", "smoke", "--structures", "2"], "structures must be 0 or at least 3"),
        (["--preset", "smoke", "--seed", "4294967296"], "seed must be from 0 to below 2**32"),
        (["--preset", "smoke", "--report.sigmas", "-0.1"], "sigmas must not be negative, got (-0.1,)"),
        (["--preset", "smoke", "--stop-after-minutes", "-1"], "stop_after_minutes must be finite and not"),
        (["--preset", "smoke", "--model.cutoff", "inf"], "cutoff must be positive and finite, got inf"),
        (["--preset", "smoke", "--losses.auxiliary.weight", "1"], "auxiliary.weight must be 0 for a model"),
        (["--data", "qm9", "--epoch", "3"], "--epochs"),  # nothing is downloaded for it
        (["--preset", "smoke", "--source", "qm9.tar.bz2"], "source must go with the data qm9"),
        (["--preset", "smoke", "--epoch", "3"], "--epochs"),
        (["--preset", "smoke", "--epochs", "0"], "epochs must be at least 1, got 0"),
        (["--preset", "smoke", "--model.heads", "3"], "heads must divide channels 16, got 3"),
    ],
)
def test_wrong_flags_say_what_is_allowed(tmp_path, refusal, flags, message):
    assert message in refusal("train.py", *flags, "--run", str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "periodic", "said"),
    [
        ([], False, ["objective physics: no forces in the data: its structures are taken as stable ones"]),
        ([], True, ["objective paper: no forces in the data: its structures are taken as stable ones"]),
        (["--objective", "physics"], False, []),  # asked for
    ],
)
def test_structures_without_forces_are_said_to_be_taken_as_stable(tmp_path, refusal, flags, periodic, said):
    atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]], cell=[9, 9, 9], pbc=periodic)
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
    ase.io.write(tmp_path / "mine.extxyz", [atoms] * 3)
    flags = [*flags, "--losses.forces.weight", "1", "--run", str(tmp_path / "run")]
    printed = refusal("train.py", *TINY, "--data", str(tmp_path / "mine.extxyz"), *flags)
    assert "forces.weight must be 0 for data without force labels" in printed
    assert [line for line in printed.splitlines() if "taken as stable" in line] == said


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--objective", "physics"], ["labelled forces reach 0.70 eV/Å"]),
        ([], []),  # trains on the forces
    ],
)
def test_labelled_forces_are_said_where_losses_take_structures_as_stable(tmp_path, refusal, flags, said):
    atoms = ase.Atoms("OH", [[0, 0, 0], [0, 0, 0.97]])
    atoms.calc = SinglePointCalculator(atoms, energy=-1.0, forces=[[0, 0, -0.7], [0, 0, 0.7]])
    ase.io.write(tmp_path / "mine.extxyz", [atoms] * 3)
    flags = [*flags, "--losses.auxiliary.weight", "1", "--run", str(tmp_path / "run")]
    printed = refusal("train.py", *TINY, "--data", str(tmp_path / "mine.extxyz"), *flags)
    assert "losses.auxiliary.weight must be 0 for a model that has no head auxiliary" in printed
    found = [line.split(": ")[1] for line in printed.splitlines() if "as stable ones" in line]
    assert found == said


@pytest.mark.parametrize(
    ("molecules", "cell", "reason"),
    [
        (0, 0.0, "report.xtb_molecules is 0"),
        (4, 5.0, "needs free molecules, got crystals"),
        (4, 0.0, "needs tblite: pip install -e '.[engines]'"),
    ],
)
def test_the_report_says_why_there_is_no_comparison(monkeypatch, capsys, tmp_path, molecules, cell, reason):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    test = SimpleNamespace(structures=SimpleNamespace(cell=np.full((1, 3, 3), cell)))
    report = SimpleNamespace(xtb_molecules=molecules)
    run = SimpleNamespace(config=SimpleNamespace(report=report), data=SimpleNamespace(test=test))
    summary = {
        "test": {"mae_energy_mev": 1.0, "mae_force_ev_per_angstrom": 0.1},
        "seconds": {"total": 90.0},
        "xtb": None,
    }
    importlib.import_module("train").print_report(summary, "", run, tmp_path)
    assert f"GFN2-xTB comparison: not made ({reason})" in capsys.readouterr().out


@pytest.mark.slow
def test_user_structures_train_on_their_forces(tmp_path, few):
    done = run(*TINY, *QUICK_REPORT, "--data", str(few), "--run", str(tmp_path / "run"), "--epochs", "2")
    assert done.returncode == 0, done.stderr
    config = json.loads((tmp_path / "run" / "config.json").read_text())["fields"]
    assert config["objective"] == "labels"
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["losses"]["forces"] > 0


@pytest.mark.slow
def test_qm9_from_a_file_trains_and_goes_on(tmp_path):
    flags = [*TINY, *QUICK_REPORT, "--data", "qm9", "--source", str(qm9.SMALL), "--structures", "100"]
    flags += ["--run", str(tmp_path / "run"), "--log-every", "2"]
    stopped = run(*flags, "--stop-after-minutes", "1e-6")
    assert "continue with the same command and --resume" in stopped.stdout, stopped.stderr
    assert run(*flags, "--resume").returncode == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["fields"]
    assert (config["data"], config["source"]) == ("qm9", str(qm9.SMALL))
    assert (tmp_path / "run" / "summary.json").exists()


@pytest.mark.slow
def test_the_report_can_be_had_again_with_other_sizes(tmp_path):
    flags = [*TINY, "--structures", "40", "--run", str(tmp_path / "run"), "--report.max-steps", "5"]
    flags += ["--report.molecules", "2", "--report.xtb-molecules", "1"]  # of one molecule nothing correlates
    done = run(*flags, "--report.fmaxes", "0.05")
    assert done.returncode == 0, done.stderr
    steps = losses(tmp_path / "run")
    again = run(*flags, "--report.fmaxes", "0.02", "0.2", "--resume")
    assert again.returncode == 0, again.stderr
    assert losses(tmp_path / "run") == steps, "nothing was trained again"
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert {row["fmax"] for row in summary["recovery"]["rows"]} == {0.02, 0.2}


@pytest.mark.slow
def test_noble_gases_have_no_bonds_and_train_all_the_same(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(40):
        atoms = ase.Atoms("Ar2", [[0, 0, 0], [0, 0, rng.uniform(3.5, 4.5)]])
        atoms.calc = SinglePointCalculator(atoms, energy=-1.0)
        ase.io.write(tmp_path / "argon.extxyz", atoms, append=True)
    done = run(*TINY, *QUICK_REPORT, "--data", str(tmp_path / "argon.extxyz"), "--run", str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert "no pair_energies.png: graphs must hold at least one pair" in done.stdout


def test_a_file_is_no_run_folder(tmp_path, refusal):
    (tmp_path / "file").write_text("")
    assert "run must be a folder, got the file" in refusal("train.py", *TINY, "--run", str(tmp_path / "file"))


def test_an_empty_file_is_named(tmp_path, refusal):
    (tmp_path / "empty.extxyz").write_text("")
    assert "empty.extxyz" in refusal("train.py", *TINY, "--data", str(tmp_path / "empty.extxyz"))


@pytest.mark.smoke
@pytest.mark.slow
def test_a_killed_run_goes_on_with_the_same_losses(tmp_path, few):
    """By the objective `paper`, which draws noise and masks and compiles faster than `physics`."""
    flags = [*TINY, *QUICK_REPORT, "--data", str(few), "--objective", "paper", "--epochs", "8"]
    flags += ["--batch-size", "16", "--log-every", "2", "--checkpoint-seconds", "0.001"]
    whole = run(*flags, "--run", str(tmp_path / "whole"))
    assert whole.returncode == 0, whole.stderr
    killed = tmp_path / "killed"
    process = subprocess.Popen(
        command(*flags, "--run", str(killed)), env=environment(), stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 300
    while process.poll() is None and time.monotonic() < deadline:
        metrics = killed / "metrics.jsonl"
        if metrics.exists() and len(metrics.read_text().splitlines()) >= 7:
            break
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    stopped = len(losses(killed))
    assert 7 <= stopped < len(losses(tmp_path / "whole")), "the run was to be killed half-way"
    resumed = run(*flags, "--run", str(killed), "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert losses(killed) == losses(tmp_path / "whole")


@pytest.mark.slow
def test_resuming_with_another_config_is_refused(tmp_path, few):
    flags = [*TINY, *QUICK_REPORT, "--data", str(few), "--run", str(tmp_path / "run")]
    assert run(*flags).returncode == 0
    again = run(*flags)
    assert "give --resume to continue it" in again.stderr
    other = run(*flags, "--resume", "--learning-rate", "0.1")
    assert "got other values for learning_rate" in other.stderr


@pytest.mark.slow
def test_four_devices_give_the_losses_of_one(tmp_path, few):
    flags = [*TINY, *QUICK_REPORT, "--data", str(few), "--objective", "physics"]
    # Not along modes: of nearly equal ones (8 of 120 molecules have some) rounding chooses the directions.
    flags += ["--losses.displacements.thermal", "0"]
    flags += ["--epochs", "1", "--batch-size", "16", "--log-every", "1"]
    for devices in (1, 4):
        done = run(*flags, "--run", str(tmp_path / str(devices)), devices=devices)
        assert done.returncode == 0, done.stderr
    logs = [(tmp_path / name / "metrics.jsonl").read_text().splitlines() for name in ("1", "4")]
    one, four = ([json.loads(line)["losses"] for line in lines] for lines in logs)
    # Training amplifies rounding, some 1e-6 in the third step to 4e-4 in the seventh: four are compared.
    for name in one[0]:
        ours, theirs = ([row[name] for row in rows[:4]] for rows in (four, one))
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, err_msg=name)


@pytest.mark.slow
def test_a_loss_that_is_not_finite_stops_and_names_step_and_structures(tmp_path, few):
    done = run(
        *TINY, "--data", str(few), "--run", str(tmp_path / "run"), "--learning-rate", "1e30", "--epochs", "30"
    )
    assert done.returncode != 0
    assert "must be finite" in done.stderr
    assert "at step" in done.stderr
    assert re.search(r"for few\.extxyz:\d+", done.stderr.strip().splitlines()[-1]), done.stderr
