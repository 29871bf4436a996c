"""Learning curves of a run."""

import json
from pathlib import Path

import numpy as np

from jphys.figures.style import INK, PALETTE, canvas

VALID = {"mae_energy_mev": ("energy (meV)", 1.0), "mae_force_ev_per_angstrom": ("force (meV/Å)", 1e3)}
"""Key in a record's `valid` -> label and factor; meV and meV/Å are of one size and share an axis."""


def learning_curves(metrics, path) -> Path:
    """Training losses and validation errors against the step, both on log axes.

    Args:
        metrics: metrics.jsonl of a run: one object per line with `step` and `losses`, and on some lines
            `valid`. A last line that a kill cut short is left out.
        path: PNG to write.

    Raises:
        ValueError: if the file is missing, has no line, or a line is damaged or lacks a key; naming it.
    """
    records = read_records(metrics)
    with canvas(path, 8.5, 3.9) as figure:
        draw_learning_curves(figure, records)
    return Path(path)


def read_records(metrics) -> list[dict]:
    """The complete lines of a metrics.jsonl, checked."""
    metrics = Path(metrics)
    if not metrics.is_file():
        raise ValueError(f"metrics must be an existing file, got {metrics}")
    records = []
    for number, line in enumerate(metrics.read_text("utf-8").splitlines(keepends=True), start=1):
        if not line.endswith("\n"):
            break
        try:
            record = json.loads(line)
            _ = record["step"], dict(record["losses"])
        except (ValueError, TypeError) as error:
            raise ValueError(f"{metrics} line {number} must be a JSON object, got {line[:60]!r}") from error
        except KeyError as error:
            raise ValueError(
                f"{metrics} line {number} must have the key {error}, got {line[:60]!r}"
            ) from error
        records.append(record)
    if not records:
        raise ValueError(f"{metrics} must have at least one complete line, got none")
    return records


def draw_learning_curves(figure, records) -> None:
    """Left the losses, right the validation errors."""
    from matplotlib.ticker import LogFormatter

    left, right = figure.subplots(1, 2)
    names = sorted({name for record in records for name in record["losses"]} - {"total"})
    for name, color in zip(names, PALETTE * len(names)):
        _line(
            left, [(r["step"], r["losses"][name]) for r in records if name in r["losses"]], name, color=color
        )
    total = [(r["step"], r["losses"]["total"]) for r in records if "total" in r["losses"]]
    if total:
        _line(left, total, "total", color=INK, linestyle=(0, (4, 1.5)))
    left.set(title="Training losses", ylabel="loss (mean over the line's steps)")
    for (name, (label, factor)), color in zip(VALID.items(), PALETTE):
        points = [(r["step"], factor * r["valid"][name]) for r in records if name in r.get("valid", {})]
        if points:
            _line(right, points, label, color=color, marker="o", markersize=3)
    right.set(title="Validation errors", ylabel="mean absolute error (meV, meV/Å)")
    if not right.lines:
        right.text(0.5, 0.5, "not validated", ha="center", va="center", transform=right.transAxes)
    for axes in (left, right):
        axes.set(xlabel="training step", yscale="log")
        if axes.lines:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3)
    right.yaxis.set_major_formatter(LogFormatter())
    right.yaxis.set_minor_formatter(LogFormatter(labelOnlyBase=False))


def _line(axes, points, label: str, **style) -> None:
    """A line on a log axis; values that it cannot show are gaps, and counted in the legend."""
    steps, values = np.array(points, float).T
    hidden = ~(np.isfinite(values) & (values > 0))
    if hidden.any():
        label += f" ({hidden.sum()} of {len(values)} not above 0)"
    axes.plot(steps, np.where(hidden, np.nan, values), label=label, **style)
