"""Fixtures for the tests of losses."""

import pytest
from small_batches import batch_of, small_dataset


@pytest.fixture(scope="module")
def dataset():
    return small_dataset(cutoff=4.0)


@pytest.fixture(scope="module")
def both(dataset):
    """Three molecules, an empty place in the middle, and padding."""
    return batch_of(dataset, [4, -1, 7, 2])
