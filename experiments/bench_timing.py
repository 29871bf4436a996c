"""Candidates of a benchmark, timed in turn within one run; tables of what was found."""

import dataclasses
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Candidate:
    """One thing to do per round, and what it took."""

    name: str
    work: Callable[[int], None]  # number of the round; returns when the work is done
    units: float  # of work per round: molecules, or atoms times steps
    first_s: float = 0.0  # of the untimed first call, which compiles
    seconds: list[float] = dataclasses.field(default_factory=list)

    @property
    def per_unit(self) -> float:
        """Median seconds per unit."""
        return statistics.median(self.seconds) / self.units

    @property
    def spread(self) -> float:
        """Slowest round over fastest."""
        return max(self.seconds) / min(self.seconds)


def measure(candidates: list[Candidate], rounds: int) -> None:
    """Call every candidate once, then time all of them in turn, round after round."""
    for candidate in candidates:
        start = time.perf_counter()
        candidate.work(0)
        candidate.first_s = time.perf_counter() - start
    for number in range(rounds):
        for candidate in candidates:
            time.sleep(0.5)  # threads of the previous candidate that wait for work stop spinning
            start = time.perf_counter()
            candidate.work(number)
            candidate.seconds.append(time.perf_counter() - start)


def cpu_name() -> str:
    """The processor as Linux calls it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8").splitlines() if info.is_file() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")


def table(rows: list[dict[str, Any]]) -> str:
    """Rows as a markdown table; its columns are the keys of the first."""
    if not rows:
        return ""
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    return "\n".join(
        lines + ["| " + " | ".join(cell(row.get(key)) for key in rows[0]) + " |" for row in rows]
    )


def cell(value) -> str:
    """Three digits of a number; nothing for None.

    >>> cell(1234.5), cell(0.012345), cell(7), cell(None)
    ('1234', '0.0123', '7', '')
    """
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)


def report(found: dict[str, Any]) -> str:
    """All parts of a benchmark: {"part": {"rows": […], "ratios": {…}}}, as markdown."""
    parts = [(name, part) for name, part in found.items() if isinstance(part, dict) and "rows" in part]
    texts = []
    for name, part in parts:
        texts += [f"**{name}**", table(part["rows"])]
        texts += [table([{"ratio": key, "measured": value} for key, value in part["ratios"].items()])]
    return "\n\n".join(text for text in texts if text)
