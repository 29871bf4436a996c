"""How VIMPNN trains: the settings of the paper beside the fast ones, error against time.

    python experiments/vimpnn_styles.py

VIMPNN on 400 molecules of Augmented QM9 at ten scales (GFN2-xTB). paper: Adam at 1e-4, times 0.6 on plateaus,
batches of 20, at most 360 epochs, early stopping after 50. fast: Muon at 1e-2 with a cosine schedule, batches
of 64, 12 epochs; the third run gives it 36. Writes docs/results/vimpnn/styles.json and styles.png.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables

from jphys import figures, runs
from jphys.data import augmented_qm9

MOLECULES = 400
RUNS: dict[str, tuple[vimpnn.Style, dict[str, Any]]] = {
    "paper": ("paper", {}),
    "fast": ("fast", {"validate_every": 1}),
    "fast, 36 epochs": ("fast", {"epochs": 36, "validate_every": 1}),
}


@dataclasses.dataclass(frozen=True)
class Config:
    """How large, where."""

    preset: Literal["smoke", "full"] = "full"
    """smoke: 60 molecules, a small model, two epochs of each."""
    molecules: int | None = None
    """Random molecules of the set; 400 where not given, for smoke 60."""
    seed: int = 0
    """Of split and training."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of results; where not given docs/results/vimpnn for 400 molecules and seed 0, for others the
    folder of the trainings."""

    def __post_init__(self):
        if self.molecules is not None and self.molecules < 10:
            raise ValueError(f"molecules must be at least 10, got {self.molecules}")


def main(config: Config) -> None:
    """Train what is missing, write results and figure."""
    vimpnn.begin(config.preset)
    smoke = config.preset == "smoke"
    molecules = tables.size_of(config.preset, config.molecules, full=MOLECULES, smoke=60)
    base = config.run / f"styles-{molecules}-{config.preset}"
    whole = (smoke, molecules, config.seed) == (False, MOLECULES, 0)
    folder = tables.folder_of(config.output, base, whole=whole)
    points = augmented_qm9.load()
    parts = vimpnn.parts_of("augmented-qm9", points, (0.8, 0.1, 0.1), config.seed, molecules)
    rows, curves = {}, {}
    for name, (style, changes) in RUNS.items():
        small = {"channels": 16, "n_basis": 16} if smoke else {}
        changes = changes | ({"epochs": 2} if smoke else {})
        place = base / name.replace(", ", "-").replace(" ", "-")
        summary, *_ = vimpnn.trained(place, parts, style, vimpnn.VIMPNN | small, config.seed, **changes)
        rows[name] = tables.over_seeds([summary])
        lines = [line for line in runs.read_metrics(place) if "valid" in line]
        curves[name] = [(line["seconds"] / 60, line["valid"]["mae_energy_mev"]) for line in lines]
        print(tables.line(name, rows[name]), f" {summary['epochs']} epochs, {summary['minutes']:.1f} minutes")
    record = {"data": {"molecules": molecules, "provenance": points.provenance}, "style": "both"}
    tables.write(folder, "styles.json", record | {"rows": rows})
    figures.validation_curves(curves, folder / "styles.png", xlabel="minutes of training")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
