"""Fixtures for every test: float64 on request, molecules and crystals with known geometry."""

import jax
import numpy as np
import pytest
from hypothesis import settings

settings.register_profile("jphys", deadline=None, max_examples=40, derandomize=True)
settings.load_profile("jphys")


@pytest.fixture
def x64():
    """float64 for one test; the library itself never sets it."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def rng():
    return np.random.default_rng(0)
