"""What every engine is: a record of its name, version, settings and one function."""

import dataclasses
import importlib.metadata
from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class Result(NamedTuple):
    """Energy of one structure."""

    energy: float  # eV; NaN where the calculation failed
    converged: bool


FAILED = Result(float("nan"), False)


@dataclasses.dataclass(frozen=True)
class Engine:
    """A way to calculate energies. It can be pickled: workers of a pool get a copy."""

    name: str
    version: str  # of the program that calculates
    settings: dict  # all that decides the numbers, as plain JSON
    energy: Callable[[np.ndarray, np.ndarray, np.ndarray | None], Result]
    # (species (n,), positions (n, 3) Å, cell (3, 3) Å rows or None) -> Result; a calculation that does not
    # converge is a Result, an input that the engine is not made for a ValueError


def package_version(package: str, engine: str) -> str:
    """Version of an installed Python package.

    Raises:
        ImportError: if it is not installed; names the engine and the command that installs it.
    """
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError(f"{engine} needs {package}: pip install 'jphys[engines]'") from error


def checked(species, positions, cell, *, engine: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """The arguments of `Engine.energy` as arrays.

    Raises:
        ValueError: for no atoms, what is no atomic number, shapes that do not fit, or a position that is not
            finite; names the engine.
    """
    species, positions = np.asarray(species), np.asarray(positions, np.float64)
    if species.ndim != 1 or not species.size or not np.issubdtype(species.dtype, np.integer):
        raise ValueError(f"{engine}: species must be one or more atomic numbers, got {species.tolist()}")
    if species.min() < 1:
        raise ValueError(f"{engine}: species must be atomic numbers from 1 on, got {species.min()}")
    if positions.shape != (len(species), 3):
        raise ValueError(f"{engine}: positions must have shape ({len(species)}, 3), got {positions.shape}")
    wrong = np.argwhere(~np.isfinite(positions))
    if len(wrong):
        value = positions[tuple(wrong[0])]
        raise ValueError(f"{engine}: positions must be finite, got {value} at atom {wrong[0][0]}")
    if cell is None:
        return species, positions, None
    cell = np.asarray(cell, np.float64)
    if cell.shape != (3, 3) or not 0 < abs(np.linalg.det(cell)) < np.inf:
        raise ValueError(f"{engine}: cell must be (3, 3) with a volume, got {cell.tolist()}")
    return species, positions, cell


def refuse_cell(cell, *, engine: str) -> None:
    """Raises ValueError if a cell is given to an engine that is used for molecules only."""
    if cell is not None:
        raise ValueError(f"{engine}: cell must be None, this engine is used for molecules, got a cell")
