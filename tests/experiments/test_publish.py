"""The card of a published model: every number of the summary, a dash for what is undefined."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def publish(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module("publish")


def test_the_shipped_card_is_what_its_summary_gives(publish):
    summary = json.loads((ROOT / "docs" / "results" / "qm9-small.json").read_text("utf-8"))
    card = (ROOT / "jphys" / "pretrained" / "qm9-small" / "card.md").read_text("utf-8")
    assert publish.card("qm9-small", summary) == card


def test_an_undefined_statistic_is_a_dash(publish):
    """Of one molecule nothing correlates; a surface without a finite answer recovers nothing."""
    lost = {"sigma": 0.1, "fmax": 0.05, "distance": {"mean": None, "median": None}, "recovered": 0.0}
    judged = {"sigma": 0.05, "median_rise_ratio": None, "force_correlation": None, "force_slope": 1.25}
    rows = publish.measured_rows({"recovery": {"rows": [lost]}, "xtb": {"sigmas": [judged]}})
    assert rows.splitlines() == [
        "| ΔP, σ = 0.1 Å, fmax 0.05 eV/Å | mean – Å, median – Å, 0 % below 0.1 Å |",
        "| against GFN2-xTB, σ = 0.05 Å | median rise ratio –, force correlation –, slope 1.25 |",
    ]


def test_a_folder_without_a_summary_is_one_line(refusal, tmp_path):
    said = refusal("publish.py", "--run", str(tmp_path), "--name", "mine")
    assert "error: run must be a finished run folder with summary.json" in said
