"""The QM9 rows of table 1 of Yi et al.: the default model by each objective, five seeds.

    python experiments/table1_qm9.py             # five rows of five trainings, 10 to 30 minutes each
    python experiments/table1_qm9.py --objectives physics --seeds 1
    python experiments/table1_qm9.py --stored    # the trainings of docs/results, in seconds
    python experiments/table1_qm9.py --data qm9-full --source dsgdb9nsd.xyz.tar.bz2   # for a GPU

Errors in energy and force, ΔP of perturbed test molecules after relaxation, agreement with GFN2-xTB. The
trainings are those of train.py, in the same folders runs/<preset>-<objective>-<seed>: what is there is used,
and a stopped table goes on with the same command. With --stored the summaries in docs/results are used before
anything is trained: 25 trainings are a day of one core. Writes docs/results/reliability/table1.json.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import reliability_runs as shared
import reliability_tables as tables
import tyro

from jphys.allocation import keep_freed_memory
from jphys.compiling import compile_quickly
from jphys.data import sources
from jphys.data.qm9 import load_small
from jphys.training.config import PRESETS, TrainConfig, with_own_model


@dataclasses.dataclass(frozen=True)
class Config:
    """Which objectives, how large, where."""

    objectives: tuple[str, ...] = tuple(shared.OBJECTIVES)
    """Rows of the table."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: the preset of train.py of that name, one seed."""
    data: Literal["small", "qm9-full"] = "small"
    """small: the shipped molecules, preset default of train.py; qm9-full: the whole set, preset qm9-gpu."""
    source: Path | None = None
    """For qm9-full: the official tar, a folder of its xyz files, or an npz; otherwise it is downloaded."""
    seeds: int = 5
    """Trainings per row; the seed also splits the data."""
    run: Path = Path("runs")
    """Folder of the trainings."""
    stored: bool = False
    """Take the trainings that docs/results has, and train the others."""
    output: Path | None = None
    """Folder of the table; where not given docs/results/reliability for a whole table of three or more seeds,
    for others that of the trainings."""

    def __post_init__(self):
        if self.seeds < 1:
            raise ValueError(f"seeds must be at least 1, got {self.seeds}")
        if self.source is not None and self.data != "qm9-full":
            raise ValueError(f"source must go with the data qm9-full, got {self.source} for {self.data!r}")
        for name in self.objectives:
            if name not in shared.OBJECTIVES:
                raise ValueError(f"objectives must be of {', '.join(shared.OBJECTIVES)}, got {name!r}")


def train_config(config: Config, objective: str, seed: int) -> TrainConfig:
    """One training of the table: that of train.py."""
    full = "default" if config.data == "small" else "qm9-gpu"
    start = PRESETS["smoke" if config.preset == "smoke" else full]
    losses = shared.OBJECTIVES[objective]
    asked = dataclasses.replace(start, losses=losses, objective=objective, seed=seed)
    return with_own_model(asked, objective)


def main(config: Config) -> None:
    """Train what is missing, write the table, print it."""
    keep_freed_memory()
    smoke = config.preset == "smoke"
    if smoke:  # compiling is most of what it does
        compile_quickly()
    structures = sources.load("qm9", config.source) if config.data == "qm9-full" else load_small()
    rows, seeds = {}, 1 if smoke else config.seeds
    for objective in config.objectives:
        found = []
        for seed in range(seeds):
            chosen = train_config(config, objective, seed)
            folder = config.run / f"{chosen.preset}-{objective}-{seed}"
            known = shared.stored(chosen) if config.stored else None
            found.append(shared.numbers(known or shared.trained(folder, chosen, structures)))
        rows[objective] = tables.spread(found)
        print(f"{objective:16s}", tables.means(rows[objective]))
    tables.compared(rows, full="physics")
    complete = not smoke and set(config.objectives) == set(shared.OBJECTIVES) and config.seeds >= shared.SEEDS
    folder = config.output or (shared.RESULTS if complete else config.run)
    name = "table1.json" if config.data == "small" else f"table1-{config.data}.json"
    shared.write(folder, name, {"n_molecules": len(structures), "seeds": seeds, "rows": rows})
    tables.draw(folder, name.replace(".json", ".png"), {"of the row": rows}, tables.PAPER_1)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        sys.exit(f"error: {error}")
