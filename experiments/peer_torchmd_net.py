"""TorchMD-Net (Thölke & De Fabritiis, arXiv:2202.02541) as the peer of `bench_training.py`, on CPU torch."""

import importlib
import os
from collections.abc import Callable

import numpy as np

from jphys.data.structures import take
from jphys.training.setup import Run

KINDS = ("transformer", "equivariant-transformer")


def check() -> None:
    """Give torch all cores; stop with what to install where the library is absent."""
    try:
        torch = importlib.import_module("torch")
        importlib.import_module("torchmdnet.models.model")
    except ImportError as error:
        raise SystemExit(
            f"--peer torchmd-net needs TorchMD-Net 3: pip install torch torchmd-net ({error})"
        ) from error
    torch.set_num_threads(os.cpu_count() or 1)


def make_step(kind: str, run: Run) -> Callable[[int], None]:
    """A step of TorchMD-Net on the batches of a run: energy and forces, squared errors, gradient, AdamW.

    Width, depth, heads, basis size and cutoff are those of the run's model.
    """
    torch, models = (importlib.import_module(name) for name in ("torch", "torchmdnet.models.model"))

    ours = run.config.model
    model = models.create_model(
        {
            "model": kind,
            "embedding_dimension": ours.channels,
            "num_layers": ours.blocks,
            "num_heads": ours.heads,
            "num_rbf": ours.n_basis,
            "rbf_type": "expnorm",
            "trainable_rbf": True,
            "activation": "silu",
            "attn_activation": "silu",
            "cutoff_lower": 0.0,
            "cutoff_upper": ours.cutoff,
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
    batches = [torch_batch(run, chosen.reshape(-1)) for chosen in run.plan]

    def step(number: int) -> None:
        species, positions, owner, target = batches[number % len(batches)]
        optimizer.zero_grad()
        energy, forces = model(species, positions, batch=owner)
        loss = ((energy[:, 0] - target) ** 2).mean() + (forces**2).sum(-1).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 5.0)
        optimizer.step()

    return step


def torch_batch(run: Run, chosen: np.ndarray):
    """Species, positions, owner and energy tensors of the structures with these numbers, −1 for none."""
    torch = importlib.import_module("torch")

    chosen = chosen[chosen >= 0]
    part = take(run.data.train.structures, chosen)
    owner = np.repeat(np.arange(len(chosen)), part.n_atoms)
    arrays = (
        part.species.astype(np.int64),
        part.positions.astype(np.float32),
        owner,
        run.data.train.energy[chosen].astype(np.float32),
    )
    return tuple(torch.from_numpy(np.ascontiguousarray(array)) for array in arrays)
