"""The floors of docs/architecture.md: every import statement of the package goes down."""

import ast
import re
from pathlib import Path

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


def everything_imported() -> list[tuple[Path, str, str]]:
    """File, its row of the table and a dotted name that it imports, of the whole package."""
    parsed = [(file, ast.parse(file.read_text("utf-8"))) for file in FILES]
    return [(file, part_of(file), name) for file, tree in parsed for name in imported_modules(tree)]


def test_imports_go_down():
    up = []
    for file, own, name in everything_imported():
        part = jphys_part(name)
        if part is not None and part != own and FLOORS[part] >= FLOORS[own]:
            up.append(f"{file} (floor {FLOORS[own]}) imports {name} (floor {FLOORS[part]})")
    assert up == []


def test_heavy_packages_have_one_home():
    strays = [
        f"{file} imports {name}"
        for file, own, name in everything_imported()
        if ONLY_IN.get(name.split(".")[0]) not in (None, own)
    ]
    assert strays == []


def test_errors_are_raised_not_asserted():
    """`python -O` removes assert statements."""
    asserts = [
        f"{file}:{node.lineno}"
        for file in FILES
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Assert)
    ]
    assert asserts == []


def test_experiments_are_short():
    assert [file.name for file in SCRIPTS if file.read_text("utf-8").count("\n") > 200] == []


def test_experiments_use_public_names():
    private = []
    for file in SCRIPTS:
        tree = ast.parse(file.read_text("utf-8"))
        parts = [part for name in imported_modules(tree) for part in name.split(".")]
        parts += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        private += [f"{file.name}: {p}" for p in parts if p.startswith("_") and not p.endswith("__")]
    assert private == []
