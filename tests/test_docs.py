"""What README and docs say of names and programs is true."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from jphys.compiling import quick_environment

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "log.md")  # tells of names that are gone
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")
NAME = re.compile(r"\bjphys(?:\.[A-Za-z_][A-Za-z_0-9]*)+")


def run(*arguments: str, **settings) -> None:
    """Python in a process of its own, where nothing is imported yet."""
    asked = [sys.executable, *arguments]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, **settings)
    assert done.returncode == 0, done.stderr


def test_names_resolve_after_import_jphys():
    dotted = {match.group(0) for page in PAGES for match in NAME.finditer(page.read_text("utf-8"))}
    assert len(dotted) > 20
    run("-c", "import jphys\n" + "\n".join(sorted(dotted)))


def anchors(page: Path) -> set[str]:
    """What its headings can be linked by."""
    heads = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head.lower()).replace(" ", "-") for head in heads}


def test_links_lead_somewhere():
    links = [(page, *match) for page in PAGES for match in LINK.findall(page.read_text("utf-8"))]
    targets = [((page.parent / file).resolve() if file else page, anchor) for page, file, anchor in links]
    assert len(links) > 30
    lost = [
        f"{page.name}: {file}#{anchor}"
        for (page, file, anchor), (target, _) in zip(links, targets)
        if not target.exists() or (anchor and anchor not in anchors(target))
    ]
    assert lost == []
    glossary = ROOT / "docs" / "glossary.md"
    linking = {page for (page, *_), (target, _) in zip(links, targets) if target == glossary}
    assert linking == {*PAGES} - {glossary}


def test_readme_defines_the_few_columns_of_its_tables():
    text = (ROOT / "README.md").read_text("utf-8")
    heads = list(re.finditer(r"^(\|.*\|)\n\|[ :|-]+\|$", text, re.MULTILINE))
    assert heads
    for head in heads:
        columns = [cell.strip() for cell in head.group(1).strip("|").split("|")]
        terms = re.findall(r"\*\*(.+?)\*\*", text[: head.start()])
        assert len(columns) <= 5
        assert [column for column in columns if not column.startswith(tuple(terms))] == []


@pytest.mark.smoke
@pytest.mark.slow
def test_programs_run(tmp_path):
    """Every block of every page in turn, as a reader would; long simulations are cut short."""
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text("utf-8"))]
    assert len(blocks) >= 4
    (tmp_path / "blocks.py").write_text("\n".join(blocks).replace("20_000", "20"), "utf-8")
    run("blocks.py", cwd=tmp_path, env={**os.environ, **quick_environment()})
    assert (tmp_path / "ethanol.extxyz").is_file()


@pytest.mark.parametrize("name", ["no_such_module", "__wrapped__"])
@pytest.mark.parametrize("package", ["jphys", "jphys.data", "jphys.reliability", "jphys.training"])
def test_unknown_names_are_attribute_errors(package, name):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}'"):
        getattr(importlib.import_module(package), name)
