"""QM9 as parsed: the `Records` of its molecules, and the npz file they are cached and shipped in."""

import dataclasses
from pathlib import Path

import numpy as np

from jphys import units
from jphys.data import contacts
from jphys.data.npz import from_text, read_arrays, to_text, write_arrays
from jphys.data.structures import Structures

__all__ = ["Records", "read_npz", "take", "to_structures", "write_npz"]

POSITION_SCALE = 1e-5  # Å; positions are stored as integers, so every source gives the same numbers
LARGEST = np.iinfo(np.int32).max * POSITION_SCALE  # Å, of a coordinate
POSITIONS_RULE = f"positions must be finite and within {int(LARGEST)} Å of the origin"
ELEMENTS = {"H": 1, "C": 6, "N": 7, "O": 8, "F": 9}
MAX_ATOMS = 29
N_MOLECULES, N_UNCHARACTERIZED = 133_885, 3_054  # of the official distribution
_REQUIRED = ("index", "n_atoms", "z", "pos", "pos_scale", "u0_hartree")
_REAL = ("pos", "pos_scale", "u0_hartree")  # the others hold whole numbers


@dataclasses.dataclass(frozen=True)
class Records:
    """Molecules of QM9, flat over atoms, in the units of the distribution."""

    index: np.ndarray  # (m,) int32 GDB9 number, from 1
    n_atoms: np.ndarray  # (m,) int32
    species: np.ndarray  # (sum n_atoms,) int32 Z
    positions: np.ndarray  # (sum n_atoms, 3) int32, multiples of 1e-5 Å
    u0: np.ndarray  # (m,) float64 Hartree, total energy at 0 K with the zero-point energy
    smiles: tuple[str, ...]  # GDB-17 SMILES, "" where unknown
    n_uncharacterized: int | None = 0  # left out: failed the authors' consistency check; None: unknown
    bonds: np.ndarray | None = None  # (sum n_bonds, 3) int32 rows (i, j, order); None: not perceived
    n_bonds: np.ndarray | None = None  # (m,) int32
    n_single_bonded: int = 0  # molecules whose bond orders could not be perceived: all their bonds are 1

    def __len__(self) -> int:
        return len(self.index)


def take(records: Records, chosen: np.ndarray) -> Records:
    """The records of the given molecules (k,), in that order, without bonds."""
    ends = np.cumsum(records.n_atoms).tolist()
    rows = [np.arange(ends[i] - int(records.n_atoms[i]), ends[i]) for i in chosen]
    atoms = np.concatenate(rows or [np.zeros(0, int)])
    return Records(
        index=records.index[chosen],
        n_atoms=records.n_atoms[chosen],
        species=records.species[atoms],
        positions=records.positions[atoms],
        u0=records.u0[chosen],
        smiles=tuple(records.smiles[i] for i in chosen),
        n_uncharacterized=records.n_uncharacterized,
    )


def to_structures(records: Records) -> Structures:
    """Structures with total energies U0 in eV; molecules named as the files of the distribution."""
    m = len(records)
    return Structures(
        name=np.array([f"dsgdb9nsd_{i:06d}" for i in records.index]),
        n_atoms=records.n_atoms,
        species=records.species,
        positions=records.positions * POSITION_SCALE,
        energy=records.u0 * units.HARTREE,
        forces=None,
        cell=np.zeros((m, 3, 3)),
        n_bonds=np.zeros(m, np.int32) if records.n_bonds is None else records.n_bonds,
        bonds=np.zeros((0, 3), np.int32) if records.bonds is None else records.bonds,
    )


def read_npz(path) -> Records:
    """Records of an npz file with index, n_atoms, z, pos, pos_scale, u0_hartree and, if there, more.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not such a file, truncated, or with impossible entries; names file and molecule.
    """
    path, arrays = Path(path), read_arrays(path, _REQUIRED, of="QM9")
    _check_shapes(path, arrays)
    with np.errstate(over="ignore"):  # infinite positions are refused
        arrays["pos"] = arrays["pos"].astype(np.float64) * (_scale(path, arrays) / POSITION_SCALE)
    _check_values(path, arrays)
    return _records(arrays)


def _records(arrays: dict[str, np.ndarray]) -> Records:
    m = len(arrays["index"])
    smiles = arrays.get("smiles_gdb17")
    return Records(
        index=arrays["index"].astype(np.int32),
        n_atoms=arrays["n_atoms"].astype(np.int32),
        species=arrays["z"].astype(np.int32),
        positions=np.rint(arrays["pos"]).astype(np.int32),
        u0=arrays["u0_hartree"].astype(np.float64),
        smiles=("",) * m if smiles is None else tuple(to_text(smiles).split("\n")),
        n_uncharacterized=_left_out(arrays),
        bonds=arrays["bonds"].astype(np.int32) if "bonds" in arrays else None,
        n_bonds=arrays["n_bonds"].astype(np.int32) if "bonds" in arrays else None,
        n_single_bonded=int(arrays.get("n_single_bonded", 0)),
    )


