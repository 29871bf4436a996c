"""A run over two processes, as on two hosts: the losses of one process with two devices."""

import contextlib
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jphys
from jphys import runs
from jphys.compiling import quick_environment

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import jax
port, count, number, folder, stream = sys.argv[1:]
if int(count) > 1:
    jax.distributed.initialize(f"localhost:{port}", int(count), int(number))
from pathlib import Path
from jphys import runs
from jphys.data.qm9 import load_small
from jphys.models import TransformerConfig
from jphys.training.config import TrainConfig
from jphys.training.loop import train
from jphys.training.setup import prepare

model = TransformerConfig(channels=8, heads=2, blocks=1, n_basis=8)
config = TrainConfig(
    objective="energy-only",
    structures=40,
    epochs=2,
    batch_size=8,
    validate_every=1,
    checkpoint_seconds=0.0,
    model=model,
    stream=stream == "stream",
)
assert len(jax.devices()) == 2
run = prepare(config, load_small())
runs.start(Path(folder), config, resume=True)
assert train(run, Path(folder))
"""


def start(port, count, number, folder, stream, stderr):
    flags = f"--xla_force_host_platform_device_count={2 // count}"
    given = os.environ | quick_environment() | {"XLA_FLAGS": flags, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, *map(str, (port, count, number, folder, stream))]
    return subprocess.Popen(command, env=given, stdout=subprocess.DEVNULL, stderr=stderr)


def run_together(port, count, folder, stream, logs):
    """Run the script in so many processes to their end.

    What they say goes to files: a process whose full pipe nobody reads would wait, and the others for it.
    """
    with contextlib.ExitStack() as stack:
        stderr = [stack.enter_context(open(logs / f"{count}-{number}.log", "w+")) for number in range(count)]
        processes = [start(port, count, number, folder, stream, stderr[number]) for number in range(count)]
        try:
            for process in processes:
                process.wait(timeout=600)
        finally:
            for process in processes:
                process.kill()
                process.wait()
        for process, file in zip(processes, stderr):
            file.seek(0)
            assert process.returncode == 0, file.read()[-4000:]


@pytest.mark.smoke
@pytest.mark.slow
def test_two_processes_train_as_one(tmp_path):
    """One process with all structures on its devices; two with them, and two that stream them."""
    found = []
    for count, stream in ((1, "resident"), (2, "resident"), (2, "stream")):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            port = free.getsockname()[1]
        folder = tmp_path / f"{count}-{stream}"
        run_together(port, count, folder, stream, tmp_path)
        found.append(runs.read_metrics(folder))
    one = found[0]
    for two in found[1:]:
        assert [line["step"] for line in one] == [line["step"] for line in two] and len(two) == 2
        for ours, theirs in zip(one, two):
            assert ours["losses"] == pytest.approx(theirs["losses"], rel=1e-4)
            assert ours["valid"] == pytest.approx(theirs["valid"], rel=1e-4)
    assert [line["losses"] for line in found[1]] == [line["losses"] for line in found[2]]
    params = jphys.load(tmp_path / "2-stream" / "best")[1]
    assert all(np.isfinite(leaf).all() for leaf in params["embedding"].values())
