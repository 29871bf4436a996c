"""Does it matter whose labels VIMPNN learned from? Density functional theory against a cheap engine.

    python experiments/vimpnn_engines.py --data augmented-qm9     # B3LYP against GFN2-xTB (needs tblite)
    python experiments/vimpnn_engines.py --data crystal-growth    # PBE against effective medium theory

The same structures are labelled by both engines, VIMPNN is trained on each, and both are judged on test
structures by density functional theory, beside the cheap engine itself. The zeros of energy differ: what is
not trained on the judge's labels gets a constant per element, fitted on the training part. Points where the
cheap engine does not converge are left out and counted. Three seeds.
Writes runs/vimpnn/engines-<data>/ and docs/results/vimpnn/engines-<data>.json.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables
from tqdm import tqdm

from jphys.data import augmented_qm9, growth, references
from jphys.data.scaled import ScaledSet, take, take_shapes
from jphys.engines import Engine, make_engine
from jphys.reliability.stable_distance import energy_errors, predict, stable_distance_errors

CHEAP = {"augmented-qm9": "gfn2-xtb", "crystal-growth": "emt"}
SEEDS = 3  # of the tables that the page shows
# About 3,000 steps on a set that is small.
EPOCHS = {"augmented-qm9": 160, "crystal-growth": 600}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which structures, how to train, where."""

    data: Literal["augmented-qm9", "crystal-growth"] = "augmented-qm9"
    """150 molecules, or 24 clusters of 15 to 20 atoms, at ten scales each."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: 12 shapes, a small model, two epochs, one seed."""
    seeds: int | None = None
    """Trainings per engine, 3 where not given, for smoke 1; the seed also splits the data."""
    labels: Path | None = None
    """File of make_*.py with the judge's labels; the one in the package where not given."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of results; where not given docs/results/vimpnn for those of three seeds or more with the labels
    in the package, for others the folder of the trainings."""

    def __post_init__(self):
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")


def load(config: Config) -> ScaledSet:
    """The set with the judge's labels."""
    if config.data == "augmented-qm9":
        return augmented_qm9.load(config.labels or augmented_qm9.DFT_FILE)
    return growth.load_unstable(config.labels or growth.DFT_FILE)


def relabelled(points: ScaledSet, engine: Engine) -> tuple[ScaledSet, ScaledSet]:
    """The points where the engine converges, and the same with its energies; `n_failed` counts the others."""
    name, structures = engine.name, points.structures
    ends, energy = np.cumsum(structures.n_atoms), np.empty(len(points))
    for i in tqdm(range(len(points)), desc=name):
        atoms = slice(ends[i] - structures.n_atoms[i], ends[i])
        result = engine.energy(structures.species[atoms], structures.positions[atoms], None)
        energy[i] = result.energy if result.converged else np.nan
    provenance = {"engine": name, "version": engine.version, "settings": engine.settings}
    kept = np.flatnonzero(np.isfinite(energy))
    points = take(points, kept)
    other = dataclasses.replace(
        points,
        structures=dataclasses.replace(points.structures, energy=energy[kept]),
        provenance=points.provenance | provenance,
        n_failed=len(energy) - len(kept),
    )
    return points, other


def to_zero_of(train: ScaledSet, predicted: np.ndarray, test: ScaledSet) -> np.ndarray:
    """Constants per element, fitted on the training part, to bring predictions to its zero, (n_test,) eV."""
    difference = dataclasses.replace(train.structures, energy=train.structures.energy - predicted)
    constants, counts = references.fit(difference), references.composition(test.structures)
    return counts[:, list(constants)] @ np.array(list(constants.values()))


def report(test: ScaledSet, predicted: np.ndarray) -> dict[str, Any]:
    """Errors against the judge's labels."""
    structures = test.structures
    found = energy_errors(predicted, structures.energy, structures.n_atoms)
    return found | {"dsc": stable_distance_errors(test, predicted)}


def judged(config: Config, points: ScaledSet, cheap: ScaledSet, seed: int) -> dict[str, dict[str, Any]]:
    """Summaries of one seed: the cheap engine, VIMPNN of its labels, VIMPNN of the judge's."""
    smoke, fractions = config.preset == "smoke", (0.8, 0.1, 0.1)
    style = "smoke" if smoke else "fast"
    changes = {} if smoke else {"epochs": EPOCHS[config.data], "validate_every": EPOCHS[config.data] // 20}
    model = vimpnn.VIMPNN
    if config.data == "crystal-growth":
        model, fractions = model | vimpnn.METAL, (0.6, 0.2, 0.2)
        changes |= {"batch_size": 16 if smoke else 32}
    judge, found = str(points.provenance["engine"]), {}
    truth, other = (vimpnn.parts_of(config.data, x, fractions, seed) for x in (points, cheap))
    raw = other.train.structures.energy, other.test.structures.energy
    shifted = raw[1] + to_zero_of(truth.train, raw[0], truth.test)
    found[CHEAP[config.data]] = {"test": report(truth.test, shifted), "epochs": 0, "minutes": 0.0}
    for engine, parts in ((CHEAP[config.data], other), (judge, truth)):
        folder = config.run / f"engines-{config.data}-{style}" / f"{engine}-{seed}"
        summary, potential, params = vimpnn.trained(folder, parts, style, model, seed, **changes)
        predicted = predict(potential, params, truth.test)
        if engine != judge:
            predicted += to_zero_of(truth.train, predict(potential, params, truth.train), truth.test)
        found[f"VIMPNN of {engine}"] = summary | {"test": report(truth.test, predicted)}
    return found


def main(config: Config) -> None:
    """Train what is missing, write the table, print it."""
    vimpnn.begin(config.preset)
    smoke = config.preset == "smoke"
    points = load(config)
    if smoke:
        points = take_shapes(points, np.arange(12))
    points, cheap = relabelled(points, make_engine(CHEAP[config.data]))
    print(f"{len(points)} points, {cheap.n_failed} where {CHEAP[config.data]} did not converge left out")
    seeds = tables.size_of(config.preset, config.seeds, full=SEEDS, smoke=1)
    found = [judged(config, points, cheap, seed) for seed in range(seeds)]
    rows = {}
    for name in found[0]:
        rows[name] = tables.over_seeds([{**one[name], "between": {}} for one in found])
        print(tables.line(name, rows[name]))
    data = {"name": config.data, "provenance": points.provenance}
    record = {"data": data, "style": "smoke" if smoke else "fast", "rows": rows}
    record |= {"cheap": {key: cheap.provenance[key] for key in ("engine", "version")}}
    record["cheap"]["n_failed"] = cheap.n_failed
    whole = not smoke and seeds >= SEEDS and config.labels is None
    folder = tables.folder_of(config.output, config.run, whole=whole)
    tables.write(folder, f"engines-{config.data}.json", record)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ImportError, RuntimeError) as error:
        sys.exit(f"error: {error}")
