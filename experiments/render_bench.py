"""Render the tables of bench_simulation.py in docs/performance.md from its JSON files.

    python experiments/render_bench.py docs/results/bench/*.json

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import tyro
from bench_timing import report

START, END = "<!-- simulation:start -->", "<!-- simulation:end -->"


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


def insert(text: str, tables: str, page: Path) -> str:
    """The text with the tables between its markers."""
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise ValueError(f"{page} must have {START} once and {END} once after it")
    return text[: text.index(START) + len(START)] + f"\n{tables}\n" + text[text.index(END) :]


def main(config: Config) -> None:
    """Render, then write or compare."""
    text = config.page.read_text("utf-8")
    found = [json.loads(path.read_text("utf-8")) for path in config.measurements]
    made = insert(text, "\n\n".join(map(section, found)), config.page)
    if config.check and made != text:
        sys.exit(
            f"{config.page} must be rendered again: experiments/render_bench.py docs/results/bench/*.json"
        )
    if not config.check:
        config.page.write_text(made, "utf-8")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
