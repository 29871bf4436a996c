"""Energies of stretched structures, and the stable distances that they imply (VIMPNN, sec. 5)."""

from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline

from jphys.data.scaled import ScaledSet, check_curve
from jphys.data.structures import graphs, take
from jphys.evaluation import energies
from jphys.models.potential import Potential, check_bonds, felt_only
from jphys.reliability.surface import finite_or_none

__all__ = ["energy_errors", "judge", "predict", "stable_distance_errors", "stable_scale"]


def judge(
    potential, params, points: ScaledSet, *, cutoff: float | None = None, chunk: int = 64
) -> dict[str, Any]:
    """Errors of an energy function on scaled structures: `energy_errors` and `stable_distance_errors`.

    Args:
        potential: a Potential, whose reference energies are added, or any function (params, graph) ->
            (n_graph,) eV of total energies.
        params: its parameters.
        points: structures at several scales.
        cutoff: Å; pairs closer than it are edges. A Potential brings its own.
        chunk: structures per device call.
    """
    predicted = predict(potential, params, points, cutoff=cutoff, chunk=chunk)
    found = energy_errors(predicted, points.structures.energy, points.structures.n_atoms)
    return found | {"dsc": stable_distance_errors(points, predicted)}


def predict(
    potential, params, points: ScaledSet, *, cutoff: float | None = None, chunk: int = 64
) -> np.ndarray:
    """Total energies (m,) eV, float64, of the structures of a set; arguments as `judge`.

    Raises:
        ValueError: for no points, crystals without a cutoff, and a structure whose atoms cannot feel each
            other, as `check_bonds` has it.
    """
    if not len(points):
        raise ValueError("points must be one or more, got none")
    if isinstance(potential, Potential):
        _check_bonds(potential, points)
    reach = getattr(potential, "cutoff", cutoff)
    made = graphs(points.structures, cutoff=reach, all_pairs=reach is None)
    if not isinstance(potential, Potential):
        return energies(potential, params, made, chunk=chunk)
    table = np.zeros(potential.config.max_z + 1)
    for z, energy in potential.config.reference_energies:
        table[z] = energy
    starts = np.concatenate([[0], np.cumsum(points.structures.n_atoms)[:-1]])
    references = np.add.reduceat(table[points.structures.species], starts)
    return energies(potential, params, felt_only(potential, made), chunk=chunk) + references


def _check_bonds(potential: Potential, points: ScaledSet) -> None:
    """`check_bonds` of every shape; its points have the same bonds."""
    first = np.unique(points.shape, return_index=True)[1]
    shapes = take(points.structures, np.sort(first))
    species = np.split(shapes.species, np.cumsum(shapes.n_atoms)[:-1])
    bonds = np.split(shapes.bonds, np.cumsum(shapes.n_bonds)[:-1])
    for name, *parts in zip(shapes.name, species, bonds, shapes.cell):
        try:
            check_bonds(potential, *parts)
        except ValueError as error:
            raise ValueError(f"points: {name}: {error}") from error


def energy_errors(predicted, true, n_atoms) -> dict[str, Any]:
    """Mean and standard deviation over the points of absolute, squared and relative errors.

    Args:
        predicted: (m,) eV.
        true: (m,) eV, total energies.
        n_atoms: (m,).

    Returns:
        `mae`, `mse`, `re` = |ŷ − y|/|y| and `mae_per_atom`, each {"mean", "std"}, in eV, eV², without unit
        and eV; `n` points, how many predictions (`n_nonfinite`) and true energies (`n_without_truth`) are not
        finite, which count nowhere else, and how many true energies are 0 (`n_zero_truth`): they have no RE.

    Raises:
        ValueError: if the arguments differ in length.
    """
    predicted, true, n_atoms = (np.asarray(values, np.float64) for values in (predicted, true, n_atoms))
    for name, values in (("predicted", predicted), ("n_atoms", n_atoms)):
        if values.shape != true.shape:
            raise ValueError(f"{name} must have shape {true.shape}, one for each point, got {values.shape}")
    known, finite = np.isfinite(true), np.isfinite(predicted)
    good = known & finite
    error, zero = np.abs(predicted[good] - true[good]), true[good] == 0
    rows = {
        "mae": error,
        "mse": error**2,
        "re": error[~zero] / np.abs(true[good][~zero]),
        "mae_per_atom": error / n_atoms[good],
    }
    return {name: _statistics(values) for name, values in rows.items()} | {
        "n": len(true),
        "n_nonfinite": int((~finite).sum()),
        "n_without_truth": int((~known).sum()),
        "n_zero_truth": int(zero.sum()),
    }


