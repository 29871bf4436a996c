"""Render the tables of bench_training.py and bench_simulation.py in docs/performance.md from their JSON.

    python experiments/render_bench.py docs/results/bench/*.json

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro
from bench_timing import report, table
from pages import finish, insert


@dataclasses.dataclass(frozen=True)
class Config:
    """Which measurements to show, and where."""

    measurements: tyro.conf.Positional[tuple[Path, ...]]
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
            "molecules/s": row["molecules_per_s"],
            "ms": row["step_ms"],
            "fastest ms": row["fastest_step_ms"],
            "compile s": row["compile_s"],
        }
        for name, row in found["steps"].items()
    ]
    ratios = [{"ratio": name, "measured": value} for name, value in found["ratios"].items()]
    head = f"{machine}, revision {environment['git_revision']}; {sizes}, peer {config['peer']}."
    return "\n\n".join([head, table(steps), table(ratios)])


def main(config: Config) -> None:
    """Render, then write or compare."""
    found = [json.loads(path.read_text("utf-8")) for path in config.measurements]
    made = config.page.read_text("utf-8")
    for name, kind in (("training", training_section), ("simulation", section)):
        chosen = [one for one in found if ("steps" in one) == (name == "training")]
        made = insert(made, name, "\n\n".join(map(kind, chosen)), config.page)
    command = "experiments/render_bench.py docs/results/bench/*.json"
    finish(config.page, made, check=config.check, command=command)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
