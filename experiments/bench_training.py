"""What a training step costs: energy-only against the constrained objectives, and against TorchMD-Net.

    python experiments/bench_training.py
    python experiments/bench_training.py --peer torchmd-net     # after: pip install torch torchmd-net

Steps of all candidates are interleaved in one run, on the shipped QM9 subset. Compared are medians over the
rounds of a round's mean. The peer runs in a process of its own, with the C library's own allocation; it takes
the same batches with the same width, depth, basis, heads, cutoff and optimiser (AdamW); against it our energy
is read out from the atoms alone. Compile times include the first step.
"""

import dataclasses
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import optax
import peer_torchmd_net
import tyro
from bench_steps import Candidate, full_batch, measure, summarise

from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.data import qm9
from jphys.data.structures import Structures, take
from jphys.losses import ENERGY_ONLY, OBJECTIVES, Objective
from jphys.models import TransformerConfig
from jphys.training.config import TrainConfig
from jphys.training.optimizer import stacked
from jphys.training.setup import Run, prepare
from jphys.training.step import make_step, start_state

ENERGY_AND_FORCES = ENERGY_ONLY.weighted(zero_force=1.0)


@dataclasses.dataclass(frozen=True)
class BenchConfig:
    """Sizes of the model and of the measurement.

    Raises:
        ValueError: for fewer than one round or step, or fewer molecules than a batch.
    """

    channels: int = 64
    """Width of the atom embeddings."""
    blocks: int = 3
    """Attention blocks."""
    heads: int = 8
    """Attention heads."""
    n_basis: int = 32
    """Radial basis functions."""
    batch_size: int = 32
    """Places of a batch."""
    molecules: int = 0
    """Random molecules of the shipped set to use; 0 for all."""
    rounds: int = 6
    """Each round times every candidate in turn."""
    steps: int = 8
    """Timed steps of one candidate per round."""
    peer: Literal["none", "torchmd-net"] = "none"
    """Other library to measure beside ours."""
    output: Path = Path("bench_training.json")
    """Where the JSON goes."""

    def __post_init__(self):
        for name in ("rounds", "steps", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if 0 < self.molecules < 2 * self.batch_size:
            raise ValueError(f"molecules must be 0 or at least two batches, got {self.molecules}")


def our_run(config: BenchConfig, structures: Structures, losses: Objective, readout) -> Run:
    """Data, model and step for these losses."""
    sizes = {name: getattr(config, name) for name in ("channels", "blocks", "heads", "n_basis")}
    model = TransformerConfig(**sizes, readout=readout)
    return prepare(
        TrainConfig(model=model, losses=losses, batch_size=config.batch_size, epochs=1), structures
    )


def with_adamw(run: Run) -> Run:
    """The run with the peer's optimiser in place of ours."""
    optimizer = stacked(optax.chain(optax.clip_by_global_norm(run.config.clip), optax.adamw(1e-3)))
    n_atom = int(run.data.train.structures.n_atoms.max())
    step = make_step(run.potential, run.losses, optimizer, n_atom, run.config.average, run.mesh)
    params = jax.tree.map(jax.numpy.copy, run.state.params)
    return dataclasses.replace(run, step=step, state=start_state(params, optimizer))


def our_candidate(name: str, run: Run) -> Candidate:
    """A step of jphys: batch assembly, losses, gradient, optimiser, parameter average."""
    state = run.state

    def step(number: int) -> None:
        nonlocal state
        state, report = run.step(state, run.batches[number % len(run.batches)], run.key)
        jax.block_until_ready((state, report))

    return Candidate(name, step, full_batch(run.batches.plan))


def main() -> None:
    """Measure, print, write."""
    config = tyro.cli(BenchConfig, description=__doc__)
    if config.peer != "none":
        peer_torchmd_net.check()
    keep_freed_memory()
    structures = qm9.load_small()
    if config.molecules:
        chosen = np.random.default_rng(0).permutation(len(structures))[: config.molecules]
        structures = take(structures, np.sort(chosen))
    kinds = {name: (OBJECTIVES[name], "pairs") for name in ("energy-only", "physics")}
    kinds["energy+forces"] = (ENERGY_AND_FORCES, "pairs")
    if config.peer != "none":
        kinds["energy+forces, atoms"] = (ENERGY_AND_FORCES, "atoms")
    made = {name: our_run(config, structures, *kind) for name, kind in kinds.items()}
    candidates = [our_candidate(name, run) for name, run in made.items()]
    if config.peer != "none":
        run = made["energy+forces, atoms"]
        candidates.append(our_candidate("energy+forces, atoms, AdamW", with_adamw(run)))
        candidates += [
            Candidate(f"torchmd-net {kind}", peer_torchmd_net.start(kind, run), full_batch(run.batches.plan))
            for kind in peer_torchmd_net.KINDS
        ]
    measure(candidates, config.rounds, config.steps)
    found = summarise(candidates, config.rounds)
    for name, row in found["steps"].items():
        print(
            f"{name:40s} {row['molecules_per_s']:7.0f} molecules/s  {row['step_ms']:7.1f} ms"
            f"  (fastest {row['fastest_step_ms']:.1f})  compile {row['compile_s']:.1f} s"
        )
    for name, ratio in found["ratios"].items():
        print(f"{name:60s} {ratio:5.2f}")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    settings = {name: value for name, value in dataclasses.asdict(config).items() if name != "output"}
    runs.write_json(config.output, {"environment": runs.environment(), "config": settings, **found})


if __name__ == "__main__":
    main()
