"""Atoms on one spot: no energy function has a finite force there."""

import numpy as np
from scipy.spatial import KDTree

CLOSEST = 1e-3  # Å; two atoms nearer than this are one atom written twice


def check_apart(positions: np.ndarray, where: str, cell: np.ndarray | None = None) -> None:
    """Refuse a structure that has two atoms on one spot.

    Args:
        positions: (n, 3) Å, finite.
        where: of the structure, for the message.
        cell: (3, 3) Å, rows are lattice vectors with a volume above 0: images count too; None for a molecule.

    Raises:
        ValueError: two atoms closer than `CLOSEST`; names where, the atoms and their distance.
    """
    for i, j in sorted(_candidates(positions, cell)):
        distance = _distance(positions[j] - positions[i], cell)
        if distance < CLOSEST:
            raise ValueError(refusal(where, i, j, distance))


def first_contact(positions: np.ndarray, n_atoms: np.ndarray) -> tuple[int, int, int, float] | None:
    """The first two atoms on one spot among many molecules.

    Args:
        positions: (sum n_atoms, 3) Å, finite.
        n_atoms: (m,) atoms of each.

    Returns:
        Molecule, two atoms of it, their distance in Å; None where all are apart.
    """
    owner, x = np.repeat(np.arange(len(n_atoms)), n_atoms), positions[:, 0]
    for step in range(1, int(n_atoms.max(initial=0))):
        near = (owner[step:] == owner[:-step]) & (np.abs(x[step:] - x[:-step]) < CLOSEST)
        rows = np.flatnonzero(near)
        distances = np.linalg.norm(positions[rows + step] - positions[rows], axis=1)
        for k in np.flatnonzero(distances < CLOSEST):
            molecule = int(owner[rows[k]])
            i = int(rows[k] - n_atoms[:molecule].sum())
            return molecule, i, i + step, float(distances[k])
    return None


def refusal(where: str, i: int, j: int, distance: float) -> str:
    """What the error says."""
    return f"{where}: atoms must be {CLOSEST} Å apart or more, got {distance:.2g} Å between atoms {i} and {j}"


def _candidates(positions: np.ndarray, cell: np.ndarray | None) -> set[tuple[int, int]]:
    if cell is None:
        return KDTree(positions).query_pairs(CLOSEST)
    inverse = np.linalg.inv(cell)
    fractions = (positions @ inverse) % 1.0 % 1.0  # the first gives 1 for −1e-17
    return KDTree(fractions, boxsize=1.0).query_pairs(CLOSEST * np.linalg.norm(inverse, 2))


def _distance(apart: np.ndarray, cell: np.ndarray | None) -> float:
    if cell is not None:
        fractions = apart @ np.linalg.inv(cell)
        apart = (fractions - np.rint(fractions)) @ cell
    return float(np.linalg.norm(apart))
