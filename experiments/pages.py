"""What the render_*.py scripts share: stored JSON, tables between the markers of a page, numbers that may be
missing."""

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def stored(folder: Path = RESULTS) -> tuple[Path, ...]:
    """The JSON files of a folder, by name."""
    return tuple(sorted(folder.glob("*.json")))


def read_json(path: Path, argument: str) -> Any:
    """The file as JSON.

    Raises:
        ValueError: for a file that is not there or is no JSON; naming it, or the argument that gave it.
    """
    if not path.is_file():
        raise ValueError(f"{argument} must be existing files, got {path}")
    try:
        return json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, got: {error}") from error


def number(value: float | None, digits: int) -> str:
    """A dash where a surface gave no answer.

    >>> number(0.1234, 2), number(None, 2)
    ('0.12', '–')
    """
    return "–" if value is None else f"{value:.{digits}f}"


def insert(text: str, name: str, made: str, page: Path) -> str:
    """The text with `made` between <!-- name:start --> and <!-- name:end -->.

    Raises:
        ValueError: if the page does not have both markers once, in that order.
    """
    start, end = f"<!-- {name}:start -->", f"<!-- {name}:end -->"
    if text.count(start) != 1 or text.count(end) != 1 or text.index(start) > text.index(end):
        raise ValueError(f"{page} must have {start} once and {end} once after it")
    before, after = text[: text.index(start) + len(start)], text[text.index(end) :]
    return before + "\n" + (made + "\n" if made else "") + after


def finish(page: Path, made: str, *, check: bool, command: str) -> None:
    """Write the page, or with `check` only compare: exit status 1 where it is not what the files give."""
    if check and made != page.read_text("utf-8"):
        sys.exit(f"{page} must be rendered again: {command}")
    if not check:
        page.write_text(made, "utf-8")
