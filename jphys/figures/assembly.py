"""A molecule that was taken apart, on its way back on several surfaces."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from jphys.figures.molecules import Triple, draw_panel
from jphys.figures.style import canvas, line_styles
from jphys.graph import Graph


def assembly_strips(
    strips: Mapping[str, Sequence[tuple[Graph, float]]], steps: Sequence[int], stable: Graph, path
) -> Path:
    """A row of structures per surface, and the energies of all along the relaxation.

    Args:
        strips: name of a surface -> one (graph, energy eV) per number of steps.
        steps: numbers of steps, ascending.
        stable: where the molecule belongs, drawn in pale grey.
        path: PNG to write.

    Raises:
        ValueError: for another number of frames than of steps.
    """
    for name, strip in strips.items():
        if len(strip) != len(steps):
            raise ValueError(f"strips must have {len(steps)} frames each, got {len(strip)} for {name}")
    with canvas(path, 1.5 * len(steps) + 3.2, 1.45 * len(strips) + 0.3) as figure:
        left, right = figure.subfigures(1, 2, width_ratios=(1.5 * len(steps), 3.2))
        panels = left.subplots(len(strips), len(steps), squeeze=False)
        for row, (name, strip) in zip(panels, strips.items()):
            for axes, step, (graph, _) in zip(row, steps, strip):
                draw_panel(axes, Triple(stable, strip[0][0], graph), graph)
                axes.set_title(f"{name}\n{step} steps" if step == steps[0] else f"{step}", fontsize=7)
        axes = right.subplots()
        for (name, strip), style in zip(strips.items(), line_styles()):
            energies = np.array([energy for _, energy in strip])
            axes.plot(np.maximum(steps, 0.5), energies - energies[0], marker="o", ms=3, label=name, **style)
        axes.set(xscale="log", xlabel="FIRE steps", ylabel="energy (eV)")
        axes.legend()
    return Path(path)
