"""What each constraint buys: the force at stable structures against where perturbed ones end."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from jphys.figures.recovery import plain_ticks
from jphys.figures.style import GREY, PALETTE, canvas

SIDES = (4, 3), (-10, 3), (4, -9), (-10, -9)  # points from a symbol to its label, in turn: rows crowd


def force_and_distance(families: Mapping[str, Mapping[str, tuple[np.ndarray, np.ndarray]]], path) -> Path:
    """MAE_F and ΔP of trained models on log axes, a symbol per training, a label per model.

    Args:
        families: name -> model -> (MAE_F, ΔP), the values of its trainings, (k,) eV/Å and (k,) Å each. One
            whose name begins with "paper:" is drawn in grey.
        path: PNG to write.

    Raises:
        ValueError: if a value is not a positive number, naming family and model.
    """
    with canvas(path, 6.6, 4.4) as figure:
        axes, colors = figure.subplots(), iter(PALETTE)
        for family, models in families.items():
            color = GREY if family.startswith("paper:") else next(colors)
            for number, (model, (force, distance)) in enumerate(models.items()):
                if not (np.all(np.asarray(force) > 0) and np.all(np.asarray(distance) > 0)):
                    raise ValueError(
                        f"MAE_F and ΔP of {family}, {model} must be positive, got {force}, {distance}"
                    )
                axes.scatter(
                    *(force, distance), s=14, color=color, linewidths=0, label="" if number else family
                )
                place = np.exp(np.mean(np.log(force))), np.exp(np.mean(np.log(distance)))
                beside = SIDES[number % len(SIDES)]
                axes.annotate(
                    *(model, place), color=color, fontsize=7, xytext=beside, textcoords="offset points"
                )
        axes.set(xscale="log", yscale="log")
        axes.set(xlabel="MAE_F at stable structures (eV/Å)", ylabel="ΔP after relaxation (Å)")
        plain_ticks(axes)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return Path(path)
