"""What an energy of VIMPNN costs beside DFT and GFN2-xTB on the same molecules, and what training costs.

    python experiments/bench_vimpnn.py                # with what is installed of PySCF and tblite
    python experiments/bench_vimpnn.py --dft 0        # without DFT, which takes minutes

The paper: five orders of magnitude against DFT, 7 ms per energy. Random molecules of Augmented QM9; random
parameters of the paper's sizes (their values do not matter here). The networks interleaved, medians; then
the engines, once per molecule, means, on the first molecules of the same draw. One "batched" energy is that
of a molecule in a batch of 256; "one by one" is that of the molecule of median size. Beside each engine
VIMPNN is timed on just the molecules that the engine had, repeated to fill the batch: the ratios are of these
two. Engines run in a process of their own with one thread, the networks on as many as XLA takes. The time of
GFN2-xTB includes the forces, which tblite always calculates; that of PySCF is the energy alone.
"""

import dataclasses
import multiprocessing
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables
from bench_timing import Candidate, cpu_name, measure, table

from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.data import augmented_qm9
from jphys.data.labelling import one_thread
from jphys.data.scaled import ScaledSet, take
from jphys.data.structures import Structures, graphs
from jphys.engines import make_engine
from jphys.graph import batch, pad
from jphys.models import MessagePassingConfig, make_potential
from jphys.models.potential import felt_only
from jphys.training.setup import prepare

MODELS = {"MPNN": vimpnn.MPNN, "VIMPNN": vimpnn.VIMPNN}


@dataclasses.dataclass(frozen=True)
class Config:
    """Sizes of the measurement."""

    molecules: int = 256
    """Random molecules of Augmented QM9 at the scale nearest to 1, in one batch."""
    dft: int = 4
    """Of these, how many also by B3LYP/6-31G(2df,p) (PySCF); 0 for none."""
    rounds: int = 10
    """Each times every candidate in turn."""
    output: Path = tables.RESULTS / "bench.json"
    """Where the JSON goes; docs/vimpnn.md is rendered from the one in docs/results/vimpnn."""

    def __post_init__(self):
        for name, least in (("molecules", 2), ("dft", 0), ("rounds", 1)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if self.dft > self.molecules:
            raise ValueError(f"dft must be at most the {self.molecules} molecules, got {self.dft}")


def chosen(config: Config) -> ScaledSet:
    """Random molecules, each at the scale nearest to 1."""
    points = augmented_qm9.load()
    near = np.flatnonzero(np.abs(points.scale - 1) < 0.04)
    shapes = np.unique(points.shape[near], return_index=True)[1]
    return take(points, np.random.default_rng(0).permutation(near[shapes])[: config.molecules])


def network(name: str, model: dict[str, Any], points: ScaledSet) -> list[Candidate]:
    """Energies of the whole batch, and of its molecule of median size alone."""
    potential = make_potential(MessagePassingConfig(**model))
    made = felt_only(potential, graphs(points.structures, cutoff=potential.cutoff, all_pairs=False))
    params = jax.jit(potential.init)(jax.random.key(0), made[0])
    joined = batch(made)
    whole = pad(joined, len(joined.nodes.species) + 1, len(joined.senders) + 1, len(made) + 1)
    energy, found = jax.jit(potential.energy), []
    middle = made[int(np.argsort(points.structures.n_atoms)[len(made) // 2])]
    for label, graph, count in ((f"{name}, batched", whole, len(made)), (f"{name}, one by one", middle, 1)):
        placed = jax.device_put(graph)
        found.append(Candidate(label, lambda _, g=placed: jax.block_until_ready(energy(params, g)), count))
    return found


def training(name: str, model: dict[str, Any], points: ScaledSet) -> Candidate:
    """Steps on batches of 64."""
    run = prepare(
        vimpnn.train_config("fast", model, 0, epochs=4), vimpnn.Parts("", points, points, points).data()
    )
    state = run.state

    def step(number: int) -> None:
        nonlocal state
        state, report = run.step(state, run.batches[number % len(run.batches)], run.key)
        jax.block_until_ready(report)

    return Candidate(f"{name}, training", step, run.config.batch_size)


def engine_seconds(name: str, part: Structures) -> list[float]:
    """Seconds of each molecule, after one of hydrogen, for which the engine loads what it needs."""
    engine, ends, seconds = make_engine(name), np.cumsum(part.n_atoms), []
    engine.energy(np.array([1, 1]), np.array([[0.0, 0.0, 0.0], [0.0, 0.0, 0.74]]), None)
    for start, end in zip(ends - part.n_atoms, ends):
        began = time.perf_counter()
        result = engine.energy(part.species[start:end], part.positions[start:end], None)
        seconds.append(time.perf_counter() - began)
        if not result.converged:
            raise RuntimeError(f"{name} must converge for molecule {len(seconds)}, it did not")
    return seconds


def alone(name: str, part: Structures) -> list[float]:
    """`engine_seconds` in a new process with one thread: libraries read how many as they load."""
    with one_thread(), ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        return pool.submit(engine_seconds, name, part).result()


def compared(name: str, points: ScaledSet, count: int, config: Config) -> tuple[list[dict[str, Any]], float]:
    """Rows of an engine and of VIMPNN on the first molecules, and the ratio of their times."""
    part = take(points, np.arange(count))
    seconds = statistics.mean(alone(name, part.structures))
    whole = take(points, np.resize(np.arange(count), config.molecules))
    ours = network("VIMPNN", MODELS["VIMPNN"], whole)[0]
    measure([ours], config.rounds)
    atoms = part.structures.n_atoms.mean()
    rows = [row(name, atoms, seconds), row(f"VIMPNN, batched, molecules of {name}", atoms, ours.per_unit)]
    return rows, seconds / ours.per_unit


def row(name: str, atoms: float, seconds: float) -> dict[str, Any]:
    """One line of the table."""
    return {
        "what": name,
        "atoms": float(atoms),
        "ms per molecule": 1e3 * seconds,
        "per second": 1 / seconds,
    }


def main(config: Config) -> None:
    """Measure, print, write."""
    keep_freed_memory()
    points, candidates = chosen(config), []
    for name, model in MODELS.items():
        candidates += [*network(name, model, points), training(name, model, points)]
    measure(candidates, config.rounds)
    sizes = points.structures.n_atoms
    rows = [
        row(one.name, np.median(sizes) if one.name.endswith("one by one") else sizes.mean(), one.per_unit)
        for one in candidates
    ]
    ratios = {}
    for name, count in (("gfn2-xtb", min(32, config.molecules)), ("pyscf", config.dft)):
        if not count:
            continue
        try:
            found, ratios[f"{name} / VIMPNN, batched"] = compared(name, points, count, config)
        except ImportError as error:
            print(f"{name} left out: {error}")
            continue
        rows += found
    print(table(rows))
    print(table([{"ratio": key, "measured": value} for key, value in ratios.items()]))
    machine = runs.environment() | {"cpu": cpu_name()}
    runs.write_json(config.output, {"environment": machine, "rows": rows, "ratios": ratios})


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
