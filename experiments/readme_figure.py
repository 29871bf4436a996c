"""Make the first figure of README.md from the run folders of several objectives.

    python experiments/readme_figure.py runs/energy-only runs/paper runs/physics

Each folder needs summary.json and recovery.npz, and best/ for the drawings above the curves: one molecule
of the test part, displaced in the same way and relaxed on each surface. It is the one with the median ΔP
of the last run among `candidates` drawn by the seed, so that nobody chose it by eye.
"""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
import tyro

from jphys import checkpoint, figures
from jphys.alignment import kabsch_distance
from jphys.data import qm9, splits, structures
from jphys.reliability.recovery import load_recovery

LABELS = {"energy-only": "energies only", "paper": "the paper's objective", "physics": "jphys"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which runs to show, and where to."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders, in the order of the legend."""
    output: Path = Path(__file__).parents[1] / "docs" / "figures" / "recovery.png"
    """PNG to write."""
    candidates: int = 65
    """Test molecules with at least 12 atoms among which the drawn one has the median ΔP; 0 draws none."""
    seed: int = 0
    """Of the candidates and of their displacements."""


def read_summary(run: Path) -> dict:
    """summary.json of a run folder.

    Raises:
        ValueError: if it is missing or damaged.
    """
    path = run / "summary.json"
    if not path.is_file():
        raise ValueError(f"runs must be folders of finished runs, got no {path}")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got: {error}") from error


def candidates(config: Config, summaries: Sequence[dict]) -> list:
    """Graphs of test molecules that no run has seen in its training.

    Raises:
        ValueError: if the runs were not trained on the same split of the shipped molecules.
    """
    small = qm9.load_small()
    splits_used = {(s["seed"], s["data"]["n_train"], s["data"]["n_test"]) for s in summaries}
    parts = splits.split(len(small), seed=summaries[0]["seed"])
    if splits_used != {(summaries[0]["seed"], len(parts.train), len(parts.test))}:
        raise ValueError(
            f"runs must share one split of the shipped molecules, got (seed, n_train, n_test) {splits_used}; "
            "--candidates 0 draws no molecule"
        )
    large = parts.test[small.n_atoms[parts.test] >= 12]
    chosen = np.random.default_rng(config.seed).permutation(large)[: config.candidates]
    return structures.graphs(structures.take(small, chosen))


def examples(config: Config, summaries: Sequence[dict]) -> list:
    """The drawn molecule on each surface, with the same displacement."""
    graphs, found = candidates(config, summaries), []
    for run in config.runs:
        potential, params = checkpoint.load(run / "best")
        key = jax.random.key(config.seed)
        found.append(figures.relaxed_triples(potential, params, graphs, key=key, progress=True))
    ends = [kabsch_distance(t.relaxed.nodes.positions, t.stable.nodes.positions) for t in found[-1]]
    median = int(np.argsort(ends)[len(ends) // 2])
    return [triples[median] for triples in found]


def main(config: Config) -> None:
    """Read the runs, relax the candidates, draw."""
    summaries = [read_summary(run) for run in config.runs]
    rows = [
        (
            LABELS.get(summary["objective"]) or str(summary["objective"]),
            summary,
            load_recovery(run / "recovery.npz"),
        )
        for run, summary in zip(config.runs, summaries)
    ]
    drawn = examples(config, summaries) if config.candidates else ()
    print(figures.recovery_story(rows, config.output, examples=drawn))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
