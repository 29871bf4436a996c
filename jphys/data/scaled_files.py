"""The npz file of a scaled data set: shapes once, a table of energies, and where they come from."""

from pathlib import Path

import numpy as np

from jphys import elements
from jphys.data.npz import from_text, header_bytes, read_arrays, read_provenance, to_text, write_arrays
from jphys.data.scaled import CONVERGED, FAILED, ScaledSet, ScaledTable, expand
from jphys.data.structures import Structures
from jphys.elements import MAX_Z

__all__ = [
    "AUGMENTED_QM9",
    "INFINITE_CRYSTAL",
    "STABLE_GROWTH",
    "UNSTABLE_GROWTH",
    "load",
    "read_table",
    "save",
]

FORMAT, VERSION = "jphys scaled shapes", 1
POSITION_SCALE = 1e-5  # Å; positions are stored as integers
ENERGY_DIGITS = 5  # energies are rounded to 1e-5 eV, below the convergence of any engine
_UNITS = {"energy": "eV", "pos": "pos_scale Å", "cell": "Å", "scales": "1"}
AUGMENTED_QM9, INFINITE_CRYSTAL = "augmented-qm9", "infinite-crystal"
STABLE_GROWTH, UNSTABLE_GROWTH = "crystal-growth-stable", "crystal-growth-unstable"
_PROVENANCE = ("engine", "version", "settings", "source", "licence", "made_by")
_ARRAYS = {
    **dict.fromkeys(("header", "name", "n_atoms", "z", "n_bonds", "bonds", "status"), np.unsignedinteger),
    "pos": np.signedinteger,
    **dict.fromkeys(("pos_scale", "cell", "scales", "energy"), np.floating),
}


def save(path, table: ScaledTable) -> None:
    """Write the file so that it is there whole or not at all: a temporary file, then a rename.

    Positions are rounded to 1e-5 Å and energies to 1e-5 eV. The same table gives the same bytes.

    Raises:
        ValueError: if the provenance does not name engine, version, settings, source, licence and made_by, or
            a name of a shape has more than one line.
    """
    missing = [key for key in _PROVENANCE if key not in table.provenance]
    if missing:
        raise ValueError(
            f"provenance must have {', '.join(_PROVENANCE)}, got none of the name {', '.join(missing)}"
        )
    broken = [str(name) for name in table.shapes.name if "\n" in str(name)]
    if broken:
        raise ValueError(f"name must be one line for each shape, got {broken[0]!r}")
    write_arrays(path, _arrays(table))


def load(path, of: str | None = None) -> ScaledSet:
    """The converged points of a file; those that failed or that nobody calculated are counted and logged.

    Args:
        path: npz file.
        of: name of the set that it must hold, AUGMENTED_QM9, INFINITE_CRYSTAL, STABLE_GROWTH or
            UNSTABLE_GROWTH; None: any. Files made before the sets had names are judged by what they hold.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, inconsistent or of another set; names the file and what is wrong.
    """
    table = read_table(path)
    if of is not None:
        _check_set(Path(path), table, of)
    return expand(table)


def read_table(path) -> ScaledTable:
    """As `load`, but every shape once and the whole table, with the points that have no energy.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign or inconsistent; names the file and what is wrong.
    """
    path, arrays = Path(path), read_arrays(path, tuple(_ARRAYS), of="scaled shapes")
    provenance = read_provenance(path, arrays["header"], FORMAT, VERSION, _PROVENANCE, _UNITS)
    _check_shapes(path, arrays)
    _check_values(path, arrays)
    return _table(arrays, provenance)


def _check_set(path: Path, table: ScaledTable, of: str) -> None:
    given = table.provenance.get("set", of)
    if given != of:
        raise ValueError(f"{path}: set must be {of}, got {given}")
    shapes, n_scales, crystal = table.shapes, len(table.scales), of == INFINITE_CRYSTAL
    periodic, metal = shapes.cell.any(axis=(1, 2)), elements.IS_METAL[shapes.species]
    rules = {
        "have a cell for every shape": crystal and not periodic.all(),
        "have no cells": not crystal and periodic.any(),
        "be of metals": of != AUGMENTED_QM9 and not metal.all(),
        "be of nonmetals": of == AUGMENTED_QM9 and metal.any(),
        "be at one scale": of == STABLE_GROWTH and n_scales != 1,
        "be at several scales": of != STABLE_GROWTH and n_scales < 2,
    }
    for rule, broken in rules.items():
        if broken:
            names = f"{shapes.name[0]} to {shapes.name[-1]}"
            raise ValueError(f"{path}: {of} must {rule}, got {names} at {n_scales} scales")


