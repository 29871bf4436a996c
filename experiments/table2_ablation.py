"""Table 2 of Yi et al.: what each constraint buys, with the paper's literal losses and with the default ones.

    python experiments/table2_ablation.py                  # ten rows, both objectives, three seeds
    taskset -c 0 python experiments/table2_ablation.py --rows 1 7 8 9 10    # half of them on each core first:
    taskset -c 1 python experiments/table2_ablation.py --rows 2 3 4 5 6     # 2.4 hours, other work beside
    python experiments/table2_ablation.py --objectives physics --rows 3 4 5 6 7 8 9 10 --stored   # anew
    python experiments/table2_ablation.py --data qm9-full --source dsgdb9nsd.xyz.tar.bz2 --preset full

Molecules with at most 6 heavy atoms (783), 80/5/15. Rows 1 and 2 know energies only and are trained once;
the parametric energy of the default objective (rows 3 to 10) has terms of angles and torsions beside pairs.
With --stored the table of docs/results stands where nothing else is asked for.
"Force" is the force at stable structures in the paper's objective; the restoring force and the curvature of
the prior and the Morse curves of two atoms in the default one. Expected: MAE_F 0.016 eV/Å with the literal
force loss, 0.2 without; ΔP 0.12 Å in the default objective and above 0.5 Å in the literal one. A stopped
table goes on with the same command. Writes runs/table2/<data>-<preset>/<objective>-<row>-<seed>/ and
docs/results/reliability/table2.json.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal, NamedTuple

import reliability_runs as shared
import reliability_tables as tables
import tyro

from jphys.allocation import keep_freed_memory
from jphys.compiling import compile_quickly
from jphys.data import sources
from jphys.losses import ENERGY_ONLY, PAPER, PHYSICS, Objective
from jphys.models import TransformerConfig
from jphys.training.config import TERMS, ReportConfig, TrainConfig, with_own_model


class Row(NamedTuple):
    """What a model of the table has."""

    name: str
    cls: bool
    pairs: bool  # LJP, the parametric pair energy
    mask: bool
    force: bool
    bound: bool


ROWS = {
    1: Row("Base", False, False, False, False, False),
    2: Row("Base + [CLS]", True, False, False, False, False),
    3: Row("LJP + Mask", True, True, True, False, False),
    4: Row("LJP + Force", True, True, False, True, False),
    5: Row("LJP + Bound", True, True, False, False, True),
    6: Row("full − [CLS]", False, True, True, True, True),
    7: Row("full − Mask", True, True, False, True, True),
    8: Row("full − Force", True, True, True, False, True),
    9: Row("full − Bound", True, True, True, True, False),
    10: Row("full", True, True, True, True, True),
}
FORCES = ("zero_force", "restore", "curvature", "diatomics")  # all that learns from forces
FAMILIES = {"paper": PAPER, "physics": PHYSICS}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which rows, how large, where."""

    rows: tuple[int, ...] = tuple(ROWS)
    """Numbers in the paper."""
    objectives: tuple[str, ...] = tuple(FAMILIES)
    """Families of losses."""
    stored: bool = False
    """Rows and objectives that are not asked for are those of the table in docs/results."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: molecules of at most 6 heavy atoms, a small model, one epoch, one seed."""
    data: Literal["small", "qm9-full"] = "small"
    """small: the shipped molecules of at most 6 heavy atoms; qm9-full: the whole set."""
    source: Path | None = None
    """For qm9-full: the official tar, a folder of its xyz files, or an npz; otherwise it is downloaded."""
    seeds: int = 3
    """Trainings per row; the seed also splits the data."""
    epochs: int = 60
    """Passes over the training part."""
    run: Path = Path("runs/table2")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of the table; where not given docs/results/reliability for a whole table of three or more seeds,
    for others that of the trainings."""

    def __post_init__(self):
        for name in ("seeds", "epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.source is not None and self.data != "qm9-full":
            raise ValueError(f"source must go with the data qm9-full, got {self.source} for {self.data!r}")
        unknown = [row for row in self.rows if row not in ROWS]
        if unknown or not self.rows:
            raise ValueError(f"rows must be of 1 to {len(ROWS)}, got {unknown or 'none'}")
        if not self.objectives or set(self.objectives) - set(FAMILIES):
            raise ValueError(f"objectives must be of {', '.join(FAMILIES)}, got {self.objectives or 'none'}")
        asked = (self.preset, self.data, self.seeds, self.epochs)
        if self.stored and asked != ("full", "small", shared.SEEDS, 60):
            raise ValueError(
                f"stored must go with the table in docs/results (full, small, {shared.SEEDS} seeds, 60 "
                f"epochs), got {', '.join(map(str, asked))}"
            )


def model_of(row: Row, *, small: bool) -> TransformerConfig:
    """The network of a row, with the parametric terms of the default objective's where it has any."""
    readout = "pairs" if row.pairs else "cls" if row.cls else "atoms"
    size: dict[str, Any] = {"channels": 16, "blocks": 1, "heads": 4, "n_basis": 16} if small else {}
    terms = TERMS if row.pairs else ()
    return TransformerConfig(readout=readout, cls_token="full" if row.cls else "none", terms=terms, **size)


