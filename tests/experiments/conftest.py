"""Scripts of experiments/ as a user runs them."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from jphys.compiling import quick_environment

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def refusal(monkeypatch, capsys):
    """What a script says when it refuses its arguments; run in this process, which has the imports."""

    def call(name: str, *arguments: str) -> str:
        monkeypatch.setenv("COLUMNS", "200")  # messages are then not broken into lines
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        monkeypatch.syspath_prepend(str(EXPERIMENTS))
        with pytest.raises(SystemExit) as stopped:
            runpy.run_path(str(EXPERIMENTS / name), run_name="__main__")
        assert stopped.value.code not in (None, 0)
        said = capsys.readouterr()
        return said.out + said.err + str(stopped.value.code)

    return call


@pytest.fixture
def run():
    """Runs a script as a user does and returns what it prints."""

    def call(name: str, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, str(EXPERIMENTS / name), *arguments],
            env=os.environ | quick_environment() | {"PYTHONPATH": str(EXPERIMENTS.parent), "COLUMNS": "200"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return call


@pytest.fixture
def read():
    """Reads a JSON file."""
    return lambda path: json.loads(path.read_text("utf-8"))
