"""Fixtures for every test, and one compilation cache for all processes of a test run."""

import dataclasses
import gc
import os
import shutil
import tempfile
from pathlib import Path

import jax
import numpy as np
import pytest
from ase.build import molecule
from ase.optimize import BFGS
from hypothesis import settings

import jphys
from jphys.compiling import compile_quickly
from jphys.graph import from_ase

MAPPINGS = 20_000  # of 65,530
collect_ignore = ["toy_models.py"]  # for doctests: under a second name its models cannot be registered

settings.register_profile("jphys", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("jphys")


def pytest_configure(config):
    """What one test compiled, no other compiles again: neither the next one nor a script that it starts."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.made_cache = tempfile.mkdtemp(prefix="jphys-tests-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.made_cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if config.option.markexpr in ("not slow", "smoke"):
        compile_quickly()  # most of what these tests do; .ci/run also runs some as users compile
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    # Tracing makes many objects and little garbage: looking for it is a fifth of the time that it takes.
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


def pytest_unconfigure(config):
    """Remove the cache that this run made."""
    if hasattr(config, "made_cache"):
        shutil.rmtree(config.made_cache, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def few_mappings():
    """Drop what was compiled before a process runs out of the memory mappings that Linux gives it.

    Code that XLA compiles for CPUs takes about a thousand for a force; without room for more it crashes.
    """
    yield
    mappings = Path("/proc/self/maps")
    if mappings.is_file() and mappings.read_bytes().count(b"\n") > MAPPINGS:
        jax.clear_caches()


@pytest.fixture
def x64():
    """float64 for one test; the library itself never sets it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture(scope="session")
def pretrained():
    """The potential in the package and its parameters."""
    return jphys.load("qm9-small")


@pytest.fixture(scope="session")
def calculator(pretrained):
    """One for all molecules; a large one first, so that one compilation serves the rest."""
    found = jphys.Calculator(*pretrained)
    found.get_forces(molecule("C6H6"))
    return found


@pytest.fixture(scope="session")
def at_rest(calculator):
    """Molecules of ASE's by name, at minima of the shipped model, as graphs."""

    def find(*names):
        found = []
        for name in names:
            atoms = molecule(name)
            atoms.calc = calculator
            assert BFGS(atoms, logfile=None).run(fmax=0.002, steps=200)
            found.append(from_ase(atoms))
        return found

    return find


@pytest.fixture(scope="session")
def fresh():
    """An untrained model that knows every element; its parameters are far from the start values."""
    potential = jphys.make_potential(jphys.TransformerConfig(channels=16, blocks=1, heads=4, n_basis=8))
    params = jax.jit(potential.init)(jax.random.key(0), from_ase(molecule("H2O")))
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    moved = [leaf + 0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves)]
    return potential, jax.tree.unflatten(tree, moved)


@pytest.fixture(scope="session")
def counting():
    """A function of a potential: the potential, and a list that grows with every trace of its energy."""

    def counted(potential):
        traces = []

        def energy(params, graph):
            traces.append(graph.nodes.species.shape)
            return potential.energy(params, graph)

        return dataclasses.replace(potential, energy=energy), traces

    return counted
