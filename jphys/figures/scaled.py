"""Figures of energies against scale, size and element (VIMPNN, fig. 3 to 7)."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jphys.figures.style import GREY, INK, PALETTE, canvas, line_styles


def energy_curves(panels: Mapping[str, Mapping[str, tuple]], path, *, reference: str) -> Path:
    """Energies against scale, a panel per structure; each curve counts from the reference's minimum.

    Args:
        panels: title -> name of a curve -> scales (k,) and total energies (k,) eV.
        path: PNG to write.
        reference: the curve of each panel that is the truth, drawn as points.
    """
    with canvas(path, 3.6 * len(panels), 3.2) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for axis, (title, curves) in zip(axes, panels.items()):
            bottom = np.min(curves[reference][1])
            for (name, (scales, energies)), style in zip(_others(curves, reference), line_styles()):
                axis.plot(scales, np.asarray(energies) - bottom, label=name, **style)
            scales, energies = curves[reference]
            axis.plot(scales, np.asarray(energies) - bottom, "o", color=INK, markersize=3, label=reference)
            axis.set(title=title, xlabel="scale", ylabel="energy (eV)")
            axis.legend()
    return Path(path)


def errors_by_size(panels: Mapping[str, Mapping[str, tuple]], path, *, ylabel: str, trained_to=()) -> Path:
    """Mean errors against the number of atoms, a panel per training.

    Args:
        panels: title -> name of a model -> sizes (m,) and errors (m,), one per structure.
        path: PNG to write.
        ylabel: of the errors.
        trained_to: per panel the largest size seen in training, or None.
    """
    with canvas(path, 3.9 * len(panels), 3.2) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        for number, (axis, (title, models)) in enumerate(zip(axes, panels.items())):
            for (name, (sizes, errors)), style in zip(models.items(), line_styles()):
                shown = np.unique(sizes)
                means = [np.mean(np.asarray(errors)[np.asarray(sizes) == size]) for size in shown]
                axis.plot(shown, means, label=name, **style)
            limit = trained_to[number] if number < len(trained_to) else None
            if limit is not None:
                axis.axvline(limit, color=GREY, linewidth=1, linestyle=":")
                axis.annotate(
                    "largest in training", (limit, 0.96), xycoords=("data", "axes fraction"), fontsize=7
                )
            axis.set(title=title, xlabel="atoms", ylabel=ylabel, yscale="log")
            axis.legend()
    return Path(path)


def errors_by_element(rows: Mapping[str, Mapping[str, float]], path, *, ylabel: str) -> Path:
    """Bars of mean errors, a group per element.

    Args:
        rows: element or other group -> name of a model -> error.
        path: PNG to write.
        ylabel: of the errors.
    """
    models = list(next(iter(rows.values())))
    with canvas(path, 2.6 + 0.7 * len(rows), 3.0) as figure:
        axis = figure.subplots()
        width = 0.8 / len(models)
        looks = itertools.product((None, "//", ".."), PALETTE)  # hatched from the seventh model on
        for number, (name, (hatch, color)) in enumerate(zip(models, itertools.cycle(looks))):
            places = np.arange(len(rows)) + (number - (len(models) - 1) / 2) * width
            errors = [row[name] for row in rows.values()]
            axis.bar(places, errors, width, color=color, hatch=hatch, edgecolor="white", label=name)
        axis.set_xticks(range(len(rows)), list(rows))
        axis.set(ylabel=ylabel)
        axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Path(path)


def contributions(shifts, curves: Mapping[str, np.ndarray], moving, resting, path) -> Path:
    """Shares of the atoms in the energy while one of them moves, over the energy itself.

    Args:
        shifts: (k,) Å by which the moving atom is off its site.
        curves: whose energies -> (k,) eV; each counts from its lowest.
        moving: (k,) share of the moving atom.
        resting: (k, n) shares of the others.
        path: PNG to write.
    """
    resting = np.asarray(resting)
    with canvas(path, 4.2, 4.6) as figure:
        upper, lower = figure.subplots(2, 1, sharex=True)
        for (name, energies), dashes in zip(curves.items(), itertools.cycle(("-", "--", ":"))):
            upper.plot(
                shifts, np.asarray(energies) - np.min(energies), color=INK, linestyle=dashes, label=name
            )
        upper.set(ylabel="energy (eV)")
        upper.legend()
        lower.plot(shifts, moving, color=PALETTE[1], label="moving atom")
        lower.plot(shifts, resting.mean(axis=1), color=PALETTE[0], label="mean of the others")
        lower.fill_between(
            shifts, resting.min(axis=1), resting.max(axis=1), color=PALETTE[0], alpha=0.2, linewidth=0
        )
        for axis in (upper, lower):
            axis.axvline(0.0, color=GREY, linewidth=1, linestyle=":")
        lower.set(xlabel="shift along the normal of the hollow (Å)", ylabel="share of the energy")
        lower.legend()
    return Path(path)


def validation_curves(runs: Mapping[str, Sequence[tuple[float, float]]], path, *, xlabel: str) -> Path:
    """Validation errors of several trainings against time or epochs, log axes.

    Args:
        runs: name -> pairs of time or epoch, and error in meV.
        path: PNG to write.
        xlabel: what the first of each pair is.
    """
    with canvas(path, 4.6, 3.2) as figure:
        axis = figure.subplots()
        for (name, points), style in zip(runs.items(), line_styles()):
            axis.plot(*np.transpose(points), label=name, **style)
        axis.set(xlabel=xlabel, ylabel="MAE of validation (meV)", xscale="log", yscale="log")
        axis.legend()
    return Path(path)


def _others(curves: Mapping[str, tuple], reference: str):
    return [(name, curve) for name, curve in curves.items() if name != reference]
