"""Which atoms of a free molecule are joined, by its structure alone: bonds, angles, torsions, contacts."""

from collections.abc import Sequence

import numpy as np

from jphys.elements import COVALENT_RADIUS

BOND_REACH = 1.3  # two atoms are bonded below this multiple of the sum of their covalent radii
CONTACT_REACH = 5.0  # Å; contacts beyond it are left out
PLANAR = 0.5  # three unit vectors along bonds in a plane add up to less than this
CHALCOGENS = (8, 16, 34)  # two bonds do not make these planar


def lengths(positions, atoms) -> np.ndarray:
    """Distances (t,) Å of pairs of atoms (t, 2)."""
    return np.linalg.norm(positions[atoms[:, 0]] - positions[atoms[:, 1]], axis=1)


def bonded_pairs(species: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Adjacency (n, n) bool by covalent radii."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    radii = COVALENT_RADIUS[species]
    return (distances < BOND_REACH * (radii[:, None] + radii[None])) & ~np.eye(len(species), dtype=bool)


def neighbors_of(adjacent: np.ndarray) -> list[np.ndarray]:
    """The atoms bonded to each."""
    return [np.flatnonzero(row) for row in adjacent]


def angles_of(neighbors: Sequence[np.ndarray]) -> np.ndarray:
    """Atoms (t, 3) of the bond angles, their centre in the middle."""
    near = [atoms.tolist() for atoms in neighbors]
    found = [(i, j, k) for j, ends in enumerate(near) for a, i in enumerate(ends) for k in ends[a + 1 :]]
    return np.array(found, int).reshape(-1, 3)


def torsions_of(bonds: np.ndarray, neighbors: Sequence[np.ndarray]) -> np.ndarray:
    """Atoms (t, 4) of the chains of three bonds, by their middle bond."""
    near = [atoms.tolist() for atoms in neighbors]
    found = [
        (i, j, k, m) for j, k in bonds.tolist() for i in near[j] if i != k for m in near[k] if m not in (i, j)
    ]
    return np.array(found, int).reshape(-1, 4)


def contacts_of(positions, adjacent) -> np.ndarray:
    """Pairs (t, 2) at least three bonds apart and closer than CONTACT_REACH."""
    near = adjacent | (adjacent.astype(int) @ adjacent.astype(int) > 0)
    pairs = np.argwhere(np.triu(~near, 1)).reshape(-1, 2)
    return pairs[lengths(positions, pairs) < CONTACT_REACH]


def planar_atoms(species, positions, neighbors) -> np.ndarray:
    """Whether each atom has its bonds in a plane (n,) bool, as where it is part of a double bond.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        neighbors: n arrays of the atoms bonded to each.
    """
    found = []
    for atom, near in enumerate(neighbors):
        if len(near) == 3:
            arms = positions[near] - positions[atom]
            arms /= np.sqrt((arms**2).sum(axis=1))[:, None]
            found.append((arms.sum(axis=0) ** 2).sum() < PLANAR**2)
        else:
            found.append(len(near) == 2 and species[atom] not in CHALCOGENS)
    return np.array(found, bool)


def small_rings(adjacent, angles) -> np.ndarray:
    """Size of the ring of three or four atoms that each angle (t, 3) is part of, 0 for none."""
    steps = adjacent.astype(int) @ adjacent.astype(int)
    i, k = angles[:, 0], angles[:, 2]
    return np.where(adjacent[i, k], 3, np.where(steps[i, k] > 1, 4, 0))


def about_ring_bonds(adjacent, torsions) -> np.ndarray:
    """Whether the middle bond of each torsion (t, 4) is part of a ring of at most six atoms, (t,) bool."""
    once = adjacent.astype(int)
    i, j, k, m = torsions.T
    twice = once @ once
    thrice = twice @ once  # one of these ways is the torsion itself
    closed = adjacent[i, m] | (twice[i, m] > 0) | (thrice[i, m] > 1) | (twice[j, k] > 0)
    bond = j * len(adjacent) + k
    return np.isin(bond, bond[closed])
