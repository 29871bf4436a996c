"""experiments/bench_training.py at its smallest size, in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

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


@pytest.mark.slow
def test_ratios_are_those_of_the_medians(tmp_path):
    done = run(*TINY, *SHORT, "--output", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "bench.json").read_text())
    steps = found["steps"]
    assert set(steps) == {"energy-only", "physics", "energy+forces"}
    for row in steps.values():
        assert row["molecules_per_s"] * row["step_ms"] == pytest.approx(4 * 1e3)
        assert row["compile_s"] * 1e3 > row["step_ms"] >= row["fastest_step_ms"] > 0
    ratio = steps["energy-only"]["molecules_per_s"] / steps["physics"]["molecules_per_s"]
    assert found["ratios"]["cost of physics / energy-only"] == pytest.approx(ratio)
    assert f"{ratio:5.2f}" in done.stdout


@pytest.mark.skipif(importlib.util.find_spec("torchmdnet") is not None, reason="the peer is installed")
def test_an_absent_peer_is_named(refusal):
    assert "pip install torch torchmd-net" in refusal("bench_training.py", "--peer", "torchmd-net")


def test_an_impossible_size_is_refused(refusal):
    said = refusal("bench_training.py", "--molecules", "3")
    assert "molecules must be 0 or at least two batches, got 3" in said