def stable_distance_errors(points: ScaledSet, predicted) -> dict[str, Any]:
    """DSC, |stable distance of the predicted curve − that of the true one|, over the shapes of a set.

    Args:
        points: the set, in any order; shapes with fewer than four points have no curve and are counted.
        predicted: (m,) eV, total energies of the points.

    Returns:
        {"mean", "std", "median"} in Å, `n` shapes, `n_without_minimum`: predicted curves that are lowest at
        an end, which counts as their stable distance. Left out are `n_without_curve`, `n_nonfinite`
        predicted curves, `n_without_truth`: true curves with an energy that is not finite, and
        `n_without_spacing`: shapes of a single atom, which have no distance.

    Raises:
        ValueError: if there is not one prediction for each point, or a shape is there twice at one scale.
    """
    predicted, true = np.asarray(predicted, np.float64), points.structures.energy
    if predicted.shape != true.shape:
        raise ValueError(f"predicted must have shape {true.shape}, one for each point, got {predicted.shape}")
    left_out = ("n_without_curve", "n_without_spacing", "n_without_truth", "n_nonfinite")
    errors, counts = [], dict.fromkeys((*left_out, "n_without_minimum"), 0)
    for chosen in _rows_of_shapes(points):
        scale = points.scale[chosen]
        check_curve(scale, str(points.structures.name[chosen[0]]))
        reasons = (
            len(chosen) < 4,
            not np.isfinite(points.spacing[chosen[0]]),
            not np.isfinite(true[chosen]).all(),
            not np.isfinite(predicted[chosen]).all(),
        )
        if any(reasons):
            counts[left_out[reasons.index(True)]] += 1
        else:
            found = stable_scale(scale, predicted[chosen])
            counts["n_without_minimum"] += found in (scale[0], scale[-1])
            errors.append(abs(found - stable_scale(scale, true[chosen])) * points.spacing[chosen[0]])
    median = finite_or_none(np.median(errors)) if errors else None
    return _statistics(np.array(errors)) | {"median": median, "n": len(errors)} | counts


def _rows_of_shapes(points: ScaledSet) -> list[np.ndarray]:
    """The points of every shape, scales ascending."""
    order = np.lexsort((points.scale, points.shape))
    return np.split(order, np.flatnonzero(np.diff(points.shape[order])) + 1) if len(order) else []


def stable_scale(scales, energies) -> float:
    """Where the cubic spline (not-a-knot) through a curve is lowest.

    >>> round(stable_scale(np.linspace(0.9, 1.5, 10), (np.linspace(0.9, 1.5, 10) - 1.02) ** 2), 6)
    1.02

    Args:
        scales: (k,) ascending, k ≥ 4.
        energies: (k,) eV.
    """
    scales = np.asarray(scales, np.float64)
    spline = CubicSpline(scales, np.asarray(energies, np.float64))
    roots = spline.derivative().roots(extrapolate=False)
    candidates = np.concatenate([scales[[0, -1]], roots[np.isfinite(roots)]])
    return float(candidates[np.argmin(spline(candidates))])


def _statistics(values: np.ndarray) -> dict[str, float | None]:
    if not len(values):
        return {"mean": None, "std": None}
    return {"mean": finite_or_none(values.mean()), "std": finite_or_none(values.std())}
