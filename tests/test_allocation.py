"""Page faults, counted by the kernel, of a compiled function with large temporaries."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource, sys
import jax, jax.numpy as jnp
from jphys.allocation import keep_freed_memory
if sys.argv[1] == "keep":
    print(keep_freed_memory())

@jax.jit
def temporaries(x):  # sorting needs its operand and result in memory: 64 MB each
    return jnp.sum(jnp.sort(jnp.broadcast_to(x, (4, 2**22)) * jnp.arange(4.0)[:, None], axis=0))

for call in range(5):
    if call == 2:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    temporaries(jnp.ones(2**22)).block_until_ready()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(mode: str) -> tuple[str, int]:
    done = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
    *said, count = done.stdout.split()
    return " ".join(said), int(count)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="page faults are counted on Linux")
def test_freed_memory_is_not_asked_for_again():
    said, kept = faults("keep")
    if said != "True":
        pytest.skip("the C library is not glibc")
    assert faults("leave")[1] > 10_000
    assert kept < 5_000
