"""README.md and docs show what the stored results give, and no page is forgotten."""

import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module("render")


def test_every_table_is_what_its_files_give(render):
    render.main(render.Config(check=True))


@pytest.mark.parametrize("name", ["render_results", "render_reliability", "render_vimpnn", "render_bench"])
def test_a_page_that_was_not_rendered_again_is_found(render, monkeypatch, name):
    module = importlib.import_module(name)
    right = module.insert
    monkeypatch.setattr(module, "insert", lambda *given: right(*given) + "changed")
    with pytest.raises(SystemExit, match="must be rendered again"):
        render.main(render.Config(check=True))
