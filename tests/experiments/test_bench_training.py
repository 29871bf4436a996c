"""experiments/bench_training.py at its smallest size, in a process of its own."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jphys.compiling import quick_environment

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "bench_training.py"
TINY = ["--channels", "4", "--blocks", "1", "--heads", "2", "--n-basis", "4", "--batch-size", "4"]
SHORT = ["--molecules", "24", "--rounds", "1", "--steps", "2"]


def run(*flags):
    # A wide terminal: messages are then not broken into lines.
    environment = os.environ | quick_environment() | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, str(SCRIPT), *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=1800)


@pytest.mark.smoke
@pytest.mark.slow
def test_ratios_are_those_of_the_medians(tmp_path):
    done = run(*TINY, *SHORT, "--output", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    steps = found["steps"]
    assert set(steps) == {"energy-only", "physics", "energy+forces"}
    assert {row["molecules"] for row in steps.values()} == {4}
    for row in steps.values():
        assert row["molecules_per_s"] * row["step_ms"] == pytest.approx(row["molecules"] * 1e3)
        assert row["compile_s"] * 1e3 > row["step_ms"] >= row["fastest_step_ms"] > 0
    per_step = steps["physics"]["step_ms"] / steps["energy-only"]["step_ms"]
    assert found["ratios"]["cost of physics / energy-only, per step"] == pytest.approx(per_step)
    assert found["ratios"]["cost of physics / energy-only, per molecule"] == pytest.approx(per_step)
    assert f"{per_step:5.2f}" in done.stdout
    assert "output" not in found["config"]  # a path of this machine


def test_costs_are_per_different_molecule(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    bench_steps = importlib.import_module("bench_steps")
    plan = np.array([[[4, 4, 1, 2]], [[0, 0, 3, -1]]])
    seconds = {"energy-only": (1, 4), "physics": (3, bench_steps.full_batch(plan)), "energy+forces": (2, 4)}
    candidates = [
        bench_steps.Candidate(name, lambda number: None, molecules, seconds=[each, each])
        for name, (each, molecules) in seconds.items()
    ]
    found = bench_steps.summarise(candidates, rounds=2)
    assert found["steps"]["physics"]["molecules_per_s"] == 1.0
    assert found["ratios"] == {
        "cost of physics / energy-only, per step": 3.0,
        "cost of physics / energy-only, per molecule": 4.0,
        "cost of energy+forces / energy-only, per step": 2.0,
        "cost of energy+forces / energy-only, per molecule": 2.0,
    }


@pytest.mark.skipif(importlib.util.find_spec("torchmdnet") is not None, reason="the peer is installed")
def test_an_absent_peer_is_named(refusal):
    assert "pip install torch torchmd-net" in refusal("bench_training.py", "--peer", "torchmd-net")


def test_an_impossible_size_is_refused(refusal):
    said = refusal("bench_training.py", "--molecules", "3")
    assert "molecules must be 0 or at least two batches, got 3" in said
