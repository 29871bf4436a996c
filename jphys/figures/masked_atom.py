"""Likelihood of the element of a hidden atom that moves."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jphys.elements import SYMBOLS
from jphys.figures.style import INK, canvas

SHOWN = 14  # Z = 1..14, as in the paper


def likelihoods(panels: Mapping[str, tuple], path) -> Path:
    """Heat maps of p(Z) over the shift of a hidden atom, a panel each.

    Args:
        panels: title -> shifts (k,) Å, evenly spaced, and probabilities (k, at least 14) from Z = 1 on.
        path: PNG to write.
    """
    with canvas(path, 3.3 * len(panels) + 0.5, 3.2) as figure:
        axes = figure.subplots(1, len(panels), squeeze=False, sharey=True)[0]
        image = None
        for axis, (title, (shifts, probabilities)) in zip(axes, panels.items()):
            extent = (float(np.min(shifts)), float(np.max(shifts)), 0.5, SHOWN + 0.5)
            shown = np.asarray(probabilities)[:, :SHOWN].T
            image = axis.imshow(
                shown,
                origin="lower",
                extent=extent,
                aspect="auto",
                interpolation="nearest",
                cmap="magma",
                vmin=0,
                vmax=1,
            )
            axis.axvline(0.0, color="white", linewidth=0.8, linestyle=":")
            axis.set(title=title, xlabel="shift (Å)")
            axis.grid(visible=False)
        axes[0].set_yticks(range(1, SHOWN + 1), [SYMBOLS[z] for z in range(1, SHOWN + 1)], color=INK)
        figure.colorbar(image, ax=list(axes), label="likelihood")
    return Path(path)
