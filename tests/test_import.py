"""What `import jphys` costs and what it offers."""

import ast
import inspect
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

import jphys

HEAVY = ("jax_md", "rdkit", "flax", "optax", "orbax", "ase", "matplotlib", "tblite")


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_heavy_packages_stay_out():
    loaded = run(f"import jphys, sys; print([name for name in {HEAVY} if name in sys.modules])")
    assert loaded == "[]"


def test_import_costs_what_jax_costs():
    """Processor time, medians of interleaved runs: steady on a busy machine."""

    def cost(module: str) -> float:
        return float(run(f"import time, {module}; print(time.process_time())"))

    pairs = [(cost("jax"), cost("jphys")) for _ in range(3)]
    plain, ours = (statistics.median(times) for times in zip(*pairs))
    assert ours < plain + 0.35


def test_public_names_load():
    assert [name for name in jphys.__all__ if getattr(jphys, name, None) is None] == []


def test_public_names_are_where_type_checkers_look():
    """Each lazy name is imported under TYPE_CHECKING from the module that __getattr__ takes it from."""
    tree = ast.parse(Path(jphys.__file__).read_text("utf-8"))
    block = next(n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING")
    seen = {alias.name: n.module for n in block.body if isinstance(n, ast.ImportFrom) for alias in n.names}
    modules = {name for name, home in seen.items() if home == "jphys"}
    assert {name: home for name, home in seen.items() if name not in modules} == jphys._HOME
    assert all(inspect.ismodule(getattr(jphys, name)) for name in modules) and modules <= {*jphys.__all__}


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'jphys' has no attribute 'make_grpah'"):
        _ = jphys.make_grpah  # pyright: ignore[reportAttributeAccessIssue]


def test_import_leaves_the_settings_of_jax_alone():
    code = (
        "import jax; before = dict(jax.config.values); import jphys; print(before == dict(jax.config.values))"
    )
    assert run(code) == "True"
