"""Histograms of recovery: where perturbed structures end."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jphys.figures.style import BLUE, GREY, INK, VERMILLION, canvas, line_styles
from jphys.reliability.recovery import CAP, RECOVERED, Recovery

SHORTEST = 1e-3
"""Å, left end of the ΔP axes; shorter distances are drawn there."""

GAPS = (1e-4, 1e2)  # eV, the axis of ΔE_g; what lies beyond is drawn at its ends


def recovery_histogram(recovery: Recovery, path, *, fmax: float = 0.01) -> Path:
    """Histograms of ΔP, one panel per noise amplitude, relaxed to one force threshold.

    Args:
        recovery: result of `jphys.reliability.recovery.recovery`.
        path: PNG to write.
        fmax: one of the thresholds of the recovery, eV/Å.

    Raises:
        ValueError: if the recovery has no such threshold.
    """
    column = index_of("fmax", fmax, recovery.fmaxes)
    with canvas(path, 5.6, 0.7 + 1.35 * len(recovery.sigmas)) as figure:
        draw_histograms(figure, recovery, column)
    return Path(path)


def recovery_distributions(
    rows: Mapping[str, Recovery], path, *, sigma: float = 0.1, fmax: float = 0.01
) -> Path:
    """ΔP and ΔE_g of several surfaces as cumulative fractions on log axes (Yi et al., fig. 2).

    Args:
        rows: name of a surface -> its recovery.
        path: PNG to write.
        sigma: noise amplitude, Å, one of every recovery.
        fmax: force threshold, eV/Å, one of every recovery.

    Raises:
        ValueError: if a recovery has no such amplitude or threshold.
    """
    with canvas(path, 9.8, 3.3) as figure:
        left, right = figure.subplots(1, 2, sharey=True)
        for (name, recovery), style in zip(rows.items(), line_styles()):
            row, column = index_of("sigma", sigma, recovery.sigmas), index_of("fmax", fmax, recovery.fmaxes)
            distance, gap = recovery.distance[row, column], recovery.energy_gap[row, column]
            left.ecdf(np.clip(distance, SHORTEST, CAP), label=name, **style)
            right.ecdf(np.clip(np.where(np.isfinite(gap), gap, np.inf), *GAPS), label=name, **style)
        left.axvline(RECOVERED, color=INK, linewidth=0.8, linestyle="--")
        left.set(xscale="log", xlim=(SHORTEST, CAP), ylim=(0, 1.02), ylabel="fraction of molecules")
        left.set_xlabel("ΔP after relaxation (Å)")
        right.set(xscale="log", xlim=GAPS, xlabel="ΔE_g (eV)")
        plain_ticks(left)
        right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Path(path)


def index_of(name: str, value: float, allowed: Sequence[float]) -> int:
    """Where a value stands among the ones that were measured."""
    found = np.flatnonzero(np.isclose(allowed, value, rtol=1e-6))
    if not found.size:
        raise ValueError(f"{name} must be one of {', '.join(map(str, allowed))}, got {value}")
    return int(found[0])


def draw_histograms(figure, recovery: Recovery, column: int) -> None:
    """One panel per σ, below each other on one log axis of ΔP."""
    panels = figure.subplots(len(recovery.sigmas), 1, sharex=True, squeeze=False)[:, 0]
    bins = np.geomspace(SHORTEST, CAP, 50)
    for row, (axes, sigma) in enumerate(zip(panels, recovery.sigmas)):
        distance = recovery.distance[row, column]
        median, below = np.median(distance), (distance < RECOVERED).mean()
        axes.hist(np.clip(distance, SHORTEST, CAP), bins=bins, color=BLUE, alpha=0.75)
        axes.axvline(max(median, SHORTEST), color=INK, label=f"median {median:.3f} Å")
        axes.axvline(
            RECOVERED, color=VERMILLION, linestyle="--", label=f"{100 * below:.0f} % below {RECOVERED} Å"
        )
        if sigma > 0:
            start = recovery.start_distance[row].mean()
            axes.axvline(start, color=GREY, linestyle=":", label=f"before relaxation {start:.3f} Å")
        failed = int(recovery.failed[row, column].sum())
        axes.plot([], [], " ", label=f"{failed} of {len(distance)} failed")
        axes.set(xscale="log", xlim=(SHORTEST * 0.9, CAP * 1.1))
        axes.set_title(f"σ = {sigma:g} Å", loc="left")
        axes.yaxis.get_major_locator().set_params(integer=True)
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.supylabel("number of molecules", fontsize=9)
    plain_ticks(panels[-1])
    panels[-1].set_xlabel(f"ΔP after relaxation to {recovery.fmaxes[column]:g} eV/Å (Å)")


def plain_ticks(axes) -> None:
    """0.01 and 0.1 instead of powers of ten."""
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
