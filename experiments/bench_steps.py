"""Training steps, timed in turn within one run: their costs and speeds."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import numpy as np

WARM_STEPS = 3  # untimed steps of a candidate at the start; the first of them compiles


@dataclasses.dataclass
class Candidate:
    """One kind of step, and what it took."""

    name: str
    step: Callable[[int], None]  # step number; returns when the step is done
    molecules: int  # different ones in a full batch
    compile_s: float = 0.0
    seconds: list[float] = dataclasses.field(default_factory=list)


def full_batch(plan: np.ndarray) -> int:
    """Different molecules in the fullest batch of a plan (n_batch, …), whose −1 are empty places.

    >>> full_batch(np.array([[[5, 5, 2, 7]], [[1, 1, 3, -1]]]))
    3
    """
    return max(len(np.unique(batch[batch >= 0])) for batch in plan)


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


def summarise(candidates: list[Candidate], rounds: int) -> dict[str, Any]:
    """Medians over rounds, and their ratios."""
    table = {}
    for c in candidates:
        median = float(np.median(np.mean(np.reshape(c.seconds, (rounds, -1)), axis=1)))
        table[c.name] = {
            "molecules": c.molecules,
            "molecules_per_s": c.molecules / median,
            "step_ms": 1e3 * median,
            "fastest_step_ms": 1e3 * min(c.seconds),
            "compile_s": c.compile_s,
        }
    return {"steps": table, "ratios": ratios(table)}


def ratios(steps: dict[str, dict[str, Any]]) -> dict[str, float]:
    """Costs of the objectives against energy-only, and speeds against the peer, which takes our batches."""
    speed = {name: row["molecules_per_s"] for name, row in steps.items()}
    found = {}
    for name in ("physics", "energy+forces"):
        cost = f"cost of {name} / energy-only"
        found[f"{cost}, per step"] = steps[name]["step_ms"] / steps["energy-only"]["step_ms"]
        found[f"{cost}, per molecule"] = speed["energy-only"] / speed[name]
    for ours in (name for name in speed if name.startswith("energy+forces, atoms")):
        for peer in (name for name in speed if name.startswith("torchmd")):
            found[f"speed of {ours} / {peer}"] = speed[ours] / speed[peer]
    return found
