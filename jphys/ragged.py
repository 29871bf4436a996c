"""Ragged arrays: rows of many structures end to end, gathered into static shapes on host and device."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np


class Ragged(NamedTuple):
    """Rows of m structures, flat. Structure s owns rows starts[s] … starts[s] + counts[s]."""

    rows: Any  # pytree of (sum counts, …)
    starts: jax.Array | np.ndarray  # (m,) int32
    counts: jax.Array | np.ndarray  # (m,) int32


class Taken(NamedTuple):
    """Rows of the chosen structures in a static number of slots."""

    rows: Any  # pytree of (budget, …); padding slots repeat some row: use the mask
    owner: jax.Array  # (budget,) place in `chosen`; the number of chosen on padding
    local: jax.Array  # (budget,) row number within its structure
    mask: jax.Array  # (budget,) bool


def ragged_rows(parts: list, *, n_rows: int = 0, members: int = 0) -> Ragged:
    """Join one pytree of arrays (count, …) per structure, of one length in a part, on the host.

    Unused rows and empty structures follow up to `n_rows` and `members`, where these are more: parts of other
    sizes then have the same static shape.

    Raises:
        ValueError: for 2³¹ rows or more, which int32 cannot number.
    """
    counts = np.array([len(jax.tree.leaves(part)[0]) for part in parts], np.int32)
    starts = row_starts(counts)
    spare, empty = max(n_rows - counts.sum(), 0), np.zeros(max(members - len(parts), 0), np.int32)

    def join(*leaves):
        return np.concatenate([*leaves, np.zeros((spare, *leaves[0].shape[1:]), leaves[0].dtype)])

    rows = jax.tree.map(join, *parts)
    return Ragged(rows, np.concatenate([starts, empty]), np.concatenate([counts, empty]))


def row_starts(counts) -> np.ndarray:
    """Where the rows of each structure begin, (m,) int32.

    Raises:
        ValueError: for 2³¹ rows or more, which int32 cannot number.
    """
    ends = np.cumsum(counts, dtype=np.int64)
    if ends[-1] >= 2**31:
        raise ValueError(f"parts must have fewer than 2**31 rows together, got {ends[-1]}")
    return np.concatenate([[0], ends[:-1]]).astype(np.int32)


def take_rows(ragged: Ragged, chosen, budget: int) -> Taken:
    """Rows of the structures `chosen` (k,), in that order; −1 chooses none. Runs under jit.

    Rows beyond `budget` would be lost: `largest_total` over all the batches of a run gives a budget
    that holds every one of them.
    """
    ragged = jax.tree.map(jnp.asarray, ragged)
    counts = jnp.where(chosen >= 0, ragged.counts[chosen], 0)
    ends = jnp.cumsum(counts)
    slots = jnp.arange(budget)
    owner = jnp.searchsorted(ends, slots, side="right", method="compare_all")
    mask = slots < ends[-1]
    safe = jnp.minimum(owner, len(chosen) - 1)
    local = jnp.where(mask, slots - (ends - counts)[safe], 0)
    row = jnp.where(mask, ragged.starts[chosen[safe]] + local, 0)
    rows = jax.tree.map(
        lambda leaf: leaf[row] if len(leaf) else jnp.zeros((budget, *leaf.shape[1:]), leaf.dtype), ragged.rows
    )
    return Taken(rows, jnp.where(mask, owner, len(chosen)), local, mask)


def gather_rows(ragged: Ragged, chosen: np.ndarray, size: int) -> Ragged:
    """Rows of the structures `chosen` (k,) alone, in that order, −1 for none, in `size` slots. Host side."""
    counts = np.where(chosen >= 0, np.asarray(ragged.counts)[chosen], 0).astype(np.int32)
    starts, theirs = row_starts(counts), np.asarray(ragged.starts)[chosen]
    spans = np.stack([starts, starts + counts, theirs, theirs + counts], axis=1)[counts > 0].tolist()

    def join(leaf):
        rows = np.zeros((size, *leaf.shape[1:]), leaf.dtype)
        for first, last, begin, end in spans:
            rows[first:last] = leaf[begin:end]
        return rows

    return Ragged(jax.tree.map(join, ragged.rows), starts, counts)


def padded(ragged: Ragged, chosen: np.ndarray, width: int) -> tuple[Any, np.ndarray]:
    """Rows of the structures `chosen` (k,), each in `width` slots, and which slots are real. Host side.

    Returns:
        A pytree of (k, width, …), 0 on padding, and a mask (k, width).
    """
    slots = np.arange(width)
    mask = slots < np.asarray(ragged.counts)[chosen, None]
    where = (np.asarray(ragged.starts)[chosen, None] + slots)[mask]

    def fill(leaf):
        rows = np.zeros((*mask.shape, *leaf.shape[1:]), leaf.dtype)
        rows[mask] = np.asarray(leaf)[where]
        return rows

    return jax.tree.map(fill, ragged.rows), mask


def largest_total(counts: np.ndarray, batches: np.ndarray) -> int:
    """Most rows that any batch (…, k) of structure indices needs; −1 counts nothing."""
    totals = np.where(batches >= 0, np.asarray(counts)[batches], 0).sum(axis=-1)
    return int(totals.max(initial=0))
