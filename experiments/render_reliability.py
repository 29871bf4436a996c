"""Render the tables of docs/results.md from the JSON files of the reliability scripts, beside the paper's.

    python experiments/render_reliability.py

With --check nothing is written: the exit status says whether the page is up to date. A table whose file is
not there yet stays empty.
"""

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import tyro
from bench_timing import table
from pages import finish, insert, number
from reliability_runs import RESULTS
from reliability_tables import PAPER_1, PAPER_2, conformers, fitted, geometries
from seeds import shown

NAMES = ("table1", "table2", "fig2", "fig3", "fig5", "truth", "second", "fit-to-experiment", "geometry")


@dataclasses.dataclass(frozen=True)
class Config:
    """Where the results are, and the page."""

    results: Path = RESULTS
    """Folder of JSON files."""
    page: Path = Path(__file__).parents[1] / "docs" / "results.md"
    """File with a pair of markers for every table."""
    check: bool = False
    """Write nothing; exit with status 1 where the page is not what the files give."""


def columns(found: dict[str, Any]) -> dict[str, str]:
    """The columns of tables 1 and 2."""
    made = {
        "MAE_E meV": shown(found["mae_energy_mev"], 1),
        "MAE_F eV/Å": shown(found["mae_force"], 3),
        "ΔP Å": shown(found["distance"], 3),
        "ΔP < 0.1 Å": shown(found["recovered"], 2),
    }
    if "rise_ratio" in found:
        made["rise / GFN2-xTB"] = shown(found["rise_ratio"], 2)
        made["force correlation"] = shown(found["force_correlation"], 3)
    return made


def published(numbers: tuple[float, float, float] | None) -> dict[str, str]:
    """The paper's columns, empty where it has no such model."""
    names = "paper: MAE_E", "MAE_F", "ΔP"
    return {name: "" if numbers is None else f"{numbers[i]:g}" for i, name in enumerate(names)}


def table1(record: dict[str, Any]) -> str:
    """A row per objective, the paper's numbers beside."""
    return table(
        [
            {"objective": name, **columns(found), **published(PAPER_1.get(name))}
            for name, found in record["rows"].items()
        ]
    )


def table2(record: dict[str, Any]) -> str:
    """A row per model and objective, the paper's numbers beside."""
    rows = []
    for family, found in record["families"].items():
        for label, row in found.items():
            rows.append({"objective": family, "row": label, "model": row["name"], **columns(row["columns"])})
            rows[-1] |= published(PAPER_2[label])
    return table(rows)


def fig2(record: dict[str, Any]) -> str:
    """A row per surface, displaced by 0.1 Å and not at all."""
    rows = []
    for name, found in record["surfaces"].items():
        still, moved = found["rows"][0], found["rows"][-1]
        rows.append(
            {
                "surface": name,
                "ΔP Å, mean": f"{moved['distance']['mean']:.3f}",
                "median": f"{moved['distance']['median']:.3f}",
                "< 0.1 Å": f"{100 * moved['recovered']:.0f} %",
                "ΔE_g eV, median": number(moved["energy_gap"]["median"], 3),
                "failed": moved["n_failed"],
                "ΔP Å from σ = 0, mean": f"{still['distance']['mean']:.3f}",
            }
        )
    return table(rows)


def fig3(record: dict[str, Any]) -> str:
    """A row per surface: success with Wilson's interval."""
    rows = []
    for name, found in record["surfaces"].items():
        row: dict[str, Any] = {"surface": name}
        for one in found:
            interval = f"{100 * one['low']:.0f}–{100 * one['high']:.0f}"
            row[f"{one['molecules']} %"] = f"{100 * one['success']:.0f} ({interval})"
        row |= {"bonds restored": f"{100 * found[0]['restored']:.0f} %"}
        rows.append(row | {"ΔP Å, median": f"{found[0]['distance']:.3f}", "n": found[0]["n"]})
    return table(rows)


def fig5(record: dict[str, Any]) -> str:
    """A row per way of hiding atoms."""
    return table(
        [
            {
                "hidden": name,
                "atoms": one["n"],
                "top-1": f"{100 * one['top1']:.2f} %",
                "always the commonest": f"{100 * one['baseline']:.1f} %",
                "−log p": f"{one['nll']:.4f}",
                "by frequency": f"{one['nll_baseline']:.4f}",
            }
            for name, one in record["accuracy"].items()
        ]
    )


def truth(record: dict[str, Any]) -> str:
    """A row per surface."""
    rows = []
    for name, found in record["surfaces"].items():
        row: dict[str, Any] = {"surface": name}
        for one in found["displaced"]:
            row[f"rise ratio, σ = {one['sigma']}"] = number(one["median_rise_ratio"], 2)
            errors = number(one["force_mae"], 2), number(one["force_size"], 2)
            row[f"force MAE, σ = {one['sigma']}"] = " of ".join(errors)
            follows = number(one["force_correlation"], 3), number(one["force_slope"], 2)
            row[f"correlation, slope, σ = {one['sigma']}"] = ", ".join(follows)
        for kind in ("torsion", "stretch"):
            if kind in found:
                errors = number(found[kind]["mae"], 2), number(found[kind]["size"], 2)
                row[f"{kind} MAE eV"] = " of ".join(errors)
        if "frequencies" in found:
            judged = found["frequencies"]
            row["frequencies: MAE, bias cm⁻¹"] = f"{number(judged['mae'], 0)}, {number(judged['bias'], 0)}"
            row["imaginary"] = f"{judged['n_imaginary']} of {judged['n']}"
        row["points without an answer"] = str(found["n_unanswered"])
        rows.append(row)
    return table(rows)


def audits(folder: Path) -> str:
    """A row per check, a column per audit that is stored as audit-<subject>.json."""
    records = [json.loads(file.read_text("utf-8")) for file in sorted(folder.glob("audit-*.json"))]
    rows: dict[str, dict[str, str]] = {}
    for record in records:
        for check in record["checks"]:
            row = rows.setdefault(check["name"], {"check": check["name"], "limit": ""})
            if "error" not in check["details"]:
                most = check.get("most")
                limit = f"{check['limit']:g}" if most is None else f"{check['limit']:g}–{most:g}"
                row["limit"] = f"{limit} {check['unit']}".strip()
            value = "no answer" if check["value"] is None else f"{check['value']:.2g}"
            row[record["subject"]] = value if check["passed"] else f"**{value}**"
    return table(list(rows.values())) if rows else ""


def stored(folder: Path, name: str) -> dict[str, Any]:
    """The record of that name, with the surfaces of <name>-<surface>.json, which were judged alone."""
    record: dict[str, Any] = {}
    for file in [folder / f"{name}.json", *sorted(folder.glob(f"{name}-*.json"))]:
        if file.is_file():
            found = json.loads(file.read_text("utf-8"))
            record = record | found | {"surfaces": record.get("surfaces", {}) | found.get("surfaces", {})}
    return record


def main(config: Config) -> None:
    """Render, then write or compare."""
    made = config.page.read_text("utf-8")
    for name, render in zip(
        NAMES, (table1, table2, fig2, fig3, fig5, truth, truth, fitted, geometries), strict=True
    ):
        record = stored(config.results, name)
        made = insert(made, name, render(record) if record else "", config.page)
    record = stored(config.results, "geometry")
    made = insert(made, "conformers", conformers(record) if record else "", config.page)
    made = insert(made, "audit", audits(config.results), config.page)
    finish(config.page, made, check=config.check, command="experiments/render_reliability.py")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
