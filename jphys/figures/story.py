"""What the constraints of a training buy: the first figure of the README."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jphys.alignment import kabsch_distance
from jphys.figures.molecules import Triple, draw_panel
from jphys.figures.recovery import SHORTEST, index_of, plain_ticks
from jphys.figures.style import BLUE, GREEN, GREY, INK, ORANGE, PURPLE, SKY, VERMILLION, canvas
from jphys.reliability.recovery import CAP, RECOVERED, Recovery

COLORS = (VERMILLION, ORANGE, BLUE, GREEN, PURPLE, SKY)

Row = tuple[str, dict, Recovery]


def recovery_story(
    rows: Sequence[Row], path, *, sigma: float = 0.1, fmax: float = 0.01, examples: Sequence[Triple] = ()
) -> Path:
    """Recovery and agreement with GFN2-xTB of several trainings, side by side.

    Args:
        rows: (label, summary, recovery) per training; the summary is the run's summary.json, of which
            `xtb` is used, the result of `jphys.reliability.xtb.compare` or None.
        path: PNG to write.
        sigma: noise amplitude in Å, one of every recovery.
        fmax: force threshold in eV/Å, one of every recovery.
        examples: one molecule per training, relaxed on its surface, to draw; none for no drawings.

    Raises:
        ValueError: for no rows or more than there are colours, a recovery without that amplitude or
            threshold, another number of examples than of rows.
    """
    if not 1 <= len(rows) <= len(COLORS):
        raise ValueError(f"rows must hold 1 to {len(COLORS)} runs, got {len(rows)}")
    if examples and len(examples) != len(rows):
        raise ValueError(f"examples must be one per row ({len(rows)}), got {len(examples)}")
    with canvas(path, 9.6, 5.5 if examples else 3.6) as figure:
        draw_story(figure, rows, sigma, fmax, examples)
    return Path(path)


def draw_story(
    figure, rows: Sequence[Row], sigma: float, fmax: float, examples: Sequence[Triple] = ()
) -> None:
    """Molecules above, where given; below the distributions of ΔP and the correlations of forces."""
    if examples:
        above, below = figure.subfigures(2, 1, height_ratios=(1, 1.6))
        _draw_examples(above, rows, examples, sigma)
    else:
        below = figure
    left, right = below.subplots(1, 2, width_ratios=(1.35, 1))
    distances = []
    for order, (label, _, recovery) in enumerate(rows):
        row, column = index_of("sigma", sigma, recovery.sigmas), index_of("fmax", fmax, recovery.fmaxes)
        distances.append(recovery.distance[row, column])
        if order == 0:
            start = recovery.start_distance[row]
            left.ecdf(np.maximum(start, SHORTEST), color=GREY, linestyle=":", label="before relaxation")
        left.ecdf(np.clip(distances[-1], SHORTEST, CAP), color=COLORS[order], label=label)
    _mark_recovered(left, distances)
    left.axvline(RECOVERED, color=INK, linewidth=0.8, linestyle="--", zorder=1)
    left.set(xscale="log", xlim=(0.01, CAP), ylim=(0, 1.02), ylabel="fraction of test molecules")
    plain_ticks(left)
    left.set_xlabel(f"ΔP after relaxation to {fmax:g} eV/Å (Å per atom)")
    left.set_title(f"Displaced by σ = {sigma:g} Å: how many end within ΔP?", loc="left")
    _draw_correlations(right, rows)
    handles, labels = left.get_legend_handles_labels()
    below.legend(handles[1:] + handles[:1], labels[1:] + labels[:1], loc="outside lower center", ncols=4)


def _mark_recovered(axes, distances: Sequence[np.ndarray]) -> None:
    """The fractions below 0.1 Å as dots and numbers, these spread so that they do not overlap."""
    fractions = [float((distance < RECOVERED).mean()) for distance in distances]
    height = 0.0
    for order in np.argsort(fractions, kind="stable"):
        height = max(height, fractions[order] + 0.03)
        axes.plot(
            RECOVERED, fractions[order], "o", color=COLORS[order], markersize=5, clip_on=False, zorder=4
        )
        text = f"{100 * fractions[order]:.0f} % "
        axes.text(0.94 * RECOVERED, height, text, color=COLORS[order], ha="right", va="center")
        height += 0.075


def _draw_correlations(axes, rows: Sequence[Row]) -> None:
    """Grouped bars: one group per noise amplitude, one bar per training."""
    tables = [(summary["xtb"] or {}).get("sigmas", []) for _, summary, _ in rows]
    sigmas = sorted({line["sigma"] for table in tables for line in table})
    width = 0.8 / len(rows)
    for order, table in enumerate(tables):
        found = {line["sigma"]: line["force_correlation"] for line in table}
        for group, sigma in enumerate(sigmas):
            center, value = group + (order - (len(rows) - 1) / 2) * width, found.get(sigma)
            if value is not None:
                axes.bar(center, value, 0.92 * width, color=COLORS[order])
            text, top = ("none", 0) if value is None else (f"{value:.2f}", max(value, 0))
            axes.annotate(text, (center, top), (0, 2), textcoords="offset points", ha="center", fontsize=8)
    if not sigmas:
        axes.text(0.5, 0.5, "not compared", ha="center", va="center", transform=axes.transAxes)
    axes.set_xticks(range(len(sigmas)), [f"σ = {sigma:g} Å" for sigma in sigmas])
    axes.axhline(0, color=INK, linewidth=0.7)
    axes.grid(False, axis="x")
    axes.set(ylabel="correlation of the forces", ylim=(None, 1.08))
    axes.set_title("Forces against GFN2-xTB, never trained on", loc="left")


def _draw_examples(figure, rows: Sequence[Row], examples: Sequence[Triple], sigma: float) -> None:
    """The first example as displaced, then where each training took its own."""
    panels = figure.subplots(1, len(rows) + 1)
    draw_panel(panels[0], examples[0], examples[0].perturbed)
    panels[0].set_title(
        f"displaced by σ = {sigma:g} Å\n{_moved(examples[0], examples[0].perturbed)}", color=GREY
    )
    for axes, (label, *_), triple, color in zip(panels[1:], rows, examples, COLORS):
        draw_panel(axes, triple, triple.relaxed)
        axes.set_title(f"relaxed: {label}\n{_moved(triple, triple.relaxed)}", color=color)


def _moved(triple: Triple, graph) -> str:
    return f"ΔP = {kabsch_distance(graph.nodes.positions, triple.stable.nodes.positions):.3f} Å"
