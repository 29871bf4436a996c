"""Which atoms see which: edge lists by cutoff, with every periodic image. Host side, numpy."""

import itertools

import numpy as np


def all_pairs(n_atoms: int):
    """All ordered pairs i ≠ j of `n_atoms` atoms, sorted by receiver.

    Returns:
        senders (e,), receivers (e,), shifts (e, 3) of zeros; e = n(n−1).

    >>> senders, receivers, _ = all_pairs(3)
    >>> receivers.tolist(), senders.tolist()
    ([0, 0, 1, 1, 2, 2], [1, 2, 0, 2, 0, 1])
    """
    receivers, senders = np.divmod(np.arange(n_atoms * max(n_atoms - 1, 0)), max(n_atoms - 1, 1))
    senders = senders + (senders >= receivers)
    return senders.astype(np.int32), receivers.astype(np.int32), np.zeros((len(senders), 3), np.int32)


def all_images(n_atoms: int, reach):
    """All ordered pairs of `n_atoms` atoms in all periodic images, sorted by receiver.

    Args:
        n_atoms: n.
        reach: (3,) int; images −reach … reach along each lattice direction.

    Returns:
        senders (e,), receivers (e,), shifts (e, 3); an atom is paired with its own images, not with itself.

    >>> senders, receivers, shifts = all_images(2, (1, 0, 0))
    >>> senders.tolist(), shifts[:, 0].tolist()
    ([0, 0, 1, 1, 1, 0, 0, 0, 1, 1], [-1, 1, -1, 0, 1, -1, 0, 1, -1, 1])
    """
    images = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))), np.int32)
    receivers, senders, image = np.indices((n_atoms, n_atoms, len(images)), np.int32).reshape(3, -1)
    others = (receivers != senders) | images[image].any(axis=1)
    return senders[others], receivers[others], images[image][others]


def heights(cell: np.ndarray) -> np.ndarray:
    """Distances (3,) Å between opposite faces of a cell (3, 3) with lattice vectors as rows."""
    return abs(np.linalg.det(cell)) / np.linalg.norm(np.cross(cell[[1, 2, 0]], cell[[2, 0, 1]]), axis=1)


def image_ranges(cell: np.ndarray, cutoff: float) -> np.ndarray:
    """How many cells (3,) a sphere of radius `cutoff` reaches along each lattice direction."""
    return np.ceil(cutoff / heights(cell)).astype(int)


def within_cutoff(positions: np.ndarray, cell: np.ndarray | None, cutoff: float):
    """Ordered pairs closer than `cutoff`, periodic images included, sorted by receiver.

    Works for any cell shape and size, also where the cutoff exceeds the cell; atoms may lie outside it.

    Args:
        positions: (n, 3) Å.
        cell: (3, 3) rows are lattice vectors, or None for a free molecule.
        cutoff: Å.

    Returns:
        senders (e,), receivers (e,), shifts (e, 3) int: the vector from receiver i to sender j is
        positions[j] + shift @ cell − positions[i]. Every edge has its reverse: in the last digit, too, both
        have one length.
    """
    n_atoms = len(positions)
    if cell is None:
        images, wraps, wrapped = np.zeros((1, 3), int), np.zeros((n_atoms, 3), int), positions
        cell = np.eye(3)
    else:
        wraps = np.floor(positions @ np.linalg.inv(cell)).astype(int)
        wrapped = positions - wraps @ cell
        reach = image_ranges(cell, cutoff)
        images = np.array(list(itertools.product(*(range(-r, r + 1) for r in reach))))
    found = []
    # Sums whose every term changes its sign with the direction: a matrix product may add in another order.
    offsets = images[:, :1] * cell[0] + images[:, 1:2] * cell[1] + images[:, 2:] * cell[2]
    for receiver in range(n_atoms):
        ends = (wrapped - wrapped[receiver])[None] + offsets[:, None]
        near = np.sum(ends**2, axis=-1) < cutoff**2
        zero = np.flatnonzero(~images.any(axis=1))[0]
        near[zero, receiver] = False
        image, sender = np.nonzero(near)
        shifts = images[image] + wraps[receiver] - wraps[sender]
        found.append((sender, np.full(len(sender), receiver), shifts))
    if not found:
        return np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros((0, 3), np.int32)
    senders, receivers, shifts = (np.concatenate(parts).astype(np.int32) for parts in zip(*found))
    return senders, receivers, shifts
