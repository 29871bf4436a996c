"""Render every table of README.md and docs/ from the JSON files under docs/results, and nothing else.

    python experiments/render.py                 # a second; each page has its own render_*.py

With --check nothing is written: the exit status says whether all pages are what their files give.
"""

import dataclasses
import sys

import render_bench
import render_reliability
import render_results
import render_vimpnn
import tyro


@dataclasses.dataclass(frozen=True)
class Config:
    """Write, or compare."""

    check: bool = False
    """Write nothing; exit with status 1 where a page is not what the files give."""


def main(config: Config) -> None:
    """README.md, docs/results.md, docs/vimpnn.md, docs/performance.md."""
    render_results.main(render_results.Config(check=config.check))
    render_reliability.main(render_reliability.Config(check=config.check))
    render_vimpnn.main(render_vimpnn.Config(check=config.check))
    render_bench.main(render_bench.Config(check=config.check))


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
