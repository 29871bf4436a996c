"""Table 2 and figures 3 and 4 of VIMPNN: MPNN and VIMPNN on all four sets.

    python experiments/vimpnn_datasets.py --data infinite-crystal
    python experiments/vimpnn_datasets.py --data crystal-growth-stable
    python experiments/vimpnn_datasets.py --data crystal-growth-unstable
    python experiments/vimpnn_datasets.py --data augmented-qm9

Without --seeds and --epochs these are the tables of docs/vimpnn.md. Augmented QM9 has GFN2-xTB labels (10,000
molecules, ten scales), the crystals PBE by GPAW, the growing clusters effective medium theory by ASE (up to
114 atoms, where the paper stopped at 75). A stopped set goes on with the same command. Writes
runs/vimpnn/<data>-<style>/<model>-<seed>/, and the table as docs/results/vimpnn/table2-<data>.json with
figures of energies against scale and of errors per element.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables

from jphys import figures
from jphys.data import augmented_qm9
from jphys.data.scaled import ScaledSet, between, take_shapes
from jphys.elements import SYMBOLS, formula
from jphys.reliability.stable_distance import predict

MODELS = {"MPNN": vimpnn.MPNN, "VIMPNN": vimpnn.VIMPNN}
SMOOTH = "VIMPNN, smooth (ours)"  # also trained on two points between any two scales, by each curve's spline
PLAIN = {"VIMPNN without estimates": {"strategy": "a.ii"}}  # what the auxiliary estimates are judged by
WIDE = {"VIMPNN, b.i (ours)": vimpnn.VIMPNN | {"strategy": "b.i"}}
EXTRA = {
    "augmented-qm9": WIDE | {SMOOTH: vimpnn.VIMPNN},
    "infinite-crystal": PLAIN,
    "crystal-growth-stable": PLAIN,
    "crystal-growth-unstable": PLAIN | {SMOOTH: vimpnn.VIMPNN},
}

SEEDS = 3  # of the tables that the page shows


@dataclasses.dataclass(frozen=True)
class Config:
    """Which set, how to train, where."""

    data: Literal["augmented-qm9", "infinite-crystal", "crystal-growth-stable", "crystal-growth-unstable"] = (
        "infinite-crystal"
    )
    """The set."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: a few structures, a small model, two epochs, one seed."""
    style: Literal["fast", "paper"] | None = None
    """How the full preset trains; fast where not given."""
    seeds: int | None = None
    """Trainings per model, 3 where not given, for smoke 1; the seed also splits the data."""
    epochs: int = 0
    """Passes over the training part; 0 for those of the style and the set."""
    labels: Path | None = None
    """File of make_*.py; the one in the package where not given."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of the table; where not given docs/results/vimpnn for the table that stands there, of three
    seeds or more, for others the folder of the trainings."""

    def __post_init__(self):
        tables.style_of(self.preset, self.style)
        for name, least in (("seeds", 1), ("epochs", 0)):
            given = getattr(self, name)
            if given is not None and given < least:
                raise ValueError(f"{name} must be at least {least}, got {given}")


def by_element(points: ScaledSet, error: np.ndarray) -> dict[str, float]:
    """Mean error of the structures that contain each element."""
    owner = np.repeat(np.arange(len(points)), points.structures.n_atoms)
    elements = np.unique(points.structures.species)
    return {
        SYMBOLS[z]: float(error[np.unique(owner[points.structures.species == z])].mean()) for z in elements
    }


def drawn(points: ScaledSet) -> dict[str, ScaledSet]:
    """Title -> curve to draw: two of the test part, with the paper's C3H4O3; for molecules its C5H7N3O too.

    C5H7N3O has nine heavy atoms: it lies beyond the 10,000 molecules of the set.
    """
    first = [int(np.flatnonzero(points.shape == shape)[0]) for shape in range(points.n_shape)]
    ends = np.cumsum(points.structures.n_atoms)
    title = {
        row: formula(points.structures.species[ends[row] - points.structures.n_atoms[row] : ends[row]])
        for row in first
    }
    wanted = [row for row in first if title[row] == "C3H4O3"][:1]
    largest = max(first, key=lambda row: points.structures.n_atoms[row])
    chosen = {
        f"{title[row]} ({points.structures.name[row].split('@')[0]})": take_shapes(
            points, [points.shape[row]]
        )
        for row in list(dict.fromkeys([*wanted, largest, *first]))[:2]
    }
    if points.provenance["engine"] != "gfn2-xtb":
        return chosen
    larger = augmented_qm9.load(augmented_qm9.LARGER_FILE)
    return chosen | {f"C5H7N3O ({larger.structures.name[0].split('@')[0]})": larger}


def curves(points: ScaledSet, models: dict) -> dict:
    """Energies of the engine and, between the scales too, of the models of the last seed."""
    panels = {}
    for title, one in drawn(points).items():
        order = np.argsort(one.scale)
        panels[title] = {str(points.provenance["engine"]): (one.scale[order], one.structures.energy[order])}
        fine = between(one, 5)
        for name, (potential, params) in models.items():
            panels[title][name] = (fine.scale, predict(potential, params, fine))
    return panels


def main(config: Config) -> None:
    """Train what is missing, write table and figures."""
    vimpnn.begin(config.preset)
    style: Any = tables.style_of(config.preset, config.style)
    seeds = tables.size_of(config.preset, config.seeds, full=SEEDS, smoke=1)
    base = config.run / f"{config.data}-{style}"
    whole = style == "fast" and seeds >= SEEDS and not config.epochs and config.labels is None
    folder = tables.folder_of(config.output, base, whole=whole)
    rows, models, elements, n_train = {}, {}, {}, 0
    for name, model in {**MODELS, **EXTRA[config.data]}.items():
        found, errors = [], []
        for seed in range(seeds):
            parts, changes = vimpnn.load(config.data, seed, style, config.labels)
            changes |= {"epochs": config.epochs} if config.epochs else {}
            n_train = len(parts.train)
            if name == SMOOTH:  # no more steps than the others
                parts = dataclasses.replace(parts, train=between(parts.train, 2))
                epochs = (vimpnn.STYLES[style] | changes)["epochs"]
                changes |= {"epochs": max(1, epochs * n_train // len(parts.train))}
            settings = model | ({} if config.data == "augmented-qm9" else vimpnn.METAL)
            summary, potential, params = vimpnn.trained(
                base / f"{name.split(' (')[0].replace(', ', '-').replace(' ', '-')}-{seed}",
                parts,
                style,
                settings,
                seed,
                **changes,
            )
            models[name] = potential, params
            found.append(summary)
            error = np.abs(predict(potential, params, parts.test) - parts.test.structures.energy)
            errors.append(by_element(parts.test, error))
        rows[name] = tables.over_seeds(found)
        elements[name] = tables.mean_by_group(errors)
        print(tables.line(name, rows[name]))
    record = {"table": 2, "data": {"name": config.data, "provenance": parts.test.provenance}, "style": style}
    record |= {
        "rows": rows,
        "mae_by_element": elements,
        "n_train": n_train,
        "n_test": len(parts.test),
    }
    tables.write(folder, f"table2-{config.data}.json", record)
    both = {z: {name: row[z] for name, row in elements.items()} for z in elements["MPNN"]}
    figures.errors_by_element(both, folder / f"fig4-{config.data}.png", ylabel="MAE (eV)")
    if config.data != "crystal-growth-stable":
        engine = str(parts.test.provenance["engine"])
        figures.energy_curves(
            curves(parts.test, models), folder / f"fig3-{config.data}.png", reference=engine
        )


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