def _left_out(arrays: dict[str, np.ndarray]) -> int | None:
    if "n_uncharacterized" in arrays:
        return int(arrays["n_uncharacterized"])
    # a file of the whole set that does not say it shows it by the numbers it skips
    skipped = int(arrays["index"].max()) - len(arrays["index"])
    return skipped if skipped == N_UNCHARACTERIZED else None


def _scale(path: Path, arrays: dict[str, np.ndarray]) -> float:
    scale = float(arrays["pos_scale"])
    if not 0 < scale < np.inf:
        raise ValueError(f"{path}: pos_scale must be positive and finite, got {scale}")
    return scale


def _check_shapes(path: Path, arrays: dict[str, np.ndarray]) -> None:
    for key in [key for key in (*_REQUIRED, "bonds", "n_bonds") if key in arrays]:
        kinds, of = ("iuf", "numbers") if key in _REAL else ("iu", "whole numbers")
        if arrays[key].dtype.kind not in kinds:
            raise ValueError(f"{path}: {key} must hold {of}, got {arrays[key].dtype}")
    if arrays["index"].ndim != 1 or not len(arrays["index"]):
        raise ValueError(
            f"{path} must hold at least one molecule, got index of shape {arrays['index'].shape}"
        )
    m = len(arrays["index"])
    _check_shape(path, arrays, {"n_atoms": (m,), "u0_hartree": (m,), "pos_scale": ()})
    for i in np.flatnonzero(arrays["n_atoms"] < 1):
        raise ValueError(
            f"{path}: n_atoms must be at least 1, got {arrays['n_atoms'][i]} in molecule {arrays['index'][i]}"
        )
    total = int(arrays["n_atoms"].sum())
    _check_shape(path, arrays, {"z": (total,), "pos": (total, 3)})
    if "bonds" in arrays:
        n_bonds = arrays.setdefault("n_bonds", np.zeros(0, int))
        _check_shape(path, arrays, {"n_bonds": (m,), "bonds": (int(n_bonds.sum()), 3)})
    lines = np.count_nonzero(arrays["smiles_gdb17"] == ord("\n")) + 1 if "smiles_gdb17" in arrays else m
    if lines != m:
        raise ValueError(f"{path}: smiles_gdb17 must have a line for each of {m} molecules, got {lines}")


def _check_shape(path: Path, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]) -> None:
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: {key} must have shape {shape}, got {arrays[key].shape}")


def _check_values(path: Path, arrays: dict[str, np.ndarray]) -> None:
    index, n_atoms = arrays["index"], arrays["n_atoms"].astype(int)
    owner, positions = np.repeat(np.arange(len(index)), n_atoms), arrays["pos"] * POSITION_SCALE
    wrong = {
        "z must be an element of H C N O F": owner[~np.isin(arrays["z"], list(ELEMENTS.values()))],
        POSITIONS_RULE: owner[~(np.abs(positions) <= LARGEST).all(axis=1)],
        "energy must be finite": np.flatnonzero(~np.isfinite(arrays["u0_hartree"])),
    }
    for rule, molecules in wrong.items():
        if len(molecules):
            raise ValueError(f"{path}: {rule}, got another value in molecule {index[molecules[0]]}")
    contact = contacts.first_contact(positions, n_atoms)
    if contact is not None:
        raise ValueError(contacts.refusal(f"{path}: molecule {index[contact[0]]}", *contact[1:]))


def write_npz(path, records: Records) -> None:
    """Write records so that the file is there whole or not at all: a temporary file, then a rename."""
    arrays = {
        "index": records.index,
        "n_atoms": records.n_atoms.astype(np.uint8),
        "z": records.species.astype(np.uint8),
        "pos": records.positions,
        "pos_scale": np.float64(POSITION_SCALE),
        "u0_hartree": records.u0,
        "smiles_gdb17": from_text("\n".join(records.smiles)),
    }
    if records.n_uncharacterized is not None:
        arrays["n_uncharacterized"] = np.int32(records.n_uncharacterized)
    if records.bonds is not None and records.n_bonds is not None:
        arrays["bonds"] = records.bonds.astype(np.uint8)
        arrays["n_bonds"] = records.n_bonds.astype(np.uint8)
        arrays["n_single_bonded"] = np.int32(records.n_single_bonded)
    write_arrays(path, arrays)
