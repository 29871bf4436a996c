"""Does a surface rise as the real one does? Judged by energies, forces, curvatures of a reference method."""

from typing import Any

import numpy as np

from jphys.data.structures import graphs, take
from jphys.data.truth import KINDS, Truth
from jphys.harmonic import frequencies
from jphys.reliability.surface import Surface, finite_or_none, surface_of
from jphys.reliability.vibrations import compare_frequencies, numerical_hessians
from jphys.reliability.xtb import compare_surfaces

__all__ = ["compare_torsions", "compare_vibrations", "judge", "rises"]

SHOWN = ("n", "median_rise_ratio", "rise_correlation", "force_correlation", "force_slope")
TURNED = 60.0, 120.0  # degrees, either way, of the torsions whose rise is compared
FLAT = 0.02  # eV; a molecule whose mean rise is smaller in truth has no ratio of its own


def judge(potential, params, truth: Truth, *, progress: bool = False) -> dict[str, Any]:
    """Rises, forces, scans and frequencies of a surface beside the truth.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        truth: what the reference method says.
        progress: show a progress bar.

    Returns:
        `displaced`: a row per σ with the correlations, slope and median ratio of rises of `compare_surfaces`,
        the mean absolute force error `force_mae` and, beside it, the mean absolute force `force_size` (eV/Å).
        `torsion` and `stretch`: `n` points, `mae` of the energy above the stable structure (eV), `size`, its
        mean in truth, `correlation`, and `barrier_mae`, the error of the highest point of each scan.
        `frequencies`: of `compare_vibrations`.
        `n_unanswered`: points where it gave no answer.
    """
    surface = surface_of(potential, params)
    known, forces = _answers(surface, truth, progress)
    unanswered = np.isfinite(truth.structures.energy) & ~np.isfinite(known)
    record: dict[str, Any] = {"n_unanswered": int(unanswered.sum())}
    above, true = _above(known, truth), _above(truth.structures.energy, truth)
    record["displaced"] = [
        {
            "sigma": float(sigma),
            **_displaced(truth, (truth.kind == 1) & (truth.value == sigma), above, true, forces),
        }
        for sigma in np.unique(truth.value[truth.kind == 1])
    ]
    for kind in (2, 3):
        if (truth.kind == kind).any():
            record[KINDS[kind]] = _scans(truth, kind, above, true)
    if truth.hessians:
        record["frequencies"] = compare_vibrations(surface, truth)
    return record


