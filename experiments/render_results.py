"""Render the tables of trainings in README.md and docs/results.md from the summary.json files of runs.

    python experiments/render_results.py                 # of docs/results/*.json

README.md has five of the columns, without the rows of objectives that lack one loss. With --check nothing is
written: the exit status says whether the tables are up to date.
"""

import dataclasses
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import tyro
from pages import RESULTS, finish, insert, read_json, stored

HEADS = (
    *("training", "MAE_E meV", "MAE_F eV/Å", "ΔP Å", "ΔP < 0.1 Å", "rise / GFN2-xTB, σ = 0.05 Å"),
    *("force correlation, σ = 0.05 Å", "the same, σ = 0.1 Å", "minutes of training", "minutes in all"),
)
SHORT = {0: "training", 1: "MAE_E meV", 3: "ΔP Å", 4: "ΔP < 0.1 Å", 6: "force correlation"}  # of README.md
GOALS = {
    "default": ("≤ 45", "", "≤ 0.045", "≥ 92 %", "", "", "", "", "≤ 12"),
    "best-cpu": ("≤ 20", "", "≤ 0.02", "≥ 99 %", "", "", "", "", "≤ 90"),
}
PRESETS = ("default", "best-cpu", "qm9-gpu")
OBJECTIVES = ("physics", "physics-no-bound", "paper", "paper-no-bound", "energy-only")
PAGE_ONLY = ("physics-no-bound", "paper-no-bound")  # objectives that README.md leaves to docs/results.md


@dataclasses.dataclass(frozen=True)
class Config:
    """Which runs to show, and where."""

    summaries: tyro.conf.Positional[tuple[Path, ...]] = dataclasses.field(default_factory=stored)
    """summary.json files; runs that differ only in their seed share a row."""
    readme: Path = Path(__file__).parents[1] / "README.md"
    """File with the short table between its two markers."""
    page: Path = RESULTS.parent / "results.md"
    """The same for the whole table."""
    check: bool = False
    """Write nothing; exit with status 1 where a table is not what the summaries give."""

    def __post_init__(self):
        if not self.summaries:
            raise ValueError("summaries must be at least one file, got none")


@dataclasses.dataclass(frozen=True)
class Run:
    """What the table says about one run."""

    path: Path
    group: tuple  # preset, objective, epochs, data
    seed: int
    device: str
    values: tuple[float | None, ...]  # one per column after the first


def entry(record, where, *keys: str):
    """record[key][key]…; `where` is what an error names."""
    for depth, key in enumerate(keys, start=1):
        if not isinstance(record, dict) or key not in record:
            raise ValueError(f"{where} must have the key {'.'.join(keys[:depth])}, got none")
        record = record[key]
    return record


def number(record, where, *keys: str) -> float:
    """The same, where nothing but a finite number will do."""
    value = entry(record, where, *keys)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not np.isfinite(value):
        raise ValueError(f"{where}: {'.'.join(keys)} must be a finite number, got {value!r}")
    return float(value)


def row_at(record, where, *keys: str, **wanted: float) -> dict:
    """The one of a list of rows whose entries are the wanted ones."""
    rows = entry(record, where, *keys)
    for row in rows if isinstance(rows, list) else ():
        if all(
            np.isclose(number(row, f"{where}: a row of {'.'.join(keys)}", k), v) for k, v in wanted.items()
        ):
            return row
    raise ValueError(f"{where}: {'.'.join(keys)} must have a row with {wanted}, got none")


def read(path: Path) -> Run:
    """One run, from its summary.json."""
    record = read_json(path, "summaries")
    recovery = row_at(record, path, "recovery", "rows", sigma=0.1, fmax=0.01)
    values = (
        number(record, path, "test", "mae_energy_mev"),
        number(record, path, "test", "mae_force_ev_per_angstrom"),
        number(recovery, f"{path}: recovery.rows", "distance", "mean"),
        100 * number(recovery, f"{path}: recovery.rows", "recovered"),
        *judged(record, path),
        number(record, path, "seconds", "train") / 60,
        number(record, path, "seconds", "total") / 60,
    )
    keys = ("preset",), ("objective",), ("epochs",), ("data", "name")
    group = tuple(entry(record, path, *key) for key in keys)
    return Run(path, group, int(number(record, path, "seed")), str(entry(record, path, "device")), values)


