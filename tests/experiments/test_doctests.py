"""The examples in docstrings of experiments/, which pytest does not collect by itself."""

import doctest
import importlib
from pathlib import Path

import pytest

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
WITH_EXAMPLES = sorted(path.stem for path in EXPERIMENTS.glob("*.py") if ">>> " in path.read_text("utf-8"))


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_examples_say_what_the_code_does(monkeypatch, name):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0 and found.failed == 0
