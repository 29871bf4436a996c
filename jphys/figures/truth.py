"""Rises of several surfaces beside those of a reference method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jphys.data.truth import KINDS, Truth
from jphys.figures.recovery import plain_ticks
from jphys.figures.style import GREY, INK, canvas, line_styles

SCANS = {"torsion": "turn of a bond (°)", "stretch": "stretch of a bond (Å)"}
LOWEST = 1e-3  # eV, left and lower end of the log axes; smaller and negative rises are drawn there


def rises(above: Mapping[str, np.ndarray], truth: Truth, path) -> Path:
    """Energy above the stable structure: of displaced molecules, each; along scans, the mean over molecules.

    Args:
        above: name of a surface -> its rises (m,) eV, as `jphys.reliability.truth.rises` gives them.
        truth: the m structures, and the reference method's answers.
        path: PNG to write.
    """
    true = truth.structures.energy - truth.structures.energy[truth.stable]
    with canvas(path, 11.5, 3.4) as figure:
        first, *others = figure.subplots(1, 3)
        _displaced(first, above, truth, true)
        for axes, (kind, label) in zip(others, SCANS.items()):
            chosen = np.isin(truth.stable, truth.stable[truth.kind == KINDS.index(kind)])
            chosen &= (truth.kind == KINDS.index(kind)) | (truth.kind == KINDS.index("stable"))
            for (name, values), style in zip(above.items(), line_styles()):
                axes.plot(*_means(truth.value[chosen], values[chosen]), label=name, linewidth=1.2, **style)
            axes.plot(*_means(truth.value[chosen], true[chosen]), color=INK, linewidth=2.2, label="reference")
            axes.set(xlabel=label, ylabel="mean rise (eV)")
            highest = np.nanmax(_means(truth.value[chosen], true[chosen])[1])
            axes.set_ylim(-0.1 * highest, 1.6 * highest)
        others[-1].legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Path(path)


def _displaced(axes, above: Mapping[str, np.ndarray], truth: Truth, true: np.ndarray) -> None:
    """Rise against rise on log axes, one point per displaced molecule."""
    chosen = truth.kind == KINDS.index("displaced")
    for (_, values), style in zip(above.items(), line_styles()):
        marker = {"-": "o", "--": "^", ":": "s"}[style["linestyle"]]
        axes.scatter(
            *(true[chosen], np.maximum(values[chosen], LOWEST)), s=7, color=style["color"], marker=marker
        )
    ends = np.array([LOWEST, 100.0])
    axes.plot(ends, ends, color=GREY, linewidth=0.8)
    axes.set(
        xscale="log",
        yscale="log",
        ylim=ends,
        xlabel="rise by the reference (eV)",
        ylabel="rise by the surface (eV)",
    )
    axes.set_xlim(0.8 * np.nanmin(true[chosen]), 1.2 * np.nanmax(true[chosen]))
    plain_ticks(axes)


def _means(value: np.ndarray, energy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The mean energy at each value."""
    places = np.unique(value)
    return places, np.array([np.mean(energy[value == place]) for place in places])
