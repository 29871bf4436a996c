"""One look for all figures, set in a context and never globally."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072B2 #D55E00 #009E73 #E69F00 #CC79A7 #56B4E9".split()
PALETTE = (BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY)
"""The colours of Okabe & Ito (2008), told apart by every kind of colour vision."""


def line_styles() -> Iterator[dict[str, str]]:
    """Colour and dashes of one line after another, without end: each pair comes once in eighteen.

    >>> styles = line_styles()
    >>> seventh = [next(styles) for _ in range(7)][-1]
    >>> seventh["color"] == PALETTE[0], seventh["linestyle"]
    (True, '--')
    """
    return itertools.cycle(
        {"color": color, "linestyle": dashes} for dashes in ("-", "--", ":") for color in PALETTE
    )


INK, GREY, PALE = "#222222", "#8A8A8A", "#D9D9D9"

ELEMENTS = {1: "#FFFFFF", 6: "#555555", 7: BLUE, 8: VERMILLION, 9: GREEN, 16: "#F0E442"}
"""Fill colours of atoms, near the usual ones; other elements are purple."""

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "axes.edgecolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#ECECEC",
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "savefig.dpi": 160,
}


@contextmanager
def canvas(path, width: float, height: float) -> Iterator:
    """An empty figure of width × height inches, written to `path` as PNG on leaving.

    Not made by pyplot: no window, no figure left open, no setting changed for the user.

    Raises:
        ValueError: if the path does not end in .png.
    """
    import matplotlib
    from matplotlib.figure import Figure

    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end in .png, got {path}")
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a user's own style does not leak in
        matplotlib.rcParams.update(SETTINGS)
        figure = Figure(figsize=(width, height), layout="constrained", facecolor="white")
        yield figure
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, format="png")
