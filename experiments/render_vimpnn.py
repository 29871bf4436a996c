"""Render the tables of docs/vimpnn.md from the JSON files of the vimpnn_*.py scripts, beside the paper's.

    python experiments/render_vimpnn.py

With --check nothing is written: the exit status says whether the page is up to date.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import tyro
from bench_timing import table
from pages import finish, insert
from vimpnn_runs import RESULTS

# Of the paper, "mean (std over test points)" without the std: MAE, RE, DSC in its own unit of energy.
PAPER: dict[str, dict[str, tuple[float | None, ...]]] = {
    "table1": {
        "no bond type": (0.220, 0.0027, None),
        "MPNN": (0.091, 0.0012, None),
        "a.ii": (0.067, 0.0009, None),
        "# atoms": (0.171, 0.0021, None),
        "# orbitals": (0.195, 0.0025, None),
        "scale": (0.119, 0.0015, None),
    },
    "table2-augmented-qm9": {"MPNN": (0.091, 0.0012, 0.039), "VIMPNN": (0.065, 0.0008, 0.033)},
    "table2-infinite-crystal": {"MPNN": (0.034, 0.0012, 0.201), "VIMPNN": (0.034, 0.0015, 0.048)},
    "table2-crystal-growth-stable": {"MPNN": (2.906, 0.0047, None), "VIMPNN": (0.513, 0.0016, None)},
    "table2-crystal-growth-unstable": {"MPNN": (3.447, 0.0058, 0.497), "VIMPNN": (2.387, 0.0042, 0.162)},
    "table3": {
        "a.i": (0.1214, 0.0016, None),
        "a.ii": (0.0670, 0.0009, None),
        "b.i": (0.1816, 0.0023, None),
        "b.ii": (0.1079, 0.0012, None),
        "c": (0.1144, 0.0015, None),
    },
    "table4": {
        "a.ii + atoms": (0.0690, 0.0009, None),
        "a.ii + orbitals": (0.0796, 0.0009, None),
        "a.ii + scale": (0.0742, 0.0010, None),
    },
    "table5": {
        "VIMPNN, T = 1": (0.1860, 0.0026, None),
        "VIMPNN, T = 3": (0.0646, 0.0008, None),
        "VIMPNN, T = 8": (0.0944, 0.0013, None),
        "MPNN, T = 1": (0.1737, 0.0024, None),
        "MPNN, T = 3": (0.0909, 0.0012, None),
        "MPNN, T = 8": (0.5550, 0.0077, None),
    },
}
GOALS = (
    ("augmented-qm9", "re", 0.0008),
    ("augmented-qm9", "dsc", 0.033),
    ("crystal-growth-stable", "re", 0.0016),
    ("crystal-growth-unstable", "dsc", 0.16),
)
GOAL_MODELS = ("VIMPNN", "VIMPNN, b.i (ours)")
LABELS = {"re": "RE", "dsc": "DSC Å"}
NONE: dict[str, Any] = {"mean": None, "std": None}


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the results are, and the page."""

    results: Path = RESULTS
    """Folder of JSON files."""
    page: Path = Path(__file__).parents[1] / "docs" / "vimpnn.md"
    """File with a pair of markers for every table."""
    check: bool = False
    """Write nothing; exit with status 1 where the page is not what the files give."""


def spread(values: dict[str, Any], digits: int) -> str:
    """Mean ± standard deviation over the seeds."""
    if values["mean"] is None:
        return "–"
    text = f"{values['mean']:.{digits}f}"
    return text if values["std"] is None else f"{text} ± {values['std']:.{digits}f}"


def rows_of(name: str, record: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per model: ours, then the paper's."""
    made = []
    for model, row in record["rows"].items():
        paper = PAPER.get(name, {}).get(model, (None, None, None))
        shown = ["–" if value is None else f"{value:g}" for value in paper]
        made.append(
            {
                "model": model,
                "MAE eV": spread(row["mae"], 3),
                "meV/atom": spread({k: v and 1e3 * v for k, v in row["mae_per_atom"].items()}, 1),
                "MSE eV²": spread(row["mse"], 3),
                "RE": spread(row["re"], 5),
                "RE, std over points": f"{row['std_over_points']['re']:.5f}",
                "DSC Å": spread(row["dsc"], 4),
                "MAE eV, between": spread(row.get("mae_between", NONE), 3),
                "DSC Å, between": spread(row.get("dsc_between", NONE), 4),
                "paper: MAE": shown[0],
                "RE ": shown[1],
                "DSC": shown[2],
                "seeds": row["seeds"],
                "epochs": ", ".join(map(str, sorted(set(row["epochs"])))),
                "minutes": f"{row['minutes']:.0f}",
            }
        )
    return made


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
    """The goals of the project, and whether VIMPNN reaches them, by the paper's channels and by our best."""
    rows = []
    for name, metric, limit in GOALS:
        found = json.loads((results / f"table2-{name}.json").read_text("utf-8"))["rows"]
        theirs, digits = found["MPNN"][metric], 4 if metric == "dsc" else 5
        for model in (model for model in GOAL_MODELS if model in found):
            ours = found[model][metric]
            rows.append(
                {
                    "set": name,
                    "metric": LABELS[metric],
                    "goal": f"≤ {limit:g}",
                    "model": model,
                    "ours": spread(ours, digits),
                    "reached": "yes" if ours["mean"] <= limit else "**no**",
                    "MPNN": spread(theirs, digits),
                    "better than MPNN": "yes" if ours["mean"] < theirs["mean"] else "**no**",
                }
            )
    return table(rows)


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
    finish(config.page, made, check=config.check, command="experiments/render_vimpnn.py")


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
