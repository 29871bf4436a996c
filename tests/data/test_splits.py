"""Splits: disjoint, covering, seeded."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jphys.data.splits import split


@given(n=st.integers(20, 5000), seed=st.integers(0, 2**32))
def test_parts_are_disjoint_and_cover(n, seed):
    parts = split(n, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(n))
    assert [
        abs(len(part) - fraction * n) <= 1 for part, fraction in zip(parts, (0.8, 0.05, 0.15), strict=True)
    ] == [True] * 3


def test_sizes_of_the_small_qm9():
    assert [len(part) for part in split(3921, seed=0)] == [3137, 196, 588]


def test_seed_decides():
    np.testing.assert_array_equal(split(100, seed=3).test, split(100, seed=3).test)
    assert split(100, seed=3).test.tolist() != split(100, seed=4).test.tolist()


def test_split_is_random_over_the_whole_range():
    # the data set is ordered by size: a split without permutation would test on the largest molecules only
    test = split(10_000, seed=1).test
    assert abs(test.mean() - 4999.5) < 5 * 10_000 / np.sqrt(12 * len(test))


@pytest.mark.parametrize(
    ("n", "options", "message"),
    [
        (2, {}, "n must be at least 3"),
        (3, {"fractions": (0.1, 0.45, 0.45)}, None),
        (4, {"fractions": (0.1, 0.45, 0.45)}, "n must leave a structure for each part"),
        (100, {"fractions": (0.8, 0.1, 0.2)}, "sum 1"),
        (100, {"fractions": (1.0, 0.0, 0.0)}, "three positive numbers"),
        (100, {"fractions": (0.5, 0.5)}, "three positive numbers"),
        (100, {"fractions": (0.5, 0.5, float("nan"))}, "three positive numbers"),
        (100, {"seed": -1}, "seed must not be negative, got -1"),
    ],
)
def test_impossible_values_are_refused(n, options, message):
    options = {"seed": 0} | options
    if message is None:
        assert [len(part) for part in split(n, **options)] == [1, 1, 1]
        return
    with pytest.raises(ValueError, match=message):
        split(n, **options)