def judged(record: dict, path: Path) -> list[float | None]:
    """Rise ratio and force correlations; None for what was not compared, or is undefined."""
    if entry(record, path, "xtb") is None:
        return [None, None, None]
    near, far = (row_at(record, path, "xtb", "sigmas", sigma=sigma) for sigma in (0.05, 0.1))
    wanted = ((near, "median_rise_ratio"), (near, "force_correlation"), (far, "force_correlation"))
    where = f"{path}: xtb.sigmas"
    return [None if entry(row, where, key) is None else number(row, where, key) for row, key in wanted]


def rows(runs: Sequence[Run]) -> list[list[str]]:
    """The cells of the table; goals of a preset stand above its runs."""
    groups = sorted({run.group for run in runs}, key=order)
    several = len({group[3] for group in groups}) > 1
    cells, last = [], None
    for group in groups:
        if group[0] != last and group[0] in GOALS:
            cells.append([f"*goal of `{group[0]}`*", *GOALS[group[0]]])
        last = group[0]
        cells.append(group_row(group, [run for run in runs if run.group == group], several))
    return cells


def table(cells: Sequence[Sequence[str]], columns: dict[int, str]) -> str:
    """The chosen columns, number -> head, as markdown."""
    head = [line(columns.values()), line(["---"] + ["---:"] * (len(columns) - 1))]
    return "\n".join([*head, *(line(row[index] for index in columns) for row in cells)])


def devices(runs: Sequence[Run]) -> str:
    """What JAX ran on, below the whole table."""
    names = ", ".join(sorted({run.device for run in runs}))
    return f"Devices of JAX: {names}, all cores of a processor being one."


def order(group: tuple) -> tuple:
    """The known presets and objectives first, then by name; within them by epochs and data."""
    preset, objective = (
        (known.index(name) if name in known else len(known), name)
        for name, known in zip(group, (PRESETS, OBJECTIVES))
    )
    return preset, objective, *group[2:]


def group_row(group: tuple, runs: Sequence[Run], with_data: bool) -> list[str]:
    """One row of the table: the seeds of one training."""
    seeds = sorted(run.seed for run in runs)
    if len(set(seeds)) < len(seeds):
        files = ", ".join(str(run.path) for run in runs)
        raise ValueError(f"seeds of one training must differ, got {seeds} in {files}")
    preset, objective, epochs, data = group
    label = f"`{preset}`, {objective}, {epochs} epochs" + (f", {data}" if with_data else "")
    label += f" (n = {len(runs)})" if len(runs) > 1 else ""
    columns = list(zip(*(run.values for run in runs)))
    cells = [
        cell(values, digits, " %" if index == 3 else "")
        for index, (digits, values) in enumerate(zip((1, 3, 3, 0, 2, 2, 2), columns))
    ]
    return [label, *cells, *(f"{min(minutes):.1f}" for minutes in columns[-2:])]


def cell(values: Iterable[float | None], digits: int, unit: str) -> str:
    """Mean ± sample standard deviation; the number of values where some runs have none."""
    values = list(values)
    known = [value for value in values if value is not None]
    if not known:
        return "–"
    text = f"{np.mean(known):.{digits}f}"
    if len(known) > 1:
        text += f" ± {np.std(known, ddof=1):.{digits}f}"
    return text + unit + (f" (n = {len(known)})" if len(known) < len(values) else "")


def line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def main(config: Config) -> None:
    """Render, then write or compare."""
    runs = [read(path) for path in config.summaries]
    whole = table(rows(runs), dict(enumerate(HEADS))) + "\n\n" + devices(runs)
    short = table(rows([run for run in runs if run.group[1] not in PAGE_ONLY]), SHORT)
    tables = {config.readme: ("results", short), config.page: ("trainings", whole)}
    pages = {page: insert(page.read_text("utf-8"), *named, page) for page, named in tables.items()}
    for page, text in pages.items():
        finish(page, text, check=config.check, command="experiments/render_results.py")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
