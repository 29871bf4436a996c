"""Ragged rows against numpy slicing."""

import jax
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jphys.ragged import gather_rows, largest_total, ragged_rows, take_rows

BUDGET, TOTAL = 22, 24
take = jax.jit(take_rows, static_argnums=2)


@st.composite
def parts_and_choice(draw):
    """Six structures of 0 to 4 rows, a seventh that makes 24 of all: one shape, one compilation."""
    counts = draw(st.lists(st.integers(0, 4), min_size=6, max_size=6))
    chosen = draw(st.lists(st.integers(-1, 5), min_size=5, max_size=5))
    return [*counts, TOTAL - sum(counts)], chosen


@given(parts_and_choice())
def test_take_rows_is_concatenation_of_slices(drawn):
    counts, chosen = drawn
    rng = np.random.default_rng(sum(chosen) + 5)
    parts = [
        (rng.normal(size=(n, 2)).astype(np.float32), np.arange(n) + 10 * i) for i, n in enumerate(counts)
    ]
    total = sum(counts[i] for i in chosen if i >= 0)
    taken = jax.tree.map(np.asarray, take(ragged_rows(parts), np.array(chosen), BUDGET))
    kept = [(place, i) for place, i in enumerate(chosen) if i >= 0]
    for leaf, of_part in ((taken.rows[0], 0), (taken.rows[1], 1)):
        assert len(leaf) == BUDGET
        expected = np.concatenate([parts[i][of_part] for _, i in kept] or [parts[0][of_part][:0]])
        np.testing.assert_array_equal(leaf[:total], expected)
    room = BUDGET - total
    owner = [place for place, i in kept for _ in range(counts[i])]
    np.testing.assert_array_equal(taken.owner, owner + [5] * room)
    np.testing.assert_array_equal(taken.local, [k for _, i in kept for k in range(counts[i])] + [0] * room)
    np.testing.assert_array_equal(taken.mask, [True] * total + [False] * room)
    assert largest_total(np.array(counts), np.array([chosen])) == total
    alone = gather_rows(ragged_rows(parts), np.array(chosen), BUDGET)
    again = jax.tree.map(np.asarray, take(alone, np.where(np.array(chosen) >= 0, np.arange(5), -1), BUDGET))
    for ours, theirs in zip(again.rows, taken.rows):
        np.testing.assert_array_equal(ours[:total], theirs[:total])
    np.testing.assert_array_equal(again.owner, taken.owner)


def test_take_rows_runs_under_jit_with_one_trace():
    ragged = ragged_rows([np.arange(3), np.arange(3, 5)])
    traces = []

    @jax.jit
    def take(chosen):
        traces.append(1)
        return take_rows(ragged, chosen, 6).rows

    np.testing.assert_array_equal(take(np.array([1, 0]))[:5], [3, 4, 0, 1, 2])
    np.testing.assert_array_equal(take(np.array([0, 0])), [0, 1, 2, 0, 1, 2])
    assert len(traces) == 1


def test_more_rows_than_int32_can_number_are_refused():
    part = np.broadcast_to(np.float32(0), 2**30)
    with pytest.raises(ValueError, match=r"fewer than 2\*\*31 rows together, got 2147483648"):
        ragged_rows([part, part])


def test_largest_total_over_batches():
    counts = np.array([5, 1, 7])
    batches = np.array([[[0, 1], [2, -1]], [[0, 2], [-1, -1]]])
    assert largest_total(counts, batches) == 12
    assert largest_total(counts, np.zeros((0, 2), int)) == 0
