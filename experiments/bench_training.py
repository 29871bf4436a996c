"""What a training step costs: energy-only against the constrained objectives, and against TorchMD-Net.

    python experiments/bench_training.py
    python experiments/bench_training.py --peer torchmd-net     # after: pip install torch torchmd-net

Steps of all candidates are interleaved in one run, on the shipped QM9 subset. Compared are medians over the
rounds of a round's mean. The peer runs in a process of its own, with the C library's own allocation, and
takes the same batches with the same width, depth, basis, heads, cutoff and optimiser (AdamW); against it our
energy is read out from the atoms alone.
Compile times include the first step.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np
import optax
import peer_torchmd_net
import tyro

from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.data import qm9
from jphys.data.loader import budget_for
from jphys.data.structures import Structures, take
from jphys.models import TransformerConfig
from jphys.objectives import OBJECTIVES, ObjectiveConfig
from jphys.training.config import TrainConfig
from jphys.training.optimizer import stacked
from jphys.training.setup import Run, prepare
from jphys.training.step import make_step, start_state

ENERGY_AND_FORCES = ObjectiveConfig(zero_force=1.0)
WARM_STEPS = 3  # untimed steps of a candidate at the start; the first of them compiles


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
    """Molecules per step."""
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


@dataclasses.dataclass
class Candidate:
    """One kind of step, and what it took."""

    name: str
    step: Callable[[int], None]  # step number; returns when the step is done
    compile_s: float = 0.0
    seconds: list[float] = dataclasses.field(default_factory=list)


def our_run(config: BenchConfig, structures: Structures, losses: ObjectiveConfig, readout) -> Run:
    """Data, model and step for these losses."""
    sizes = {name: getattr(config, name) for name in ("channels", "blocks", "heads", "n_basis")}
    model = TransformerConfig(**sizes, readout=readout)
    return prepare(
        TrainConfig(model=model, losses=losses, batch_size=config.batch_size, epochs=1), structures
    )


def with_adamw(run: Run) -> Run:
    """The run with the peer's optimiser in place of ours."""
    optimizer = stacked(optax.chain(optax.clip_by_global_norm(run.config.clip), optax.adamw(1e-3)))
    budget, sizes = budget_for(run.dataset, run.plan), run.data.train.structures.n_atoms
    step = make_step(
        run.potential, run.losses, optimizer, budget, int(sizes.max()), run.config.average, run.mesh
    )
    params = jax.tree.map(jax.numpy.copy, run.state.params)
    return dataclasses.replace(run, step=step, state=start_state(params, optimizer))


def our_candidate(name: str, run: Run) -> Candidate:
    """A step of jphys: batch assembly, losses, gradient, optimiser, parameter average."""
    state = run.state

    def step(number: int) -> None:
        nonlocal state
        state, report = run.step(state, run.dataset, run.plan[number % len(run.plan)], run.key)
        jax.block_until_ready((state, report))

    return Candidate(name, step)


def measure(candidates: list[Candidate], rounds: int, steps: int) -> None:
    """Warm every candidate up, then time all of them in turn, round after round."""
    for candidate in candidates:
        start = time.perf_counter()
        candidate.step(0)
        candidate.compile_s = time.perf_counter() - start
        for number in range(1, WARM_STEPS):
            candidate.step(number)
    for round_number in range(rounds):
        for candidate in candidates:
            time.sleep(0.5)  # threads of the previous candidate that wait for work stop spinning
            first = round_number * (steps + 1)
            candidate.step(first)  # caches and thread pools are back from the previous candidate
            for number in range(first + 1, first + 1 + steps):
                start = time.perf_counter()
                candidate.step(number)
                candidate.seconds.append(time.perf_counter() - start)


def summarise(candidates: list[Candidate], config: BenchConfig) -> dict[str, Any]:
    """Medians over rounds, and the ratios of their molecules per second."""
    means = {c.name: np.mean(np.reshape(c.seconds, (config.rounds, -1)), axis=1) for c in candidates}
    median = {name: float(np.median(each)) for name, each in means.items()}
    table = {
        c.name: {
            "molecules_per_s": config.batch_size / median[c.name],
            "step_ms": 1e3 * median[c.name],
            "fastest_step_ms": 1e3 * min(c.seconds),
            "compile_s": c.compile_s,
        }
        for c in candidates
    }
    dear = ("physics", "energy+forces")
    ratios = {f"cost of {name} / energy-only": median[name] / median["energy-only"] for name in dear}
    peers = [name for name in median if name.startswith("torchmd")]
    ours = [name for name in median if name.startswith("energy+forces, atoms")]
    ratios |= {f"speed of {our} / {n}": median[n] / median[our] for our in ours for n in peers}
    return {"steps": table, "ratios": ratios}


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
            Candidate(f"torchmd-net {kind}", peer_torchmd_net.start(kind, run))
            for kind in peer_torchmd_net.KINDS
        ]
    measure(candidates, config.rounds, config.steps)
    found = summarise(candidates, config)
    for name, row in found["steps"].items():
        print(
            f"{name:40s} {row['molecules_per_s']:7.0f} molecules/s  {row['step_ms']:7.1f} ms"
            f"  (fastest {row['fastest_step_ms']:.1f})  compile {row['compile_s']:.1f} s"
        )
    for name, ratio in found["ratios"].items():
        print(f"{name:60s} {ratio:5.2f}")
    config.output.parent.mkdir(parents=True, exist_ok=True)
    settings = dataclasses.asdict(config) | {"output": str(config.output)}
    runs.write_json(config.output, {"environment": runs.environment(), "config": settings, **found})


if __name__ == "__main__":
    main()
