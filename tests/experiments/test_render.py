"""README.md and docs show what the stored results give, and no page is forgotten."""

import importlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module("render")


@pytest.mark.parametrize(
    ("name", "argument"), [("render_results", "summaries"), ("render_bench", "measurements")]
)
def test_without_files_the_stored_ones_are_shown(render, name, argument):
    module = importlib.import_module(name)
    files = getattr(module.Config(), argument)
    assert files and all(path.is_file() for path in files)
    module.main(module.Config(check=True))


@pytest.mark.parametrize("name", ["render_results", "render_bench"])
def test_a_table_is_never_emptied(render, name):
    module = importlib.import_module(name)
    with pytest.raises(ValueError, match="got none"):
        module.main(module.Config((), check=True))


def test_a_benchmark_alone_does_not_empty_the_other(render):
    module = importlib.import_module("render_bench")
    alone = ROOT / "docs" / "results" / "bench" / "training-16.json"
    with pytest.raises(ValueError, match="got none of simulation"):
        module.main(module.Config((alone,), check=True))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("render_results.py", "error: summaries must be existing files, got none.json"),
        ("render_bench.py", "error: measurements must be existing files, got none.json"),
    ],
)
def test_a_wrong_path_is_one_line(refusal, name, message):
    assert message in refusal(name, "none.json")


def test_a_file_of_another_kind_is_named(render, tmp_path):
    module, path = importlib.import_module("render_bench"), tmp_path / "summary.json"
    path.write_text(json.dumps({"preset": "default"}), "utf-8")
    with pytest.raises(ValueError, match=r"summary\.json must have the keys environment and config"):
        module.main(module.Config((path,), check=True))


def test_ratios_stand_beside_their_goals(render):
    judged = importlib.import_module("render_bench").judged
    shown = {
        name: (judged(name, 3.9)["goal"], judged(name, 3.9)["met"])
        for name in (
            "cost of physics / energy-only, per molecule",
            "speed of energy+forces, atoms, AdamW / torchmd-net transformer",
            "speed of energy+forces, atoms, AdamW / torchmd-net equivariant-transformer",
            "speed of energy+forces, atoms / torchmd-net transformer",  # not equal work
        )
    }
    assert list(shown.values()) == [("≤ 4", "yes"), ("≥ 1.5", "yes"), ("≥ 4", "no"), (None, None)]


def test_every_table_is_what_its_files_give(render):
    render.main(render.Config(check=True))


@pytest.mark.parametrize("name", ["render_results", "render_reliability", "render_vimpnn", "render_bench"])
def test_a_page_that_was_not_rendered_again_is_found(render, monkeypatch, name):
    module = importlib.import_module(name)
    right = module.insert
    monkeypatch.setattr(module, "insert", lambda *given: right(*given) + "changed")
    with pytest.raises(SystemExit, match="must be rendered again"):
        render.main(render.Config(check=True))