def _arrays(table: ScaledTable) -> dict[str, np.ndarray]:
    shapes = table.shapes
    return {
        "header": header_bytes(FORMAT, VERSION, table.provenance, units=_UNITS),
        "name": from_text("\n".join(shapes.name)),
        "n_atoms": shapes.n_atoms.astype(np.uint16),
        "z": shapes.species.astype(np.uint8),
        "pos": np.rint(shapes.positions / POSITION_SCALE).astype(np.int32),
        "pos_scale": np.asarray(POSITION_SCALE),
        "cell": shapes.cell.astype(np.float64),
        "n_bonds": shapes.n_bonds.astype(np.uint16),
        "bonds": shapes.bonds.astype(np.uint16),
        "scales": table.scales.astype(np.float64),
        "energy": np.round(table.energy.astype(np.float64), ENERGY_DIGITS),
        "status": table.status.astype(np.uint8),
    }


def _check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for key, kind in _ARRAYS.items():
        if not np.issubdtype(arrays[key].dtype, kind):
            raise ValueError(f"{path}: {key} must be of type {kind.__name__}, got {arrays[key].dtype}")
    n, k = arrays["n_atoms"].size, arrays["scales"].size
    total, n_bonds = int(arrays["n_atoms"].sum()), int(arrays["n_bonds"].sum())
    try:
        n_names = len(to_text(arrays["name"]).split("\n"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: name must be text in UTF-8: {error}") from error
    if n < 1 or n_names != n:
        raise ValueError(f"{path}: name must have a line for each of {n} shapes, got {n_names}")
    shapes = {"n_atoms": (n,), "z": (total,), "pos": (total, 3), "pos_scale": (), "cell": (n, 3, 3)}
    shapes |= {"n_bonds": (n,), "bonds": (n_bonds, 3), "scales": (k,), "energy": (n, k), "status": (n, k)}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: {key} must have shape {shape}, got {arrays[key].shape}")


def _check_values(path: Path, arrays: dict[str, np.ndarray]) -> None:
    scales, status, n_atoms = arrays["scales"], arrays["status"], arrays["n_atoms"].astype(int)
    if not scales.size or not (scales > 0).all() or not (np.diff(scales) > 0).all():
        raise ValueError(f"{path}: scales must be positive and ascending, got {scales.tolist()}")
    bonds, limit = arrays["bonds"].astype(int), np.repeat(n_atoms, arrays["n_bonds"])
    rules = {
        "n_atoms must be positive": (n_atoms < 1).any(),
        "scales must be finite": not np.isfinite(scales).all(),
        f"z must be from 1 to {MAX_Z}": ((arrays["z"] < 1) | (arrays["z"] > MAX_Z)).any(),
        "pos_scale must be positive": not 0 < arrays["pos_scale"] < np.inf,
        "cell must be finite": not np.isfinite(arrays["cell"]).all(),
        "bonds must join atoms of their shape": (bonds[:, :2] >= limit[:, None]).any(),
        "bonds must join two atoms": (bonds[:, 0] == bonds[:, 1]).any(),
        "orders of bonds must be 1, 2 or 3": ((bonds[:, 2] < 1) | (bonds[:, 2] > 3)).any(),
    }
    for rule, broken in rules.items():
        if broken:
            raise ValueError(f"{path}: {rule}, got others")
    if status.max() > FAILED:
        raise ValueError(f"{path}: status must be 0, 1 or 2, got {status.max()}")
    wrong = np.argwhere(np.isfinite(arrays["energy"]) != (status == CONVERGED))
    if len(wrong):
        raise ValueError(
            f"{path}: energy must be finite where status is 1 and only there, got "
            f"{arrays['energy'][tuple(wrong[0])]} in shape {wrong[0][0]}, scale {scales[wrong[0][1]]:.4f}"
        )


def _table(arrays: dict[str, np.ndarray], provenance: dict) -> ScaledTable:
    n_atoms = arrays["n_atoms"].astype(np.int32)
    shapes = Structures(
        name=np.array(to_text(arrays["name"]).split("\n")),
        n_atoms=n_atoms,
        species=arrays["z"].astype(np.int32),
        positions=arrays["pos"] * float(arrays["pos_scale"]),
        energy=np.full(len(n_atoms), np.nan),
        forces=None,
        cell=arrays["cell"].astype(np.float64),
        n_bonds=arrays["n_bonds"].astype(np.int32),
        bonds=arrays["bonds"].astype(np.int32),
    )
    return ScaledTable(shapes, arrays["scales"], arrays["energy"], arrays["status"], provenance)
