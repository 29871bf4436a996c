"""The official files of QM9: dsgdb9nsd_*.xyz in a tar.bz2 or a folder, and uncharacterized.txt."""

import bz2
import itertools
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from jphys.data.contacts import check_apart
from jphys.data.qm9_npz import (
    ELEMENTS,
    LARGEST,
    MAX_ATOMS,
    N_MOLECULES,
    POSITION_SCALE,
    POSITIONS_RULE,
    Records,
)

_ENTRY = re.compile(r"dsgdb9nsd_(\d{6})\.xyz")
# index, then a SMILES of H C N O F and more columns; or the bare index
_REJECTED = re.compile(r"\s*(\d+)(\s+[CNOFHcno0-9@+\-\[\]()=#/\\.]+\s+\S.*|\s*)")
_U0_COLUMN = 12  # gdb, number, A, B, C, mu, alpha, HOMO, LUMO, gap, <R^2>, zpve, U0, U, H, G, Cv


class Molecule(NamedTuple):
    index: int  # GDB9 number
    species: list[int]
    positions: np.ndarray  # (n, 3) Å
    u0: float  # Hartree
    smiles: str


def parse_molecule(text: str, entry: str) -> Molecule:
    """One file of the distribution; numbers may have Fortran exponents such as 1.5*^-6.

    Raises:
        ValueError: if the text is not such a file; names `entry`.
    """
    lines = text.splitlines()
    try:
        n = int(lines[0])
        properties = lines[1].split()
        index, u0 = int(properties[1]), _number(properties[_U0_COLUMN])
    except (IndexError, ValueError) as error:
        raise ValueError(
            f"{entry} must be a QM9 xyz file (atom count, gdb number, properties): {error}"
        ) from error
    if not 1 <= n <= MAX_ATOMS:
        raise ValueError(f"{entry} must have 1 to {MAX_ATOMS} atoms, got {n}")
    atoms = [line.split() for line in lines[2 : n + 2]]
    # frequencies, SMILES and InChI follow the atoms: one atom more or less than announced shifts them
    shifted = len(lines) < n + 5 or any(len(row) != 5 for row in atoms)
    if shifted or lines[n + 2].split()[:1] in [[symbol] for symbol in ELEMENTS]:
        raise ValueError(f"{entry} must hold the {n} atoms that its first line announces, got another number")
    return Molecule(
        index, *_atoms(atoms, entry), _finite(u0, "energy U0", entry), (lines[n + 3].split() or [""])[0]
    )


def _atoms(rows: list[list[str]], entry: str) -> tuple[list[int], np.ndarray]:
    for i, row in enumerate(rows):
        if row[0] not in ELEMENTS:
            raise ValueError(
                f"{entry}: element must be one of {' '.join(ELEMENTS)}, got {row[0]!r} at atom {i}"
            )
    try:
        positions = np.array([[_number(x) for x in row[1:4]] for row in rows])
    except ValueError as error:
        raise ValueError(f"{entry}: positions must be numbers: {error}") from error
    for i in np.flatnonzero(~(np.abs(positions) <= LARGEST).all(axis=1)):
        raise ValueError(f"{entry}: {POSITIONS_RULE}, got {rows[i][1:4]} at atom {i}")
    check_apart(positions, entry)
    return [ELEMENTS[row[0]] for row in rows], positions


def _number(text: str) -> float:
    return float(text.replace("*^", "e"))


def _finite(value: float, name: str, entry: str) -> float:
    if not np.isfinite(value):
        raise ValueError(f"{entry}: {name} must be finite, got {value}")
    return value


def read_uncharacterized(path) -> frozenset[int]:
    """GDB9 numbers of the molecules that failed the authors' consistency check (uncharacterized.txt).

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no line of it begins with a GDB9 number.
    """
    lines = Path(path).read_text(encoding="ascii", errors="replace").splitlines()
    found = frozenset(int(match[1]) for line in lines if (match := _REJECTED.fullmatch(line)))
    if not found or max(found) > N_MOLECULES:
        raise ValueError(
            f"{path} must list GDB9 numbers from 1 to {N_MOLECULES}, got {len(found)} usable lines"
        )
    return found


def read_tar(path, rejected: frozenset[int]) -> Records:
    """Records of dsgdb9nsd.xyz.tar.bz2, without the `rejected` GDB9 numbers, which are counted.

    Raises:
        ValueError: not a bzip2 tar, truncated, or an entry is damaged; names file and entry.
    """
    return _collect(_tar_entries(Path(path)), rejected, path, total=N_MOLECULES)


def read_folder(path, rejected: frozenset[int]) -> Records:
    """Records of a folder of dsgdb9nsd_*.xyz files, without the `rejected` ones, which are counted.

    Raises:
        ValueError: no such files in it, or one is damaged; names the file.
    """
    files = sorted(Path(path).glob("dsgdb9nsd_*.xyz"))
    entries = ((file.name, file.read_text(encoding="ascii", errors="replace")) for file in files)
    return _collect(entries, rejected, path, total=len(files))


def _tar_entries(path: Path) -> Iterator[tuple[str, str]]:
    last = "the beginning"
    try:
        with bz2.open(path) as unpacked, tarfile.open(fileobj=unpacked, mode="r:") as archive:
            for member in archive:
                if member.isfile() and member.name.endswith(".xyz"):
                    file = archive.extractfile(member)
                    text = file.read() if file else b""
                    last = member.name
                    yield Path(member.name).name, text.decode("ascii", errors="replace")
            unpacked.read()  # tarfile does not look for the end of the file: this raises if it is missing
    except (EOFError, OSError, tarfile.TarError) as error:
        raise ValueError(
            f"{path} must be a complete tar.bz2 archive, broken after {last}: {error}"
        ) from error


def _collect(entries, rejected: frozenset[int], source, *, total: int) -> Records:
    molecules, n_rejected = [], 0
    for name, text in tqdm(entries, total=total, desc="reading QM9", unit=" molecules", unit_scale=True):
        match = _ENTRY.fullmatch(name)
        if match is None:
            raise ValueError(f"{source} must hold files named dsgdb9nsd_000001.xyz and so on, got {name!r}")
        molecule = parse_molecule(text, f"{source}: {name}")
        if molecule.index != int(match[1]):
            raise ValueError(f"{source}: {name} must hold molecule {int(match[1])}, got {molecule.index}")
        if molecule.index in rejected:
            n_rejected += 1
        else:
            molecules.append(molecule)
    if not molecules:
        raise ValueError(f"{source} must hold characterised molecules dsgdb9nsd_*.xyz, got none")
    molecules.sort(key=lambda molecule: molecule.index)
    for one, other in itertools.pairwise(molecules):
        if one.index == other.index:
            raise ValueError(
                f"{source} must hold every molecule once, got dsgdb9nsd_{one.index:06d}.xyz twice"
            )
    return _to_records(molecules, n_rejected)


def _to_records(molecules: list[Molecule], n_rejected: int) -> Records:
    return Records(
        index=np.array([m.index for m in molecules], np.int32),
        n_atoms=np.array([len(m.species) for m in molecules], np.int32),
        species=np.concatenate([m.species for m in molecules]).astype(np.int32),
        positions=np.rint(np.concatenate([m.positions for m in molecules]) / POSITION_SCALE).astype(np.int32),
        u0=np.array([m.u0 for m in molecules]),
        smiles=tuple(m.smiles for m in molecules),
        n_uncharacterized=n_rejected,
    )
