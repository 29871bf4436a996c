"""What the scripts of the reliability tables share: molecules, surfaces, one training with its report."""

import dataclasses
import functools
import importlib.util
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np
import peer_ani

import jphys
from jphys import checkpoint, runs
from jphys.data import qm9
from jphys.data.structures import Structures, graphs, heavy_atoms, take
from jphys.graph import Graph
from jphys.losses import ENERGY_ONLY, PAPER, PHYSICS, Objective
from jphys.reliability import mmff94, xtb
from jphys.reliability.report import summarise
from jphys.training.config import TrainConfig
from jphys.training.parts import split_data, trained_on
from jphys.training.validation import NonFiniteLoss

# The rows of table 1, and of figures 2 and 3.
OBJECTIVES: dict[str, Objective] = {
    "physics": PHYSICS,
    "physics-no-bound": PHYSICS.weighted(bound=0.0),
    "paper": PAPER,
    "paper-no-bound": PAPER.weighted(bound=0.0),
    "energy-only": ENERGY_ONLY,
}
MOLECULES = 256  # of figures 2 and 3 that go into the docs
SEEDS = 3  # least number of a table that goes into the docs
RESULTS = Path(__file__).parents[1] / "docs" / "results" / "reliability"
RUNS = Path("runs")
MODELS = RESULTS.parent / "models"  # parameters of trainings, where the trainings themselves are gone


@dataclasses.dataclass(frozen=True)
class Judged:
    """Which surfaces, where."""

    preset: Literal["smoke", "full"] = "full"
    """smoke: the pretrained model, MMFF94 and GFN2-xTB; few molecules, few steps."""
    surfaces: tuple[str, ...] = ()
    """Only these, by their names in the table; their results go into a file of their own, which render.py
    shows beside the others. Without it: all, ANI-1x where --ani-python is given."""
    ani_python: str | None = None
    """Interpreter with torchani, for ANI-1x (peer_ani.py)."""
    run: Path = RUNS
    """Folder of the trainings of table1_qm9.py, whose seed 0 is judged; what the default lacks is taken
    from docs/results/models, what another folder lacks is an error."""
    output: Path | None = None
    """Folder of results; where not given docs/results/reliability at full size, else that of trainings."""

    def named(self, stem: str) -> str:
        """Name of a file of results without its ending, with the surfaces where only some are judged."""
        return "-".join([stem, *(name.lower() for name in self.surfaces)])


@dataclasses.dataclass(frozen=True)
class SurfacesConfig(Judged):
    """Which surfaces, how many molecules, where."""

    molecules: int = MOLECULES
    """Test molecules, half the smallest and half random larger ones."""

    def __post_init__(self):
        if self.molecules < 2:
            raise ValueError(f"molecules must be at least 2, got {self.molecules}")

    @property
    def kept(self) -> Path:
        """Where the results go."""
        whole = self.preset == "full" and self.molecules >= MOLECULES
        return self.output or (RESULTS if whole else self.run)


def molecules(heavy: int = 7) -> Structures:
    """The shipped molecules with at most so many heavy atoms."""
    everything = qm9.load_small()
    return take(everything, np.flatnonzero(heavy_atoms(everything.n_atoms, everything.species) <= heavy))


def unseen(source: Path | None) -> tuple[Structures, np.ndarray]:
    """The whole set's test part, and in random order those (k,) that no training with seed 0 saw."""
    small = qm9.load_small()
    seen = set(small.name) - set(split_data(small, 0).test.structures.name)
    test = split_data(qm9.load(source, with_bonds=True), 0).test.structures
    order = np.random.default_rng(0).permutation(len(test))
    return test, order[~np.isin(test.name[order], sorted(seen))]


def test_part(seed: int) -> tuple[list[Graph], np.ndarray]:
    """The test part of the shipped molecules, with all pairs; and atoms per Z in the training part."""
    data = split_data(qm9.load_small(), seed)
    return graphs(data.test.structures), np.bincount(data.train.structures.species)


def trained(folder: Path, config: TrainConfig, structures: Structures) -> dict[str, Any] | None:
    """The summary of one training with its report, as train.py makes it; one that was cut short goes on.

    None where its loss was not finite, which is printed: a table goes on without that training.
    """
    began, done = time.monotonic() - runs.seconds_so_far(folder), folder / "summary.json"
    data = split_data(trained_on(config, structures), config.seed)
    free = ("source",)  # the data has a fingerprint of its own
    if done.exists():
        runs.check(folder, config, resume=True, free=free)
        runs.keep_data(folder, data.fingerprints())
        return json.loads(done.read_text("utf-8"))
    try:
        result = jphys.train(dataclasses.replace(config, resume=True), data, folder=folder, free=free)
    except NonFiniteLoss as error:
        print(f"{folder} is left out: {error}", file=sys.stderr)
        return None
    return summarise(result.run, folder, began=began)[0]


