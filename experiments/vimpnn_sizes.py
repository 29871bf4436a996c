"""Figures 5 and 6 of VIMPNN: errors against the size of a growing cluster, and training on small ones only.

    python experiments/vimpnn_sizes.py

Stable clusters of Al and Cu of 15 to 114 atoms (effective medium theory); the paper's memory ended at 75.
VIMPNN and MPNN are trained on all sizes, and on clusters of at most 25 atoms, and tested on all. The curves
of figure 5, of test clusters of 15 and 75 atoms or the nearest sizes that are there, are by the models of
vimpnn_datasets.py --data crystal-growth-unstable, which must have run. Writes docs/results/vimpnn/sizes.json,
fig5.png and fig6.png.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables

from jphys import checkpoint, figures
from jphys.data.scaled import between, take, take_shapes
from jphys.reliability.stable_distance import predict

MODELS = {"MPNN": vimpnn.MPNN, "VIMPNN": vimpnn.VIMPNN}
RANGES = ((15, 25), (26, 75), (76, 114))


@dataclasses.dataclass(frozen=True)
class Config:
    """How to train, where."""

    preset: Literal["smoke", "full"] = "full"
    """smoke: a few clusters, a small model, two epochs."""
    style: Literal["fast", "paper"] | None = None
    """How the full preset trains; fast where not given."""
    seed: int = 0
    """Of split and training."""
    largest: int = 25
    """Atoms of the largest cluster that the second training sees."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of results; where not given docs/results/vimpnn for style fast, seed 0 and up to 25 atoms, for
    others the folder of the trainings."""

    def __post_init__(self):
        tables.style_of(self.preset, self.style)
        if self.largest < 16:
            raise ValueError(f"largest must be at least 16, got {self.largest}")


def small_only(parts: vimpnn.Parts, largest: int) -> vimpnn.Parts:
    """Training and validation on clusters up to a size; the test part is the whole one."""
    some = [
        take(part, np.flatnonzero(part.structures.n_atoms <= largest)) for part in (parts.train, parts.valid)
    ]
    return dataclasses.replace(parts, name=f"{parts.name}-{largest}", train=some[0], valid=some[1])


def means(sizes: np.ndarray, errors: np.ndarray) -> dict[str, float]:
    """Mean error over each range of sizes."""
    chosen = {f"{low}-{high}": (low <= sizes) & (sizes <= high) for low, high in RANGES}
    return {name: float(errors[rows].mean()) for name, rows in chosen.items() if rows.any()}


def figure_5(config: Config, style: str, folder: Path) -> bool:
    """Curves of the test clusters of about 15 and 75 atoms, by the models trained on stretched ones.

    The models are drawn between the scales, too: what they do there is theirs alone.
    """
    base = config.run / f"crystal-growth-unstable-{style}"
    found = {name: base / f"{name}-{config.seed}" / "best" for name in MODELS}
    if not all(path.is_dir() for path in found.values()):
        return False
    test = vimpnn.load("crystal-growth-unstable", config.seed, style)[0].test  # pyright: ignore
    sizes = test.structures.n_atoms
    engine, panels = str(test.provenance["engine"]), {}
    for wanted in (15, 75):
        shape = test.shape[np.argmin(np.abs(sizes.astype(int) - wanted))]
        one = take_shapes(test, [shape])
        fine = between(one, 5)
        curves: dict[str, Any] = {engine: (one.scale, one.structures.energy)}
        for name, path in found.items():
            curves[name] = (fine.scale, predict(*checkpoint.load(path), fine))
        title = f"{one.structures.n_atoms[0]} atoms ({one.structures.name[0].split('@')[0]})"
        panels[title] = curves
    figures.energy_curves(panels, folder / "fig5.png", reference=engine)
    return True


def main(config: Config) -> None:
    """Train what is missing, write results and figures."""
    vimpnn.begin(config.preset)
    style: Any = tables.style_of(config.preset, config.style)
    base = config.run / f"crystal-growth-stable-{style}"
    whole = (style, config.seed, config.largest) == ("fast", 0, 25)
    folder = tables.folder_of(config.output, base, whole=whole)
    parts, changes = vimpnn.load("crystal-growth-stable", config.seed, style)
    trainings = {"all sizes": parts, f"up to {config.largest} atoms": small_only(parts, config.largest)}
    sizes, truth = parts.test.structures.n_atoms, parts.test.structures.energy
    panels, rows = {}, {}
    for title, chosen in trainings.items():
        panels[title], rows[title] = {}, {}
        if chosen is not parts and style == "fast":  # as many steps as on all sizes
            changes = changes | {"epochs": changes["epochs"] * len(parts.train) // len(chosen.train)}
        for name, model in MODELS.items():
            place = base / (f"{name}-{config.seed}" + ("" if chosen is parts else f"-{config.largest}"))
            settings = model | vimpnn.METAL
            _, potential, params = vimpnn.trained(place, chosen, style, settings, config.seed, **changes)
            error = np.abs(predict(potential, params, chosen.test) - truth)
            panels[title][name], rows[title][name] = (sizes, error), means(sizes, error)
            print(title, name, {key: round(value, 3) for key, value in rows[title][name].items()})
    record = {"data": {"name": parts.name, "provenance": parts.test.provenance}, "style": style}
    tables.write(folder, "sizes.json", record | {"mae_by_size": rows})
    limits = (None, config.largest)
    figures.errors_by_size(panels, folder / "fig6.png", ylabel="MAE (eV)", trained_to=limits)
    if not figure_5(config, style, folder):
        print("fig5.png not made: run vimpnn_datasets.py --data crystal-growth-unstable first")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
