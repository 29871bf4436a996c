"""Slabs and wires: a box with vacuum along the directions that are not periodic."""

import numpy as np

SPARE = 5.0  # Å of vacuum beyond what keeps images apart, so that atoms may leave a surface


def vacuum_box(cell, pbc, positions, reach: float, grown=None) -> np.ndarray:
    """A cell that is periodic along the same vectors and has vacuum along the others.

    Args:
        cell: (3, 3) Å, rows are lattice vectors; those that are not periodic do not count.
        pbc: (3,) bool, one or two of them true.
        positions: (n, 3) Å, or (r, n, 3) of r structures that share the box.
        reach: Å, farther than which atoms do not see each other.
        grown: the box so far, where it has become too small: the next one is no smaller anywhere, and has
            room for atoms to go as far again.

    Returns:
        (3, 3) Å. Vectors that are not periodic stand upright on the others, and are twice the reach and 5 Å
        longer than the atoms extend along them, rounded up.

    Raises:
        ValueError: for periodic vectors that span no plane, or no line.
    """
    cell, pbc = np.array(cell, float), np.asarray(pbc, bool)
    kept = cell[pbc]
    _, sizes, axes = np.linalg.svd(kept)
    if not sizes[-1] > 1e-6:
        raise ValueError(
            f"cell must have independent vectors where it is periodic, got {kept.round(6).tolist()}"
        )
    upright = axes[len(kept) :]
    extent = extents(positions, upright)
    spare = SPARE if grown is None else np.maximum(extent, SPARE)
    lengths = np.ceil(extent + 2.0 * reach + spare)
    if grown is not None:
        lengths = np.maximum(lengths, np.linalg.norm(np.asarray(grown)[~pbc], axis=1))
    cell[~pbc] = lengths[:, None] * upright
    return cell


def extents(positions, axes) -> np.ndarray:
    """How far atoms (…, n, 3) extend along unit vectors (k, 3), Å; the farthest of many structures."""
    along = np.asarray(positions, float) @ np.asarray(axes).T
    return np.ptp(along, axis=-2).reshape(-1, len(axes)).max(axis=0)


def vacuum_left(box, pbc, positions) -> float:
    """Å of vacuum that is left between atoms and their images where the box is not periodic; inf without."""
    axes = np.asarray(box, float)[~np.asarray(pbc, bool)]
    lengths = np.linalg.norm(axes, axis=1)
    left = lengths - extents(positions, axes / lengths[:, None])
    return float(left.min(initial=np.inf))
