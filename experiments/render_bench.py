"""Render the tables of bench_simulation.py in docs/performance.md from its JSON files.

    python experiments/render_bench.py docs/results/bench/*.json

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro
from bench_timing import report
from pages import finish, insert


@dataclasses.dataclass(frozen=True)
class Config:
    """Which measurements to show, and where."""

    measurements: tyro.conf.Positional[tuple[Path, ...]]
    """JSON files of bench_simulation.py, in the order of the page."""
    page: Path = Path(__file__).parents[1] / "docs" / "performance.md"
    """File with the tables between its two markers."""
    check: bool = False
    """Write nothing; exit with status 1 where the page is not what the files give."""


def section(found: dict[str, Any]) -> str:
    """Machine, sizes and tables of one file."""
    environment, config = found["environment"], found["config"]
    sizes = ", ".join(f"{name} {value}" for name, value in config.items() if name in ("rounds", "steps"))
    machine = f"{environment['cpu_count']} virtual cores of {environment['cpu']}"
    versions = f"jax {environment['packages']['jax']}, revision {environment['git_revision']}"
    load = f"load {environment['load before']:.1f} before the run"
    return f"{machine}, {versions}, {load}; {sizes}, peer {config['peer']}.\n\n{report(found)}"


def main(config: Config) -> None:
    """Render, then write or compare."""
    found = [json.loads(path.read_text("utf-8")) for path in config.measurements]
    tables = "\n\n".join(map(section, found))
    made = insert(config.page.read_text("utf-8"), "simulation", tables, config.page)
    command = "experiments/render_bench.py docs/results/bench/*.json"
    finish(config.page, made, check=config.check, command=command)


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