def stored(config: TrainConfig, folder: Path = RESULTS.parent) -> dict[str, Any] | None:
    """The summary of this training in docs/results, from the machine that made it; None where it has none.

    Names of losses and models change between versions; a training is known by its preset, objective, seed,
    epochs and data, as in the table of trainings.
    """
    path = folder / f"{config.preset}-{config.objective}-{config.seed}.json"
    if not path.is_file():
        return None
    summary = json.loads(path.read_text("utf-8"))
    found = (*(summary[name] for name in ("preset", "objective", "seed", "epochs")), summary["data"]["name"])
    asked = config.preset, config.objective, config.seed, config.epochs, config.data
    return summary if found == asked else None


def surfaces(config: Judged) -> dict[str, tuple[Any, Any]]:
    """Name -> what is judged, as (potential, params): pretrained, seed 0 of every objective, and surfaces
    that nobody here trained: MMFF94, where tblite is installed GFN2-xTB, with an interpreter for it ANI-1x.

    Raises:
        FileNotFoundError: for a training that is missing; says what to run.
        ValueError: for a surface that is none of these, or ANI-1x without an interpreter.
        ImportError: for GFN2-xTB, asked for by name, without tblite.
        SystemExit: for an interpreter without torchani.
    """
    makers: dict[str, Callable[[], tuple[Any, Any]]] = {"qm9-small": lambda: checkpoint.load("qm9-small")}
    makers |= {name: functools.partial(_trained, config.run, name) for name in OBJECTIVES}
    makers["MMFF94"] = lambda: (mmff94.surface(), None)
    makers["GFN2-xTB"] = lambda: (xtb.surface(), None)
    makers[peer_ani.NAME] = lambda: (peer_ani.surface(config.ani_python), None)
    by_name = {name.lower(): name for name in makers}
    unknown = [name for name in config.surfaces if name.lower() not in by_name]
    if unknown:
        raise ValueError(f"surfaces must be of {', '.join(makers)}, got {', '.join(unknown)}")
    absent = set(OBJECTIVES) if config.preset == "smoke" else set()
    absent |= set() if importlib.util.find_spec("tblite") else {"GFN2-xTB"}
    absent |= {peer_ani.NAME} if config.ani_python is None else set()
    chosen = [by_name[name.lower()] for name in config.surfaces]
    return {name: makers[name]() for name in chosen or [name for name in makers if name not in absent]}


def _trained(run: Path, name: str) -> tuple[Any, Any]:
    folder, kept = run / f"default-{name}-0", MODELS / f"default-{name}-0"
    if (folder / "summary.json").is_file():
        return checkpoint.load(folder / "best")
    if run == RUNS and kept.is_dir():
        print(f"{name}: {kept}, for {folder} is not there", file=sys.stderr)
        return checkpoint.load(kept)
    raise FileNotFoundError(f"{folder} must be a finished training: run experiments/table1_qm9.py first")


def numbers(summary: dict[str, Any] | None, sigma: float = 0.1) -> dict[str, float | None]:
    """What a table shows of one training: MAE_E meV, MAE_F eV/Å, ΔP Å and the fraction below 0.1 Å; None
    each of one that failed."""
    if summary is None:
        return dict.fromkeys(("mae_energy_mev", "mae_force", "distance", "recovered"))
    rows = [row for row in summary["recovery"]["rows"] if abs(row["sigma"] - sigma) < 1e-9]
    (row,) = [row for row in rows if row["fmax"] == min(r["fmax"] for r in rows)]
    found = {
        "mae_energy_mev": summary["test"]["mae_energy_mev"],
        "mae_force": summary["test"]["mae_force_ev_per_angstrom"],
        "distance": row["distance"]["mean"],
        "recovered": row["recovered"],
    }
    if summary["xtb"] is not None:
        (judged,) = [one for one in summary["xtb"]["sigmas"] if abs(one["sigma"] - 0.05) < 1e-9]
        found |= {"rise_ratio": judged["median_rise_ratio"], "force_correlation": judged["force_correlation"]}
    return found


def write(folder: Path, name: str, record: dict[str, Any]) -> None:
    """A result with the machine and the versions it was made with."""
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_json(folder / name, record | {"environment": runs.environment()})
    print(f"written: {folder / name}")
