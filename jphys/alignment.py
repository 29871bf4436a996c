"""Rigid motions: the distance of two structures after the best one, and the motions that contain none."""

import numpy as np

__all__ = ["align", "internal_motions", "kabsch_distance"]

STRAIGHT = 0.02  # Å


def kabsch_rotation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Proper rotations U that minimise Σ|U a_i − b_i|² of centred point sets; no reflection.

    From the singular value decomposition of aᵀb (Kabsch 1976, doi:10.1107/S0567739476001873). For
    planar, linear and single points U is not unique; it is one of the best.

    Args:
        a, b: (…, n, 3).

    Returns:
        (…, 3, 3).
    """
    left, _, right = np.linalg.svd(np.swapaxes(a, -1, -2) @ b)
    proper = np.ones(left.shape[:-1])
    proper[..., 2] = np.linalg.det(left @ right)
    return np.swapaxes((left * proper[..., None, :]) @ right, -1, -2)


def align(a, b, mask=None) -> np.ndarray:
    """The points a (…, n, 3) moved by the best proper rotation and translation onto b, float64.

    Args:
        a, b: (…, n, 3) Å.
        mask: (…, n) bool, points that count; None for all.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    weight = np.ones(a.shape[:-1]) if mask is None else np.asarray(mask, np.float64)
    weight = weight[..., None] / np.maximum(weight.sum(-1), 1)[..., None, None]
    center_a, center_b = (np.sum(weight * x, axis=-2, keepdims=True) for x in (a, b))
    rotation = kabsch_rotation((a - center_a) * weight, b - center_b)
    return (a - center_a) @ np.swapaxes(rotation, -1, -2) + center_b


def kabsch_distance(a, b, mask=None) -> np.ndarray:
    """ΔP: mean distance per atom after the best proper rotation and translation (Yi et al., sec. 4.3).

    The motion minimises the mean squared distance, as usual, and the mean of the distances is reported.

    Args:
        a, b: (…, n, 3) Å.
        mask: (…, n) bool, atoms that count; None for all.

    Returns:
        (…) Å, float64.

    >>> float(kabsch_distance([[0, 0, 0], [1, 0, 0]], [[5, 0, 0], [5, 2, 0]]))
    0.5
    """
    distances = np.linalg.norm(align(a, b, mask) - np.asarray(b, np.float64), axis=-1)
    if mask is None:
        return distances.mean(-1)
    mask = np.asarray(mask, bool)
    return np.where(mask, distances, 0).sum(-1) / np.maximum(mask.sum(-1), 1)


def internal_motions(positions, root_mass: np.ndarray | float = 1.0) -> np.ndarray:
    """Orthonormal columns (3n, 3n − 6) that contain no translation or rotation; 3n − 5 of a linear molecule.

    A molecule is linear where its atoms are within 0.02 Å (root mean square) of a line: a relaxed one is
    never quite straight.

    Args:
        positions: (n, 3) Å.
        root_mass: (3n,) √amu where motions are mass-weighted.
    """
    centered = np.asarray(positions, float) - np.mean(positions, axis=0)
    shifts = np.tile(np.eye(3), (len(centered), 1))
    turns = np.stack([np.cross(axis, centered).ravel() for axis in np.eye(3)], axis=1)
    rigid = np.concatenate([shifts, turns], axis=1) * np.broadcast_to(root_mass, len(shifts))[:, None]
    vectors = np.linalg.svd(rigid)[0]
    extents = np.append(np.linalg.svd(centered, compute_uv=False), np.zeros(2)) / len(centered) ** 0.5
    return vectors[:, 3 + (2 if extents[0] > STRAIGHT else 0) + (1 if extents[1] > STRAIGHT else 0) :]
