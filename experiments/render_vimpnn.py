"""Render the tables of docs/vimpnn.md from the JSON files of the vimpnn_*.py scripts, beside the paper's.

    python experiments/render_vimpnn.py

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import tyro
from bench_timing import table
from pages import finish, insert, number
from seeds import NONE, shown
from vimpnn_orderings import judged
from vimpnn_paper import PAPER
from vimpnn_tables import COUNTS, RESULTS

GOALS = (
    ("augmented-qm9", "re", 0.0008),
    ("augmented-qm9", "dsc", 0.033),
    ("crystal-growth-stable", "re", 0.0016),
    ("crystal-growth-unstable", "dsc", 0.16),
)
GOAL_MODELS = ("VIMPNN", "VIMPNN, b.i (ours)")
LABELS = {"re": "RE", "dsc": "DSC Å"}


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the results are, and the page."""

    results: Path = RESULTS
    """Folder of JSON files."""
    page: Path = Path(__file__).parents[1] / "docs" / "vimpnn.md"
    """File with a pair of markers for every table."""
    check: bool = False
    """Write nothing; exit with status 1 where the page is not what the files give."""


def in_milli(values: dict[str, Any]) -> dict[str, Any]:
    """Mean and standard deviation times 1,000."""
    return {name: values[name] and 1e3 * values[name] for name in ("mean", "std")}


def rows_of(name: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per model: ours, then the paper's."""
    made, counts = [], counts_of(record["rows"])
    for model, row in record["rows"].items():
        paper = PAPER.get(name, {}).get(model, (None, None, None))
        published = ["–" if value is None else f"{value:g}" for value in paper]
        made.append(
            {
                "model": model,
                "MAE eV": shown(row["mae"], 3),
                "meV/atom": shown(in_milli(row["mae_per_atom"]), 1),
                "MSE eV²": shown(row["mse"], 3),
                "RE": shown(row["re"], 5),
                "RE, std over points": number(row["std_over_points"]["re"], 5),
                "DSC Å": shown(row["dsc"], 4),
                "MAE eV, between": shown(row.get("mae_between", NONE), 3),
                "DSC Å, between": shown(row.get("dsc_between", NONE), 4),
                **{title: str(row.get(name, 0)) for name, title in counts.items()},
                "paper: MAE": published[0],
                "RE ": published[1],
                "DSC": published[2],
                "seeds": row["seeds"],
                "epochs": ", ".join(map(str, sorted(set(row["epochs"])))),
                "minutes": f"{row['minutes']:.0f}",
            }
        )
    return made


def counts_of(rows: dict[str, Any]) -> dict[str, str]:
    """What some row of a table has any of: key -> title of its column; no set without curves misses them."""
    curves = any(row["dsc"]["mean"] is not None for row in rows.values())
    known = {
        f"{name}{place}": f"{name[2:].replace('_', ' ')}{', between' if place else ''}"
        for name in COUNTS
        if curves or name != "n_without_curve"
        for place in ("", "_between")
    }
    return {key: title for key, title in known.items() if any(row.get(key) for row in rows.values())}


def section(name: str, record: dict[str, Any]) -> str:
    """The table of one file, and what was calculated with what."""
    if name == "sizes":
        rows = [
            {
                "training": title,
                "model": model,
                **{f"MAE eV, {key} atoms": value for key, value in means.items()},
            }
            for title, models in record["mae_by_size"].items()
            for model, means in models.items()
        ]
        return table(rows)
    if "rows" in record and isinstance(record["rows"], list):
        ratios = [{"ratio": key, "measured": value} for key, value in record["ratios"].items()]
        environment = record["environment"]
        machine = f"{environment['cpu']}, jax {environment['packages']['jax']}."
        return "\n\n".join([table(record["rows"]), table(ratios), machine])
    provenance = record["data"]["provenance"]
    made_with = (
        f"Labels: {provenance['engine']} {provenance['version']}; trained with style `{record['style']}`."
    )
    return f"{table(rows_of(name, record))}\n\n{made_with}"


def goals(results: Path) -> str:
    """The goals of the project, and whether VIMPNN reaches them, by the paper's channels and by our best.

    "Better than MPNN" is judged at the scales of the training, and for DSC between them, too.
    """
    rows = []
    for name, metric, limit in GOALS:
        found = json.loads((results / f"table2-{name}.json").read_text("utf-8"))["rows"]
        digits = 4 if metric == "dsc" else 5
        for model in (model for model in GOAL_MODELS if model in found):
            (ours, theirs), (ours_between, theirs_between) = (
                [found[one].get(key, NONE) for one in (model, "MPNN")]
                for key in (metric, f"{metric}_between")
            )
            rows.append(
                {
                    "set": name,
                    "metric": LABELS[metric],
                    "goal": f"≤ {limit:g}",
                    "model": model,
                    "ours": shown(ours, digits),
                    "reached": verdict(ours["mean"], limit, equal=True),
                    "MPNN": shown(theirs, digits),
                    "better than MPNN": verdict(ours["mean"], theirs["mean"]),
                    "ours, between": shown(ours_between, digits),
                    "MPNN, between": shown(theirs_between, digits),
                    "better, between": verdict(ours_between["mean"], theirs_between["mean"]),
                }
            )
    return table(rows)


def verdict(ours: float | None, limit: float | None, *, equal: bool = False) -> str:
    """Whether ours is smaller; a dash where one of the two is not known.

    >>> verdict(0.1, 0.2), verdict(0.2, 0.2), verdict(0.2, 0.2, equal=True), verdict(None, 0.2)
    ('yes', '**no**', 'yes', '–')
    """
    if ours is None or limit is None:
        return "–"
    return "yes" if ours < limit or (equal and ours == limit) else "**no**"


def main(config: Config) -> None:
    """Render, then write or compare."""
    made = config.page.read_text("utf-8")
    files = [
        file
        for kind in ("table*", "s*", "engines*", "bench")
        for file in sorted(config.results.glob(f"{kind}.json"))
    ]
    for file in files:
        made = insert(made, file.stem, section(file.stem, json.loads(file.read_text("utf-8"))), config.page)
    made = insert(made, "goals", goals(config.results), config.page)
    made = insert(made, "orderings", table(judged(config.results)), config.page)
    finish(config.page, made, check=config.check, command="experiments/render_vimpnn.py")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
