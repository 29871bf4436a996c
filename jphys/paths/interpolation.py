"""First guesses of a path: images between two structures, on straight lines or by their distances.

The image-dependent pair potential (IDPP; Smidstrup, Pedersen, Stokbro, Jónsson, J. Chem. Phys. 140, 214106
(2014)) asks the distances of each image to be interpolated too,

    S(R) = Σ_{i<j} (d_ij − d⁰_ij)² / min(d_ij, d⁰_ij)⁴,  d⁰_ij = (1 − t) d_ij(first) + t d_ij(last),

so that atoms go around each other where straight lines run through each other. (The paper divides by d_ij⁴
throughout: atoms that fly apart then cost less and less.)
"""

import numpy as np
from ase.geometry import find_mic
from scipy.optimize import minimize
from scipy.sparse import coo_array

from jphys.alignment import align

__all__ = ["idpp", "straight"]

CLOSEST = 0.1  # Å; nearer atoms count as so far apart, that none weighs without limit
NUDGE = 0.02  # Å


def straight(first, last, images: int, *, cell=None, fixed=None) -> np.ndarray:
    """All images, both ends with them, on straight lines (images + 2, n, 3) Å.

    The last structure of a free molecule is laid on the first by a rigid motion, unless atoms are fixed; in a
    cell every atom goes to the nearest image of its goal.

    Args:
        first, last: (n, 3) Å, atoms in the same order.
        images: between the ends.
        cell: (3, 3) rows are lattice vectors; None or zeros for a free molecule.
        fixed: (n,) bool; None for none.
    """
    first, last = np.asarray(first, np.float64), np.asarray(last, np.float64)
    way = last - first
    if cell is not None and np.any(cell):
        way, _ = find_mic(way, cell)
    elif fixed is None or not np.any(fixed):
        way = align(last, first) - first
    part = np.linspace(0.0, 1.0, images + 2)
    return first + part[:, None, None] * way


def idpp(chain: np.ndarray, *, cell=None, fixed=None, steps: int = 200) -> np.ndarray:
    """The images (k + 2, n, 3) Å of a straight path, moved to where their distances are interpolated.

    Distances of a cell are those that are shortest on the straight path. Both ends and fixed atoms stay.
    """
    chain = np.array(chain, np.float64)
    inner, n = chain[1:-1], chain.shape[1]
    i, j = np.triu_indices(n, 1)
    if not len(inner) or not len(i):
        return chain
    offset = np.zeros((len(chain), len(i), 3))
    if cell is not None and np.any(cell):
        apart = (chain[:, j] - chain[:, i]).reshape(-1, 3)
        offset = (find_mic(apart, cell)[0] - apart).reshape(offset.shape)
    ends = np.linalg.norm((chain[:, j] - chain[:, i] + offset)[[0, -1]], axis=-1)
    part = np.linspace(0.0, 1.0, len(chain))[1:-1, None]
    wanted = np.maximum((1 - part) * ends[0] + part * ends[1], CLOSEST)
    ends_of = coo_array(
        (np.repeat([1.0, -1.0], len(i)), (np.r_[j, i], np.tile(np.arange(len(i)), 2)))
    ).tocsr()
    free = np.ones(n, bool) if fixed is None else ~np.asarray(fixed, bool)

    if np.linalg.norm(chain[1:-1, j] - chain[1:-1, i] + offset[1:-1], axis=-1).min() < CLOSEST:
        # Atoms that run into each other head on have no way around.
        inner = inner + NUDGE * free[:, None] * np.random.default_rng(0).normal(size=inner.shape)

    def objective(moving):
        places = inner.copy()
        places[:, free] = moving.reshape(len(inner), -1, 3)
        vectors = places[:, j] - places[:, i] + offset[1:-1]
        lengths = np.maximum(np.linalg.norm(vectors, axis=-1), CLOSEST)
        off, least = lengths - wanted, np.minimum(lengths, wanted)
        slope = (2 * off / least**4 - np.where(off < 0, 4 * off**2 / least**5, 0.0)) / lengths
        pulls = slope[..., None] * vectors
        gradient = (
            (ends_of @ pulls.swapaxes(0, 1).reshape(len(i), -1)).reshape(n, len(inner), 3).swapaxes(0, 1)
        )
        return np.sum(off**2 / least**4), gradient[:, free].ravel()

    found = minimize(
        objective, inner[:, free].ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps}
    )
    chain[1:-1][:, free] = found.x.reshape(len(inner), -1, 3)
    return chain
