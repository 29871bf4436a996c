"""How steep are the wells of a surface at their bottom? Its curvature beside that of another surface."""

import itertools
from collections.abc import Sequence

import numpy as np

from jphys.alignment import internal_motions
from jphys.graph import Graph
from jphys.reliability.surface import finite_or_none

__all__ = ["BANDS", "compare_curvatures"]

BANDS = (0.02, 0.2, 1.0, 3.0, 10.0, 30.0, 400.0)  # eV/Å²; torsions and contacts, bends, bonds
NEGATIVE = -0.05  # eV/Å²; below it a structure is a saddle, not a matter of rounding


def compare_curvatures(hessians, references, graphs: Sequence[Graph]) -> dict:
    """Medians of vᵀHv/λ over the modes (v, λ) of a reference, by bands of λ; rigid motions are left out.

    Forces and rises at a distance from the minimum do not see it where a well is flat at its bottom.

    Args:
        hessians: m of (3n, 3n) eV/Å² of the surface; `vibrations.numerical_hessians`.
        references: the same of the reference.
        graphs: the m structures.

    Returns:
        `n` compared, `n_nonfinite` left out because either has no finite answer, `negative` and
        `negative_reference` eigenvalues below −0.05 eV/Å² per structure, and `bands`: `from` and `to`
        eV/Å², `n` modes, `median_ratio` (None without modes).
    """
    pairs = [
        _inside(graph, hessian, reference)
        for graph, hessian, reference in zip(graphs, hessians, references, strict=True)
        if np.isfinite(hessian).all() and np.isfinite(reference).all()
    ]
    values, ratios, negative, negative_reference = [np.zeros(0)], [np.zeros(0)], 0, 0
    for ours, theirs in pairs:
        stiffness, modes = np.linalg.eigh(theirs)
        values.append(stiffness)
        ratios.append(np.einsum("ac,ab,bc->c", modes, ours, modes) / stiffness)
        negative += int((np.linalg.eigvalsh(ours) < NEGATIVE).sum())
        negative_reference += int((stiffness < NEGATIVE).sum())
    value, ratio = np.concatenate(values), np.concatenate(ratios)
    rows = []
    for low, high in itertools.pairwise(BANDS):
        chosen = ratio[(value >= low) & (value < high)]
        median = np.median(chosen) if len(chosen) else np.nan
        rows.append({"from": low, "to": high, "n": len(chosen), "median_ratio": finite_or_none(median)})
    each = max(len(pairs), 1)
    return {
        "n": len(pairs),
        "n_nonfinite": len(graphs) - len(pairs),
        "negative": negative / each,
        "negative_reference": negative_reference / each,
        "bands": rows,
    }


def _inside(graph: Graph, *hessians) -> list[np.ndarray]:
    """Second derivatives along motions that are no translation or rotation."""
    inside = internal_motions(graph.nodes.positions)
    return [inside.T @ np.asarray(hessian, np.float64) @ inside for hessian in hessians]
