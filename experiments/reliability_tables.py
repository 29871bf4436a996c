"""Tables 1 and 2 of Yi et al., of fits and geometries: spreads, comparisons, a figure, published numbers."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import seeds
from bench_timing import table
from pages import number

from jphys import figures

# Yi et al., table 2: MAE_E meV, MAE_F eV/Å, ΔP Å on the whole of QM9; the name of row 6 is our reading.
PAPER_2 = {
    "1": (11.83, 0.77, 1.76),
    "2": (9.03, 0.90, 1.11),
    "3": (9.70, 1.91, 0.814),
    "4": (10.18, 0.016, 0.141),
    "5": (16.34, 0.007, 0.038),
    "6": (20.67, 0.004, 0.022),
    "7": (17.50, 0.005, 0.027),
    "8": (17.34, 0.013, 0.044),
    "9": (9.65, 0.015, 0.083),
    "10": (15.16, 0.005, 0.025),
}
# Table 1 of the same paper, and row 9 of table 2, which has all but the bound.
PAPER_1 = {
    "paper": (15.16, 0.0057, 0.0251),
    "paper-no-bound": PAPER_2["9"],
    "energy-only": (8.35, 1.28, 1.23),
}


def spread(found: Sequence[dict[str, float | None]]) -> dict[str, dict[str, Any]]:
    """`seeds.spread` of every number; None where a seed has none."""
    names = dict.fromkeys(name for one in found for name in one)
    return {name: seeds.spread([one.get(name) for one in found]) for name in names}


def means(columns: dict[str, dict[str, Any]]) -> dict[str, float | None]:
    """The means of `spread`, to be printed."""
    return {name: None if c["mean"] is None else round(c["mean"], 3) for name, c in columns.items()}


def draw(folder: Path, name: str, families: dict[str, dict], paper: dict[str, tuple]) -> None:
    """MAE_F against ΔP of every training, and of the paper's models."""

    def points(rows: dict[str, dict]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        found = {}
        for label, columns in rows.items():
            both = zip(columns["mae_force"]["values"], columns["distance"]["values"])
            known = np.array([pair for pair in both if None not in pair])
            found |= {label: (known[:, 0], known[:, 1])} if len(known) else {}
        return found

    theirs = {label: (np.array([force]), np.array([end])) for label, (_, force, end) in paper.items()}
    shown = {f"objective {family}": points(rows) for family, rows in families.items()}
    shown |= {"paper: QM9": theirs}
    figures.force_and_distance(shown, folder / name)


def compared(rows: dict[str, dict[str, dict[str, Any]]], full: str) -> None:
    """Adds to every column of `spread` the p-value of `seeds.paired_p` against the same one of row `full`;
    None for that row itself."""
    for name, columns in rows.items():
        for key, column in columns.items():
            of_full = rows.get(full, {}).get(key, seeds.NONE)["values"]
            column["p"] = None if name == full else seeds.paired_p(column["values"], of_full)


def fitted(record: dict[str, Any]) -> str:
    """fit_to_experiment.py: a row per number that was fitted, and below them what else was measured."""
    rows = []
    for part, found in record["parts"].items():
        ends = [(one["name"], one["measured"], one["steps"][0], one["steps"][-1]) for one in found["values"]]
        ends += [(name, None, *both) for name, both in found["rest"].items()]
        for name, true, *both in ends:
            before, after = (f"{value:.4g}" for value in both)
            measured = {"measured": "" if true is None else f"{true:.4g}"}
            rows.append({"model of": part, "number": name} | measured | {"before": before, "after": after})
    return table(rows)


def geometries(record: dict[str, Any]) -> str:
    """geometry.py: a row per surface, heavy-atom deviations by size."""
    rows = []
    for name, found in record["surfaces"].items():
        row: dict[str, Any] = {"surface": name}
        for one in found["sizes"]:
            heavy = f"{one['heavy']['median']:.3f} ({one['heavy']['mean']:.3f})"
            row[f"heavy atoms, {one['heavy_atoms']} of them, Å"] = heavy
        everything = found["sizes"][-1]
        row["all atoms, Å"] = f"{everything['every']['median']:.3f} ({everything['every']['mean']:.3f})"
        row["another conformer"] = f"{100 * everything['other']:.0f} %"
        row |= {"other bonds": everything["broken"], "s per molecule": number(found["seconds"], 3)}
        rows.append(row | {"n": everything["n"]})
    return table(rows)


def conformers(record: dict[str, Any]) -> str:
    """geometry.py: a row per surface that was asked about conformers."""
    rows = []
    for name, surface in record["surfaces"].items():
        asked = surface.get("conformers", [])
        ranks = [one["rank"] for one in asked if one["rank"] is not None]
        errors = [(one["mae"], one["size"]) for one in asked if one["mae"] is not None]
        if not errors:
            continue
        mean, median = (float(f(ranks)) if ranks else None for f in (np.mean, np.median))
        row = {"surface": name, "rank correlation, mean": number(mean, 2), "median": number(median, 2)}
        mae, size = 1000 * np.mean(errors, axis=0)
        row |= {"MAE meV": f"{mae:.0f} of {size:.0f}", "molecules": f"{len(errors)} of {len(asked)}"}
        rows.append(row | {"conformers": sum(one["n"] for one in asked)})
    return table(rows) if rows else ""