def losses_of(row: Row, family: Objective) -> Objective:
    """The objective without what the row does not have."""
    if not (row.mask or row.force or row.bound):
        return ENERGY_ONLY
    without: dict[str, float] = {} if row.mask else {"mask": 0.0}
    without |= {} if row.force else dict.fromkeys(FORCES, 0.0)
    without |= {} if row.bound else {"bound": 0.0}
    return family.weighted(**without)


def train_config(config: Config, row: Row, family: str, seed: int) -> TrainConfig:
    """One training of the table."""
    smoke = config.preset == "smoke"
    report = ReportConfig(sigmas=(0.1,), fmaxes=(0.01,))
    if smoke:
        report = ReportConfig(molecules=4, sigmas=(0.1,), fmaxes=(0.01,), max_steps=20, xtb_molecules=0)
    asked = TrainConfig(
        preset=f"table2-{config.preset}",
        objective=family,
        data=config.data,
        seed=seed,
        epochs=1 if smoke else config.epochs,
        batch_size=32 if smoke else 16,
        model=model_of(row, small=smoke),
        losses=losses_of(row, FAMILIES[family]),
        report=report,
    )
    return with_own_model(asked, family)


def main(config: Config) -> None:
    """Train what is missing, write the table, print it."""
    keep_freed_memory()
    smoke = config.preset == "smoke"
    if smoke:  # compiling is most of what it does
        compile_quickly()
    if config.data == "qm9-full":
        structures = sources.load("qm9", config.source)
    else:
        structures = shared.molecules(6)
    seeds, epochs = (1, 1) if smoke else (config.seeds, config.epochs)
    families: dict[str, dict[str, Any]] = {family: {} for family in config.objectives}
    for family, rows in families.items():
        for number in config.rows:
            row, found = ROWS[number], []
            start = family if row.pairs else "energy"
            for seed in range(seeds):
                folder = config.run / f"{config.data}-{config.preset}" / f"{start}-{number}-{seed}"
                chosen = train_config(config, row, family if row.pairs else "paper", seed)
                found.append(shared.numbers(shared.trained(folder, chosen, structures)))
            rows[str(number)] = {"name": row.name, "columns": tables.spread(found)}
            print(f"{family:8s} {number:2d} {row.name:14s} {tables.means(rows[str(number)]['columns'])}")
    if config.stored:  # read at the end: another process may have written its rows meanwhile
        known = json.loads((shared.RESULTS / "table2.json").read_text("utf-8"))["families"]
        families = {family: known[family] | families.get(family, {}) for family in known}
    for rows in families.values():
        tables.compared({number: row["columns"] for number, row in rows.items()}, full="10")
    complete = set(families) == set(FAMILIES) and all(len(rows) == len(ROWS) for rows in families.values())
    whole = not smoke and complete and config.seeds >= shared.SEEDS
    folder = config.output or (shared.RESULTS if whole else config.run)
    name = f"table2-{config.data}.json" if config.data != "small" else "table2.json"
    record = {"n_molecules": len(structures), "epochs": epochs, "seeds": seeds}
    shared.write(folder, name, record | {"families": families})
    columns = {
        family: {label: row["columns"] for label, row in rows.items()} for family, rows in families.items()
    }
    tables.draw(folder, name.replace(".json", ".png"), columns, tables.PAPER_2)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ConnectionError) as error:
        sys.exit(f"error: {error}")
