"""The floors of docs/architecture.md: every import statement of the package goes down."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jphys"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))

# A heavy package that only one part of jphys may import.
ONLY_IN = {"jax_md": "md", "flax": "models"}


def read_floors() -> dict[str, int]:
    """Part of the package (file or folder, without suffix) → floor, from the table of the page."""
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    rows = re.findall(r"^\| (\d+) \| `([\w/]+?)(?:\.py|/)` \|", page, re.MULTILINE)
    return {name: int(floor) for floor, name in rows}


FLOORS = read_floors()


def part_of(file: Path) -> str:
    """The row of the table that a file belongs to."""
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST) -> list[str]:
    """Dotted names of everything imported, also inside functions and for type checking only."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


def jphys_part(name: str) -> str | None:
    """The row that a dotted name belongs to: `jphys.make_graph` is a name of __init__."""
    head, _, rest = name.partition(".")
    part = rest.split(".")[0]
    if head != "jphys":
        return None
    found = (PACKAGE / f"{part}.py").is_file() or (PACKAGE / part / "__init__.py").is_file()
    return part if part and found else "__init__"


def test_the_table_was_read():
    """Spot checks, so that a change of the page's format cannot empty the test."""
    assert FLOORS["units"] == 0 and FLOORS["graph"] == 1 and FLOORS["models"] == 3
    assert FLOORS["neighbors"] == 0 and FLOORS["prior"] == 1 and FLOORS["derivatives"] == 2
    assert FLOORS["reliability"] == 7 and FLOORS["__init__"] == 8


def test_every_file_has_a_floor():
    assert {part_of(file) for file in FILES} <= set(FLOORS)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_imports_go_down(file):
    own = part_of(file)
    for name in imported_modules(ast.parse(file.read_text("utf-8"))):
        part = jphys_part(name)
        if part is None or part == own:
            continue
        assert FLOORS[part] < FLOORS[own], (
            f"{own} (floor {FLOORS[own]}) imports {name} (floor {FLOORS[part]})"
        )


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_heavy_packages_have_one_home(file):
    for name in imported_modules(ast.parse(file.read_text("utf-8"))):
        home = ONLY_IN.get(name.split(".")[0])
        assert home in (None, part_of(file)), f"{name} may be imported in {home} only"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_errors_are_raised_not_asserted(file):
    """`python -O` removes assert statements."""
    asserts = [n.lineno for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Assert)]
    assert not asserts


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_experiments_are_short_and_use_public_names(file):
    text = file.read_text("utf-8")
    assert text.count("\n") <= 200
    tree = ast.parse(text)
    parts = [part for name in imported_modules(tree) for part in name.split(".")]
    parts += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    assert [part for part in parts if part.startswith("_") and not part.endswith("__")] == []
