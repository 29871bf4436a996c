"""Programs compiled in little time: what is asked for, and that it is done in processes started from here."""

import os
import subprocess
import sys

import jax
import pytest

from jphys.compiling import quick_environment

PROGRAM = """
import os
import jax
from jphys.compiling import compile_quickly
compile_quickly()
print(jax.config.values["jax_disable_most_optimizations"], os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"])
print(float(jax.jit(lambda x: x * x + x)(3.0)))
"""


def test_flags_are_added_and_a_choice_of_the_user_stays():
    found = quick_environment({"XLA_FLAGS": "--xla_force_host_platform_device_count=2"})
    assert found["JAX_DISABLE_MOST_OPTIMIZATIONS"] == "1"
    if "XLA_FLAGS" in found:
        assert found["XLA_FLAGS"].startswith("--xla_force_host_platform_device_count=2 --xla_cpu")
    assert quick_environment({"JAX_DISABLE_MOST_OPTIMIZATIONS": "0"}) == {}


@pytest.mark.skipif(jax.__version_info__ >= (0, 11), reason="this jax has one kind of emitters")
def test_this_jax_has_a_choice_of_emitters():
    assert quick_environment({})["XLA_FLAGS"] == "--xla_cpu_use_fusion_emitters=false"


def test_a_process_compiles_and_computes_with_it():
    """XLA stops at flags that it does not know."""
    environment = {
        k: v for k, v in os.environ.items() if k not in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS")
    }
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "1", "12.0"], done.stderr[-2000:]
