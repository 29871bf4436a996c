"""Fixtures for every test, and one compilation cache for all processes of a test run."""

import os
import shutil
import tempfile

import jax
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("jphys", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("jphys")


def pytest_configure(config):
    """What one test compiled, no other compiles again: neither the next one nor a script that it starts."""
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        config.made_cache = tempfile.mkdtemp(prefix="jphys-tests-")
        os.environ["JAX_COMPILATION_CACHE_DIR"] = config.made_cache
        os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.2"
    jax.config.update("jax_compilation_cache_dir", os.environ["JAX_COMPILATION_CACHE_DIR"])
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def pytest_unconfigure(config):
    """Remove the cache that this run made."""
    if hasattr(config, "made_cache"):
        shutil.rmtree(config.made_cache, ignore_errors=True)


@pytest.fixture
def x64():
    """float64 for one test; the library itself never sets it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)
