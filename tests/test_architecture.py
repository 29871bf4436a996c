"""The floors of docs/architecture.md: every import statement of the package goes down."""

import ast
import functools
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "jphys"
FILES = sorted(PACKAGE.rglob("*.py"))
SCRIPTS = sorted((ROOT / "experiments").glob("*.py"))

BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)

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
    assert FLOORS["reliability"] == 8 and FLOORS["__init__"] == 10


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
    """Of modules beside them and of other packages too: nothing that begins with an underscore."""
    private = []
    for file in SCRIPTS:
        tree = ast.parse(file.read_text("utf-8"))
        parts = [part for name in imported_modules(tree) for part in name.split(".")]
        parts += [node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        private += [f"{file.name}: {p}" for p in parts if p.startswith("_") and not p.endswith("__")]
    assert private == []


def file_of(module: str) -> Path | None:
    """The file of a dotted name, if it is a module of jphys."""
    path = ROOT / module.replace(".", "/")
    files = [file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()]
    return files[0] if files else None


@functools.cache
def public_names(module: str) -> frozenset[str]:
    """Its `__all__`, as the file has it; empty where there is none: such a module is internal."""
    file = file_of(module)
    assert file is not None, f"{module} is no module of jphys"
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return frozenset(ast.literal_eval(node.value))
    return frozenset()


def names_taken(tree: ast.AST) -> set[tuple[str, str]]:
    """(module of jphys, name) of everything that a program imports or reads as an attribute of a module."""
    modules, taken = {"jphys": "jphys"}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "jphys":
            taken |= {(node.module, alias.name) for alias in node.names}
            modules |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            modules |= {alias.asname: alias.name for alias in node.names if alias.name.startswith("jphys.")}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            head, *path = ast.unparse(node).split(".")
            module = ".".join([modules.get(head, ""), *path[:-1]])
            if module.split(".")[0] == "jphys" and file_of(module):
                taken.add((module, path[-1]))
    return taken


def programs() -> dict[str, str]:
    """What clients of jphys are shown: scripts, notebooks, the Python blocks of every page."""
    clients = [*SCRIPTS, *sorted((ROOT / "docs" / "notebooks").glob("*.py"))]
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    blocks = {page.name: "".join(BLOCK.findall(page.read_text("utf-8"))) for page in pages}
    return blocks | {file.name: file.read_text("utf-8") for file in clients}


def test_clients_use_public_names():
    """Every name that they take from a module of jphys is in the `__all__` of that module."""
    taken = {name: names_taken(ast.parse(text)) for name, text in programs().items()}
    assert ("jphys", "relax") in taken["README.md"]
    assert ("jphys.data.qm9", "read") in taken["make_qm9_subset.py"]
    internal = [
        f"{program}: {module}.{name}"
        for program, pairs in taken.items()
        for module, name in sorted(pairs)
        if name not in public_names(module)
    ]
    assert internal == []


def test_public_names_are_explained():
    """A class or function in an `__all__` has a docstring."""
    silent = []
    for file in FILES:
        module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for node in ast.parse(file.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name in public_names(module):
                silent += [] if ast.get_docstring(node) else [f"{module}.{node.name}"]
    assert silent == []
