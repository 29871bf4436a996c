"""Seeded splits of a data set into training, validation and test part."""

from typing import NamedTuple

import numpy as np

__all__ = ["Split", "split"]


class Split(NamedTuple):
    """Indices of three disjoint parts that together are the whole data set."""

    train: np.ndarray  # (n_train,) int64
    valid: np.ndarray  # (n_valid,) int64
    test: np.ndarray  # (n_test,) int64


def split(n: int, *, fractions: tuple[float, float, float] = (0.80, 0.05, 0.15), seed: int) -> Split:
    """A random permutation of 0..n-1 cut at the given fractions; the same seed gives the same split.

    Args:
        n: number of structures.
        fractions: of training, validation and test part; positive, sum 1.
        seed: of numpy's default generator, not negative.

    Returns:
        Index arrays: validation and test get round(fraction · n), at least 1; training gets the rest.

    Raises:
        ValueError: fewer than 3 structures, a fraction that is not positive, a sum other than 1, seed < 0.
    """
    if n < 3:
        raise ValueError(f"n must be at least 3, one structure for each part, got {n}")
    if len(fractions) != 3 or not all(f > 0 for f in fractions) or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"fractions must be three positive numbers with sum 1, got {tuple(fractions)}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    n_valid, n_test = (max(1, round(fraction * n)) for fraction in fractions[1:])
    if n_valid + n_test >= n:
        raise ValueError(f"n must leave a structure for each part of fractions {tuple(fractions)}, got {n}")
    order = np.random.default_rng(seed).permutation(n)
    train, valid, test = np.split(order, [n - n_valid - n_test, n - n_test])
    return Split(train, valid, test)