def rises(potential, params, truth: Truth, *, progress: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Energies above the stable structures by a surface and in truth, (m,) eV each, NaN where one has none.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        truth: what the reference method says.
        progress: show a progress bar.
    """
    known, _ = _answers(surface_of(potential, params), truth, progress)
    return _above(known, truth), _above(truth.structures.energy, truth)


def _answers(surface: Surface, truth: Truth, progress: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (m,) eV, NaN for what the reference method does not know, and forces (n_i, 3) eV/Å."""
    rows = np.flatnonzero(np.isfinite(truth.structures.energy))
    known = np.full(len(truth.kind), np.nan)
    forces: list[np.ndarray] = [np.zeros((0, 3))] * len(known)
    known[rows], answered = surface.evaluate(graphs(take(truth.structures, rows)), progress=progress)
    for row, force in zip(rows, answered):
        forces[row] = force
    return known, forces


def _above(energy: np.ndarray, truth: Truth) -> np.ndarray:
    return energy - energy[truth.stable]


def _displaced(truth: Truth, chosen, above, true, forces) -> dict[str, Any]:
    everything = truth.structures.forces if truth.structures.forces is not None else np.zeros((0, 3))
    true_forces = np.split(everything, np.cumsum(truth.structures.n_atoms)[:-1])
    rows = np.flatnonzero(chosen & np.isfinite(true))
    pairs = [(forces[i], true_forces[i]) for i in rows if np.isfinite(forces[i]).all()]
    found = compare_surfaces(
        above[rows], [forces[i] for i in rows], true[rows], [true_forces[i] for i in rows]
    )
    errors = np.concatenate([np.abs(a - b).ravel() for a, b in pairs] or [np.array([np.nan])])
    sizes = np.concatenate([np.abs(b).ravel() for _, b in pairs] or [np.array([np.nan])])
    return {name: found[name] for name in SHOWN} | {
        "force_mae": finite_or_none(errors.mean()),
        "force_size": finite_or_none(sizes.mean()),
    }


def _scans(truth: Truth, kind: int, above: np.ndarray, true: np.ndarray) -> dict[str, Any]:
    chosen = (truth.kind == kind) & np.isfinite(true) & np.isfinite(above)
    if chosen.sum() < 2:
        return {"n": int(chosen.sum()), "mae": None, "size": None, "correlation": None, "barrier_mae": None}
    tops = [
        abs(above[scan].max() - true[scan].max())
        for scan in (chosen & (truth.stable == start) for start in np.unique(truth.stable[chosen]))
    ]
    return {
        "n": int(chosen.sum()),
        "mae": finite_or_none(np.abs(above - true)[chosen].mean()),
        "size": finite_or_none(np.abs(true[chosen]).mean()),
        "correlation": finite_or_none(np.corrcoef(above[chosen], true[chosen])[0, 1]),
        "barrier_mae": finite_or_none(np.mean(tops)),
    }


def compare_vibrations(potential, truth: Truth) -> dict[str, Any]:
    """Harmonic frequencies of a surface beside those in truth, at the same geometries.

    Args:
        potential: a Surface, or whatever `surface_of` takes without parameters.
        truth: with second derivatives.

    Returns:
        `vibrations.compare_frequencies` of all modes; `molecules`: the same of each without its bands, with
        `name` and `answered`; `n_unanswered`, molecules without an answer, whose modes are in none of these.
    """
    rows = sorted(truth.hessians)
    chosen, found, true, molecules = graphs(take(truth.structures, rows)), [], [], []
    for row, graph, hessian in zip(rows, chosen, numerical_hessians(potential, None, chosen)):
        pair = [np.zeros(0), np.zeros(0)]
        answered = bool(np.isfinite(hessian).all())
        if answered:
            species, positions = graph.nodes.species, graph.nodes.positions
            pair = [frequencies(species, positions, h) for h in (hessian, truth.hessians[row])]
        found.append(pair[0])
        true.append(pair[1])
        one = compare_frequencies(*pair)
        del one["bands"]
        molecules.append({"name": _name(truth, row), "answered": answered, **one})
    none = [np.zeros(0)]
    both = np.concatenate(found or none), np.concatenate(true or none)
    missing = sum(not one["answered"] for one in molecules)
    return {**compare_frequencies(*both), "molecules": molecules, "n_unanswered": missing}


def compare_torsions(potential, truth: Truth) -> dict[str, Any]:
    """The rise of molecules turned by 60 to 120° about a bond, beside that in truth.

    Args:
        potential: a Surface, or whatever `surface_of` takes without parameters.
        truth: with torsions.

    Returns:
        `n` points; `ratio`, the mean rise over that in truth; `median_ratio`, over the molecules whose mean
        rise in truth is at least 0.02 eV; `molecules`: `name`, `answered`, `rise` and `true_rise`, means in
        eV, `ratio` or None; `n_unanswered`, molecules with a point without an answer, which are in no ratio.
    """
    turn = np.minimum(truth.value, 360.0 - truth.value)
    asked = (truth.kind == 2) & (turn >= TURNED[0]) & (turn <= TURNED[1])
    asked &= np.isfinite(_above(truth.structures.energy, truth))
    rows = np.flatnonzero(asked | np.isin(np.arange(len(asked)), truth.stable[asked]))
    known = np.full(len(truth.kind), np.nan)
    known[rows], _ = surface_of(potential).evaluate(graphs(take(truth.structures, rows)))
    above, true, molecules, n = _above(known, truth), _above(truth.structures.energy, truth), [], 0
    for start in np.unique(truth.stable[asked]):
        points = asked & (truth.stable == start)
        rise, should, answered = above[points].mean(), true[points].mean(), np.isfinite(above[points]).all()
        ratio = rise / should if answered and abs(should) >= FLAT else np.nan
        values = {"rise": rise, "true_rise": should, "ratio": ratio}
        molecules.append({"name": _name(truth, start), "answered": bool(answered)})
        molecules[-1] |= {name: finite_or_none(value) for name, value in values.items()}
        n += int(points.sum()) if answered else 0
    points = asked & np.isfinite(above)
    lost = [one["name"] for one in molecules if not one["answered"]]
    points &= ~np.isin([_name(truth, row) for row in truth.stable], lost)
    ratios = [one["ratio"] for one in molecules if one["ratio"] is not None]
    return {
        "n": n,
        "ratio": finite_or_none(above[points].mean() / true[points].mean()) if n else None,
        "median_ratio": finite_or_none(np.median(ratios)) if ratios else None,
        "molecules": molecules,
        "n_unanswered": len(lost),
    }


def _name(truth: Truth, row: int) -> str:
    return str(truth.structures.name[row]).partition("@")[0]
