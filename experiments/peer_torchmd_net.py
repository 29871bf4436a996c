"""TorchMD-Net (Thölke & De Fabritiis, arXiv:2202.02541) as the peer of `bench_training.py`, on CPU torch.

It trains in a process of its own, as its users run it: jphys sets how the C library allocates, which would
change its speed too. Run as a script, this file is that process: one line in, one step, one line out.
"""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

KINDS = ("transformer", "equivariant-transformer")


def check() -> None:
    """Stop with what to install where the library is absent."""
    if any(importlib.util.find_spec(name) is None for name in ("torch", "torchmdnet")):
        raise SystemExit("--peer torchmd-net needs TorchMD-Net 3: pip install torch torchmd-net")


def start(kind: str, run: Any) -> Callable[[int], None]:
    """A process that trains TorchMD-Net on the batches of a run, and the function that makes it do a step.

    Args:
        kind: one of KINDS.
        run: of `jphys.training.setup.prepare`; width, depth, heads, basis and cutoff are its model's.
    """
    ours, arrays = run.config.model, {}
    for number, chosen in enumerate(run.batches.plan):
        arrays |= {f"{name}{number}": array for name, array in batch(run, chosen).items()}
    file = Path(tempfile.mkdtemp(prefix="peer-")) / "batches.npz"
    np.savez(file, **arrays)
    names = ("channels", "blocks", "heads", "n_basis", "cutoff")
    sizes = json.dumps({name: getattr(ours, name) for name in names})
    command = [sys.executable, __file__, kind, sizes, str(file)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    asked, told = _pipe(process.stdin), _pipe(process.stdout)

    def step(number: int) -> None:
        print(number, file=asked, flush=True)
        answer = told.readline().strip()
        if answer != f"done {number}":
            process.kill()
            raise RuntimeError(f"the process of {kind} must answer step {number}, got {answer!r}")

    return step


def batch(run: Any, chosen: np.ndarray) -> dict[str, np.ndarray]:
    """Species, positions (Å), molecule of each atom and energies (eV) of the structures of these numbers."""
    from jphys.data.structures import take

    chosen = chosen[chosen >= 0]
    part = take(run.data.train.structures, chosen)
    return {
        "species": part.species.astype(np.int64),
        "positions": part.positions.astype(np.float32),
        "owner": np.repeat(np.arange(len(chosen)), part.n_atoms),
        "energy": run.data.train.energy[chosen].astype(np.float32),
    }


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


def serve(kind: str, sizes: dict[str, float], file: str) -> None:
    """Steps on request: energy and forces, squared errors, gradient, clipping, AdamW."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the libraries print is no answer
    torch, models = (importlib.import_module(name) for name in ("torch", "torchmdnet.models.model"))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    model = models.create_model(
        {
            "model": kind,
            "embedding_dimension": sizes["channels"],
            "num_layers": sizes["blocks"],
            "num_heads": sizes["heads"],
            "num_rbf": sizes["n_basis"],
            "rbf_type": "expnorm",
            "trainable_rbf": True,
            "activation": "silu",
            "attn_activation": "silu",
            "cutoff_lower": 0.0,
            "cutoff_upper": sizes["cutoff"],
            "distance_influence": "both",
            "neighbor_embedding": True,
            "max_z": 100,
            "max_num_neighbors": 32,
            "output_model": "Scalar",
            "reduce_op": "sum",
            "derivative": True,
            "prior_model": None,
            "atom_filter": -1,
            "precision": 32,
        }
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    stored = np.load(file)
    names = ("species", "positions", "owner", "energy")
    batches = [
        tuple(torch.from_numpy(stored[f"{name}{number}"]) for name in names)
        for number in range(len(stored.files) // len(names))
    ]
    for line in sys.stdin:
        species, positions, owner, target = batches[int(line) % len(batches)]
        optimizer.zero_grad()
        energy, forces = model(species, positions, batch=owner)
        loss = ((energy[:, 0] - target) ** 2).mean() + (forces**2).sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()
        print(f"done {int(line)}", file=answers, flush=True)


if __name__ == "__main__":
    serve(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
