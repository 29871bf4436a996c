"""How the vimpnn_*.py scripts report: rows over seeds, where results go, what a trial run takes."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from seeds import spread

from jphys import runs

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "vimpnn"
METRICS = ("mae", "mse", "re", "mae_per_atom", "dsc")
# What a mean leaves out or does not show: predictions, and curves of a shape.
COUNTS = ("n_nonfinite", "n_without_minimum", "n_without_curve")


def style_of(preset: str, style: str | None) -> str:
    """How a run trains: as asked, else fast; smoke has a style of its own.

    Raises:
        ValueError: for a style that smoke would not heed.
    """
    if preset == "smoke" and style is not None:
        raise ValueError(f"style must not be given with the preset smoke, which has its own, got {style!r}")
    return "smoke" if preset == "smoke" else style or "fast"


def size_of(preset: str, given: int | None, *, full: int, smoke: int) -> int:
    """A number that was given, else that of the preset."""
    if given is not None:
        return given
    return smoke if preset == "smoke" else full


def folder_of(output: Path | None, trainings: Path, *, whole: bool) -> Path:
    """Where results go: as asked, else docs/results/vimpnn for those that the page shows."""
    return output or (RESULTS if whole else trainings)


def over_seeds(summaries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Mean and sample standard deviation over seeds of each mean over the test points; the seeds' own.

    The counts are sums over the seeds; those that end in "_between" are of the points between the scales.
    """
    found: dict[str, Any] = {
        name: spread([one["test"][name]["mean"] for one in summaries]) for name in METRICS
    }
    for name in ("mae", "dsc"):
        shown = [one.get("between", {}).get(name, {}).get("mean") for one in summaries]
        found[f"{name}_between"] = spread(shown)
    for name in COUNTS:
        found[name] = sum(count(one["test"], name) for one in summaries)
        found[f"{name}_between"] = sum(count(one.get("between", {}), name) for one in summaries)
    # The paper's standard deviations are over test points: here those of the first seed.
    points = {name: summaries[0]["test"][name]["std"] for name in METRICS}
    return {
        **found,
        "std_over_points": points,
        "seeds": len(summaries),
        "epochs": [one["epochs"] for one in summaries],
        "minutes": sum(one["minutes"] for one in summaries),
    }


def count(errors: Mapping[str, Any], name: str) -> int:
    """Points or curves of that name in what `judge` gives; older summaries lack some.

    >>> count({"n_nonfinite": 2, "dsc": {"n_without_curve": 3}}, "n_without_curve")
    3
    """
    return errors.get(name, errors.get("dsc", {}).get(name, 0))


def mean_by_group(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means over seeds of errors by group; a group that a seed's test part lacks is left out there.

    >>> mean_by_group([{"Al": 1.0}, {"Al": 3.0, "Cu": 5.0}])
    {'Al': 2.0, 'Cu': 5.0}
    """
    groups = dict.fromkeys(group for row in rows for group in row)
    return {group: statistics.mean(row[group] for row in rows if group in row) for group in groups}


def line(name: str, row: dict[str, Any]) -> str:
    """One model of a table, for the screen."""
    cells = [("MAE", "mae", "eV", 3), ("RE", "re", "", 5), ("DSC", "dsc", "Å", 4)]
    shown = [
        f"{label} {row[key]['mean']:.{digits}f} {unit}".strip()
        if row[key]["mean"] is not None
        else f"{label} –"
        for label, key, unit, digits in cells
    ]
    return f"{name:20s} " + "  ".join(shown)


def write(folder: Path, name: str, record: dict[str, Any]) -> None:
    """A result with the machine and the versions it was made with."""
    folder.mkdir(parents=True, exist_ok=True)
    runs.write_json(folder / name, record | {"environment": runs.environment()})
    print(f"written: {folder / name}")
