"""What README and docs say of names and programs is true."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jphys
from jphys.compiling import quick_environment

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "log.md")  # tells of names that are gone
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
NAME = re.compile(r"\bjphys((?:\.[A-Za-z_][A-Za-z_0-9]*)+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_resolve_after_import_jphys(page):
    for dotted in {match.group(1) for match in NAME.finditer(page.read_text("utf-8"))}:
        value = jphys
        for name in dotted[1:].split("."):
            value = getattr(value, name)


@pytest.mark.slow
def test_programs_run(tmp_path):
    """Every block of every page in turn, as a reader would; long simulations are cut short."""
    blocks = [block for page in PAGES for block in BLOCK.findall(page.read_text("utf-8"))]
    assert len(blocks) >= 4
    (tmp_path / "blocks.py").write_text("\n".join(blocks).replace("20_000", "20"), "utf-8")
    environment = {**os.environ, **quick_environment()}
    asked = [sys.executable, "blocks.py"]
    done = subprocess.run(asked, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "ethanol.extxyz").is_file()


@pytest.mark.parametrize("name", ["no_such_module", "__wrapped__"])
@pytest.mark.parametrize("package", ["jphys", "jphys.data", "jphys.reliability", "jphys.training"])
def test_unknown_names_are_attribute_errors(package, name):
    with pytest.raises(AttributeError, match=f"module '{package}' has no attribute '{name}'"):
        getattr(importlib.import_module(package), name)
