"""Whoever calls a function of jphys.data learns from its docstring what it refuses."""

import importlib
import inspect
import pkgutil

import pytest

import jphys.data
from jphys.data import growth, loader, qm9, scaled_files, structures

MODULES = [module.name for module in pkgutil.iter_modules(jphys.data.__path__)]


@pytest.mark.parametrize("name", MODULES)
def test_functions_that_raise_say_so(name):
    module = importlib.import_module(f"jphys.data.{name}")
    for key, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__ and not key.startswith("_"):
            raises = " raise " in inspect.getsource(function).replace(function.__doc__ or "", "")
            assert not raises or "Raises" in (function.__doc__ or ""), key


@pytest.mark.parametrize(
    "function",
    [structures.graphs, loader.make_dataset, qm9.read, growth.load_unstable, scaled_files.read_table],
)
def test_functions_that_pass_errors_on_say_so(function):
    assert "Raises:" in (function.__doc__ or "")
