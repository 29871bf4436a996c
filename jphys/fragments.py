"""Which atoms leave when a bond of a molecule breaks: how structures are taken apart in training."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from scipy.sparse.csgraph import shortest_path

from jphys.prior import bonded_pairs

__all__ = ["Sides", "bridges", "make_sides"]


class Sides(NamedTuple):
    """The smaller sides of the acyclic bonds of one structure, or of many, padded."""

    ends: np.ndarray | jax.Array  # (…, n_bond, 2) int32: the atom that stays, the atom that leaves
    leaving: np.ndarray | jax.Array  # (…, n_bond, n_atom) bool, the side of the second
    weight: np.ndarray | jax.Array  # (…, n_bond) how often the bond is chosen, sums to 1; 0 on padding


HEAVY_WEIGHT = 4.0  # a bond between heavy atoms is chosen so many times as often as one of a hydrogen


def bridges(adjacent: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    """The bonds that are in no ring: (i, j, atoms (n,) bool on the side of j), i < j.

    Across such a bond every atom is nearer to one end than to the other, and no other bond joins the sides.

    Args:
        adjacent: (n, n) bool, symmetric.
    """
    hops, found = shortest_path(adjacent, unweighted=True), []
    for i, j in np.argwhere(np.triu(adjacent)).tolist():
        side = hops[:, j] < hops[:, i]
        if adjacent[side][:, ~side].sum() == 1:
            found.append((i, j, side))
    return found


def make_sides(species, positions) -> Sides:
    """Every acyclic bond of a free molecule. Host side.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å, the stable structure.
    """
    species, positions = np.asarray(species), np.asarray(positions, np.float64)
    ends, leaving = [], []
    for i, j, side in bridges(bonded_pairs(species, positions)):
        smaller = 2 * side.sum() <= len(side)
        ends.append((i, j) if smaller else (j, i))
        leaving.append(side if smaller else ~side)
    ends = np.array(ends, np.int32).reshape(-1, 2)
    weight = np.where((species[ends] > 1).all(axis=1), HEAVY_WEIGHT, 1.0)
    return Sides(ends, np.array(leaving, bool).reshape(-1, len(species)), weight / max(weight.sum(), 1.0))


def stack(sides: Sequence[Sides], n_atom: int) -> Sides:
    """The sides of many structures, padded to n_atom and to the most bonds without rings of so many atoms."""
    n_bond = max(1, n_atom - 1)  # a choice among no places is an error
    m = len(sides)
    ends, leaving = np.zeros((m, n_bond, 2), np.int32), np.zeros((m, n_bond, n_atom), bool)
    weight = np.zeros((m, n_bond), np.float32)
    for row, one in enumerate(sides):
        count, size = one.leaving.shape
        ends[row, :count], leaving[row, :count, :size], weight[row, :count] = (
            one.ends,
            one.leaving,
            one.weight,
        )
    return Sides(ends, leaving, weight)
