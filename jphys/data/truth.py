"""Energies, forces and curvatures of a reference method around stable molecules, to judge surfaces by."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jphys.data.npz import from_text, header_bytes, read_arrays, read_provenance, to_text, write_arrays
from jphys.data.structures import Structures, take
from jphys.elements import COVALENT_RADIUS
from jphys.fragments import bridges
from jphys.prior import bonded_pairs

__all__ = ["FILE", "KINDS", "SECOND", "Truth", "cases", "closest_contact", "load", "points", "save"]

FORMAT, VERSION = "jphys truth", 1
FILE = Path(__file__).with_name("truth_b3lyp.npz")  # in the package
SECOND = Path(__file__).with_name("truth_second.npz")  # molecules that no loss was chosen by
KINDS = ("stable", "displaced", "torsion", "stretch")
TORSIONS = np.arange(30.0, 360.0, 30.0)  # degrees; 0 is the stable structure
STRETCHES = np.array([-0.2, -0.1, 0.1, 0.2, 0.3, 0.45, 0.6, 0.8, 1.0])  # Å; 0 is the stable structure
_ARRAYS = (
    *("header", "name", "n_atoms", "z", "pos", "n_bonds", "bonds", "kind", "value", "stable", "energy"),
    *("forces", "status", "hessian_of", "hessian"),
)


@dataclasses.dataclass(frozen=True)
class Truth:
    """m structures around some stable molecules, and what the reference method says of them."""

    structures: Structures  # energy (m,) eV and forces eV/Å are the method's, NaN where there is no answer
    kind: np.ndarray  # (m,) int, index into KINDS
    value: np.ndarray  # (m,) σ in Å, turn in degrees or stretch in Å; 0 for stable ones
    stable: np.ndarray  # (m,) row of the stable structure that it belongs to
    asked: np.ndarray  # (m,) bool: the method was asked
    hessians: dict[int, np.ndarray]  # row of a stable structure -> (3n, 3n) eV/Å²
    provenance: dict  # engine, version, settings, source, licence, made_by


def cases(molecules: Structures, *, sigmas=(0.05, 0.1), n_scans: int = 10, seed: int = 0) -> Truth:
    """The structures to ask about, nothing answered: every molecule as it is and displaced, and rigid scans.

    Scans turn or stretch the bond between heavy atoms, in no ring, that is in the middle of the molecule;
    the first `n_scans` molecules that have one are turned, and as many stretched.

    Args:
        molecules: stable structures with bonds.
        sigmas: Gaussian noise per coordinate, Å.
        n_scans: molecules of each kind of scan.
        seed: of the noise.
    """
    rng, m = np.random.default_rng(seed), len(molecules)
    rows: list[tuple[int, int, float, np.ndarray]] = []
    places = np.split(molecules.positions, np.cumsum(molecules.n_atoms)[:-1])
    for i, place in enumerate(places):
        rows.append((i, 0, 0.0, place))
    for i, place in enumerate(places):
        direction = rng.standard_normal(place.shape)
        rows += [(i, 1, sigma, place + sigma * direction) for sigma in sigmas]
    species = np.split(molecules.species, np.cumsum(molecules.n_atoms)[:-1])
    for kind, values, move in ((2, TORSIONS, _turned), (3, STRETCHES, _stretched)):
        found = ((i, _middle_bond(species[i], places[i], turn=kind == 2)) for i in range(m))
        scanned = [(i, bond) for i, bond in found if bond is not None][:n_scans]
        for i, (a, b, side) in scanned:
            rows += [(i, kind, value, move(places[i], a, b, side, value)) for value in values]
    owner = np.array([row[0] for row in rows])
    points = take(molecules, owner)
    points = dataclasses.replace(
        points,
        positions=np.concatenate([row[3] for row in rows]),
        energy=np.full(len(rows), np.nan),
        forces=np.full((int(points.n_atoms.sum()), 3), np.nan),
        name=np.array([f"{n}@{KINDS[k]}{v:+g}" for n, (_, k, v, _) in zip(points.name, rows)]),
    )
    kinds, values = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    return Truth(points, kinds, values, owner, np.zeros(len(rows), bool), {}, {})


def _middle_bond(species, positions, *, turn: bool) -> tuple[int, int, np.ndarray] | None:
    """The bridge between heavy atoms whose smaller side has most atoms; one that turns has other bonds."""
    adjacent, best = bonded_pairs(species, positions), None
    for a, b, side in bridges(adjacent):
        if min(species[a], species[b]) < 2 or (turn and min(adjacent[[a, b]].sum(axis=1)) < 2):
            continue
        if turn and _in_line(positions, adjacent, a, b):
            continue
        size = min(side.sum(), (~side).sum())
        if best is None or size > best[0]:
            best = size, (a, b, side)
    return None if best is None else best[1]


def _in_line(positions, adjacent, a: int, b: int) -> bool:
    """Whether all neighbours of one end lie on the line of the bond: turning would change nothing."""
    for one, other in ((a, b), (b, a)):
        axis = positions[other] - positions[one]
        near = [k for k in np.flatnonzero(adjacent[one]) if k != other]
        sines = [np.linalg.norm(np.cross(axis, positions[k] - positions[one])) for k in near]
        if max(sines, default=0.0) < 0.2:
            return True
    return False


def _turned(positions, a: int, b: int, side, degrees: float) -> np.ndarray:
    axis = (positions[b] - positions[a]) / np.linalg.norm(positions[b] - positions[a])
    angle, moved = np.deg2rad(degrees), positions.copy()
    arms = positions[side] - positions[a]
    along = np.outer(arms @ axis, axis)
    across = arms - along
    moved[side] = positions[a] + along + np.cos(angle) * across + np.sin(angle) * np.cross(axis, across)
    return moved


def _stretched(positions, a: int, b: int, side, length: float) -> np.ndarray:
    axis = (positions[b] - positions[a]) / np.linalg.norm(positions[b] - positions[a])
    moved = positions.copy()
    moved[side] += length * axis
    return moved


def closest_contact(species, positions) -> float:
    """Smallest distance of two atoms over the sum of their covalent radii: scans that crash are left out."""
    radii = COVALENT_RADIUS[np.asarray(species)]
    ratio = np.linalg.norm(positions[:, None] - positions[None], axis=-1) / (radii[:, None] + radii[None])
    return float(ratio[np.triu_indices(len(radii), 1)].min(initial=np.inf))


def points(truth: Truth) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """(row, species (n,), positions (n, 3) Å) of every structure."""
    ends = np.cumsum(truth.structures.n_atoms)
    for row, (end, n) in enumerate(zip(ends, truth.structures.n_atoms)):
        atoms = slice(end - n, end)
        yield row, truth.structures.species[atoms], truth.structures.positions[atoms]


def save(path, truth: Truth) -> None:
    """Write the file whole or not at all; energies to 1e-6 eV, forces and curvatures to 1e-5."""
    s, rows = truth.structures, sorted(truth.hessians)
    forces = s.forces if s.forces is not None else np.full_like(s.positions, np.nan)
    write_arrays(
        path,
        {
            "header": header_bytes(FORMAT, VERSION, truth.provenance),
            "name": from_text("\n".join(s.name)),
            "n_atoms": s.n_atoms.astype(np.uint8),
            "z": s.species.astype(np.uint8),
            "pos": np.round(s.positions, 6),
            "n_bonds": s.n_bonds.astype(np.uint8),
            "bonds": s.bonds.astype(np.uint8),
            "kind": truth.kind.astype(np.uint8),
            "value": truth.value.astype(np.float64),
            "stable": truth.stable.astype(np.int32),
            "energy": np.round(s.energy, 6),
            "forces": np.round(forces, 5).astype(np.float32),
            "status": truth.asked.astype(np.uint8),
            "hessian_of": np.array(rows, np.int32),
            "hessian": np.concatenate(
                [np.zeros(0, np.float32), *(np.round(truth.hessians[row], 5).ravel() for row in rows)]
            ).astype(np.float32),
        },
    )


def load(path=None) -> Truth:
    """The truth of a file of `experiments/make_truth.py`; None is the one in the package.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign or inconsistent; names the file and what is wrong.
    """
    path = FILE if path is None else Path(path)
    arrays = read_arrays(path, _ARRAYS, of="truth")
    provenance = read_provenance(path, arrays["header"], FORMAT, VERSION, ("engine", "settings"))
    _check(path, arrays)
    m, n_atoms = len(arrays["n_atoms"]), arrays["n_atoms"].astype(np.int32)
    structures = Structures(
        name=np.array(to_text(arrays["name"]).split("\n")),
        n_atoms=n_atoms,
        species=arrays["z"].astype(np.int32),
        positions=arrays["pos"].astype(np.float64),
        energy=arrays["energy"].astype(np.float64),
        forces=arrays["forces"].astype(np.float64),
        cell=np.zeros((m, 3, 3)),
        n_bonds=arrays["n_bonds"].astype(np.int32),
        bonds=arrays["bonds"].astype(np.int32),
    )
    sides = 3 * n_atoms[arrays["hessian_of"]].astype(int)
    blocks = np.split(arrays["hessian"].astype(np.float64), np.cumsum(sides**2)[:-1]) if len(sides) else []
    hessians = {int(row): block.reshape(n, n) for row, block, n in zip(arrays["hessian_of"], blocks, sides)}
    asked = arrays["status"].astype(bool)
    return Truth(
        structures, arrays["kind"].astype(int), arrays["value"], arrays["stable"], asked, hessians, provenance
    )


def _check(path: Path, arrays: dict[str, np.ndarray]) -> None:
    m, total = len(arrays["n_atoms"]), int(arrays["n_atoms"].sum())
    shapes = {"z": (total,), "pos": (total, 3), "forces": (total, 3), "n_bonds": (m,)}
    shapes |= {"bonds": (int(arrays["n_bonds"].sum()), 3)}
    shapes |= dict.fromkeys(("kind", "value", "stable", "energy", "status"), (m,))
    shapes |= {"hessian": (int((9 * arrays["n_atoms"][arrays["hessian_of"]].astype(int) ** 2).sum()),)}
    for key, shape in shapes.items():
        if arrays[key].shape != shape:
            raise ValueError(f"{path}: {key} must have shape {shape}, got {arrays[key].shape}")
    if m < 1 or arrays["kind"].max() >= len(KINDS) or not (0 <= arrays["stable"]).all():
        raise ValueError(f"{path}: kind must be below {len(KINDS)} and stable a row, got others")
    if not np.isfinite(arrays["pos"]).all() or arrays["stable"].max() >= m:
        raise ValueError(f"{path}: positions must be finite and stable rows below {m}, got others")
