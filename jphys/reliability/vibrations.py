"""Harmonic frequencies beside those of a reference, second derivatives of any surface by differences."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from jphys.graph import Graph, with_positions
from jphys.reliability.surface import finite_or_none, surface_of

__all__ = ["BANDS", "compare_frequencies", "numerical_hessians"]

BANDS = (0.0, 300.0, 700.0, 1100.0, 1700.0, 2600.0, 4200.0)  # cm⁻¹
SOFT = 100.0  # cm⁻¹; softer modes say little one by one
IMAGINARY = -50.0  # cm⁻¹; below it a mode counts as imaginary


def numerical_hessians(
    potential, params, graphs: Sequence[Graph], *, step: float = 0.005
) -> list[np.ndarray]:
    """Second derivatives by central differences of the forces, m of (3n, 3n) eV/Å², symmetric.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        graphs: m structures.
        step: Å.

    Raises:
        ValueError: if step is not positive.
    """
    if not step > 0:
        raise ValueError(f"step must be positive, got {step}")
    moved = []
    for graph in graphs:
        positions = np.asarray(graph.nodes.positions)
        for sign in (1, -1):
            for coordinate in range(positions.size):
                place = positions.copy()
                place.flat[coordinate] += sign * step
                moved.append(with_positions(graph, place))
    _, forces = surface_of(potential, params).evaluate(moved)
    found, begin = [], 0
    for graph in graphs:
        n = 3 * len(graph.nodes.species)
        rows = np.array([force.ravel() for force in forces[begin : begin + 2 * n]], np.float64)
        curvature = -(rows[:n] - rows[n:]) / (2 * step)
        found.append(0.5 * (curvature + curvature.T))
        begin += 2 * n
    return found


def compare_frequencies(found, true) -> dict[str, Any]:
    """Frequencies beside those of a reference, number by number.

    Args:
        found: (k,) cm⁻¹ of one or more molecules, in the order of the reference; imaginary ones negative.
        true: (k,) cm⁻¹ of the reference.

    Returns:
        `n` modes, `mae` and `bias` (cm⁻¹), `n_imaginary`, `lowest_ratio` of modes whose reference is at least
        100 cm⁻¹, and `bands`: `from` and `to` in the reference (cm⁻¹), `n`, `median_ratio`, `lowest_ratio`.
        None where there are no modes.
    """
    found, true = np.asarray(found, np.float64), np.asarray(true, np.float64)
    positive = true > 0
    ratio = np.where(positive, found / np.where(positive, true, 1.0), np.nan)
    rows = []
    for low, high in itertools.pairwise(BANDS):
        inside = ratio[positive & (true >= low) & (true < high)]
        rows.append({"from": low, "to": high, "n": len(inside)})
        rows[-1] |= {"median_ratio": _of(np.median, inside), "lowest_ratio": _of(np.min, inside)}
    return {
        "n": len(true),
        "mae": _of(np.mean, np.abs(found - true)),
        "bias": _of(np.mean, found - true),
        "n_imaginary": int((found < IMAGINARY).sum()),
        "lowest_ratio": _of(np.min, ratio[true >= SOFT]),
        "bands": rows,
    }


def _of(statistic, values: np.ndarray) -> float | None:
    return finite_or_none(statistic(values)) if len(values) else None
