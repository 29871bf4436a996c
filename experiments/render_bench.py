"""Render the tables of bench_training.py and bench_simulation.py in docs/performance.md from their JSON.

    python experiments/render_bench.py                 # of docs/results/bench/*.json

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any

import tyro
from bench_timing import report, table
from pages import RESULTS, finish, insert, read_json, stored

GOALS = {  # of ratios, by how their names begin or end: at most, or at least
    "cost of physics / energy-only": ("≤", 4.0),
    "AdamW / torchmd-net transformer": ("≥", 1.5),
    "AdamW / torchmd-net equivariant-transformer": ("≥", 4.0),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which measurements to show, and where."""

    measurements: tyro.conf.Positional[tuple[Path, ...]] = dataclasses.field(
        default_factory=lambda: stored(RESULTS / "bench")
    )
    """JSON files of both, in the order of the page."""
    page: Path = Path(__file__).parents[1] / "docs" / "performance.md"
    """File with the tables between its two markers."""
    check: bool = False
    """Write nothing; exit with status 1 where the page is not what the files give."""


def section(found: dict[str, Any]) -> str:
    """Machine, sizes and tables of one file."""
    environment, config = found["environment"], found["config"]
    sizes = ", ".join(f"{name} {value}" for name, value in config.items() if name in ("rounds", "steps"))
    machine = f"{environment['cpu_count']} virtual core(s) of {environment['cpu']}"
    versions = f"jax {environment['packages']['jax']}, revision {environment['git_revision']}"
    load = f"load {environment['load before']:.1f} before the run"
    return f"{machine}, {versions}, {load}; {sizes}, peer {config['peer']}.\n\n{report(found)}"


def training_section(found: dict[str, Any]) -> str:
    """Machine, sizes and tables of one file of bench_training.py."""
    environment, config = found["environment"], found["config"]
    machine = f"{environment['cpu_count']} virtual core(s), jax {environment['packages']['jax']}"
    sizes = f"batches of {config['batch_size']}, {config['rounds']} rounds of {config['steps']} steps"
    steps = [
        {
            "step": name,
            "molecules": row["molecules"],
            "molecules/s": row["molecules_per_s"],
            "ms": row["step_ms"],
            "fastest ms": row["fastest_step_ms"],
            "compile s": row["compile_s"],
        }
        for name, row in found["steps"].items()
    ]
    ratios = [judged(name, value) for name, value in found["ratios"].items()]
    head = f"{machine}, revision {environment['git_revision']}; {sizes}, peer {config['peer']}."
    if "recomputed" in found:
        head += " Molecules/s and ratios were computed again from the stored times of the steps."
    return "\n\n".join([head, table(steps), table(ratios)])


def judged(name: str, value: float) -> dict[str, Any]:
    """A ratio beside its goal, if it has one.

    >>> judged("cost of physics / energy-only, per step", 4.2)["met"]
    'no'
    """
    goals = [goal for part, goal in GOALS.items() if name.startswith(part) or name.endswith(part)]
    row: dict[str, Any] = {"ratio": name, "measured": value, "goal": None, "met": None}
    for sign, bound in goals:
        met = value <= bound if sign == "≤" else value >= bound
        row |= {"goal": f"{sign} {bound:g}", "met": "yes" if met else "no"}
    return row


def read(path: Path) -> dict[str, Any]:
    """One measurement.

    Raises:
        ValueError: for a file of another kind.
    """
    found = read_json(path, "measurements")
    if not isinstance(found, dict) or not {"environment", "config"} <= set(found):
        raise ValueError(f"{path} must have the keys environment and config, as the bench_*.py write them")
    return found


def main(config: Config) -> None:
    """Render, then write or compare.

    Raises:
        ValueError: without measurements of both benchmarks, whose tables the page would lose.
    """
    found = [read(path) for path in config.measurements]
    made = config.page.read_text("utf-8")
    for name, kind in (("training", training_section), ("simulation", section)):
        chosen = [one for one in found if ("steps" in one) == (name == "training")]
        if not chosen:
            raise ValueError(f"measurements must be of training and of simulation, got none of {name}")
        made = insert(made, name, "\n\n".join(map(kind, chosen)), config.page)
    finish(config.page, made, check=config.check, command="experiments/render_bench.py")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
