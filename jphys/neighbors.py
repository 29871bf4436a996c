"""Which atoms see which: edge lists by cutoff, with every periodic image. Host side, numpy and scipy."""

import itertools

import numpy as np

__all__ = ["all_images", "all_pairs", "heights", "within_cutoff"]

FEW = 10_000
"""So many pairs of an atom and an end of an edge are all measured: a tree takes longer to build."""
SLACK = 1e-6
"""Of the cutoff: what is nearly within it is found first and measured afterwards."""


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


def within_cutoff(positions: np.ndarray, cell: np.ndarray | None, cutoff: float):
    """Ordered pairs closer than `cutoff`, periodic images included, sorted by receiver.

    Works for any cell shape and size, also where the cutoff exceeds the cell; atoms may lie outside it.
    Up to about a hundred atoms every pair is measured; of more, a k-d tree of scipy finds the near ones, in
    time and memory that grow as the number of edges.

    Args:
        positions: (n, 3) Å, finite.
        cell: (3, 3) rows are lattice vectors, or None for a free molecule.
        cutoff: Å.

    Returns:
        senders (e,), receivers (e,), shifts (e, 3) int32: the vector from receiver i to sender j is
        positions[j] + shift @ cell − positions[i]. The edges of a receiver are sorted by the image of the
        sender, then by the sender. Every edge has its reverse: in the last digit, too, both have one length.
    """
    if cell is None:
        cell, wraps, wrapped = np.zeros((3, 3)), np.zeros(positions.shape, int), positions
        atoms, images = np.arange(len(positions)), wraps
    else:
        inverse = np.linalg.inv(cell)
        wraps = np.floor(positions @ inverse).astype(int)
        wrapped = positions - wraps @ cell
        atoms, images = _images_near(wrapped @ inverse, cell, cutoff)
    # Sums whose every term changes its sign with the direction: a matrix product may add in another order.
    offsets = images[:, :1] * cell[0] + images[:, 1:2] * cell[1] + images[:, 2:] * cell[2]
    receivers, ends = _candidates(wrapped, wrapped[atoms] + offsets, cutoff)
    senders = atoms[ends]
    vectors = wrapped.take(senders, axis=0)
    vectors -= wrapped.take(receivers, axis=0)
    vectors += offsets.take(ends, axis=0)
    near = np.sum(vectors**2, axis=1) < cutoff**2
    itself = np.flatnonzero(~images.any(axis=1))  # the ends that are the atoms
    near &= ends != itself[receivers]
    senders, receivers, ends = senders[near], receivers[near], ends[near]
    shifts = (images - wraps[atoms]).take(ends, axis=0) + wraps.take(receivers, axis=0)
    return senders.astype(np.int32), receivers.astype(np.int32), shifts.astype(np.int32)


def _images_near(fractions: np.ndarray, cell: np.ndarray, cutoff: float):
    """Images of the atoms in and around the cell: all that can be within `cutoff` of one of the atoms.

    Args:
        fractions: (n, 3) positions in units of the lattice vectors, 0 to 1.
        cell, cutoff: as in `within_cutoff`.

    Returns:
        atoms (m,), images (m, 3): sorted by image, then by atom.
    """
    atoms, images = np.arange(len(fractions)), np.zeros(fractions.shape, int)
    reach = cutoff / heights(cell)  # of a sphere, in units of the lattice vectors
    margin = reach + SLACK * (1.0 + reach)
    low, high = fractions.min(axis=0, initial=1.0) - margin, fractions.max(axis=0, initial=0.0) + margin
    farthest = np.ceil(reach).astype(int)
    for axis in (2, 1, 0):  # the last one sorts first
        steps = np.arange(-farthest[axis], farthest[axis] + 1)
        places = fractions[atoms, axis] + steps[:, None]
        step, row = np.nonzero((places > low[axis]) & (places < high[axis]))
        atoms, images = atoms[row], images[row]
        images[:, axis] = steps[step]
    return atoms, images


def _candidates(starts: np.ndarray, ends: np.ndarray, cutoff: float):
    """Numbers of the starts (n, 3) and ends (m, 3), sorted, between which it can be less than `cutoff`."""
    if len(starts) * len(ends) <= FEW:
        pairs = np.arange(len(starts) * len(ends))
    else:
        from scipy.spatial import KDTree  # on first use: few structures are that large

        reach = (1.0 + SLACK) * cutoff
        found = KDTree(starts).sparse_distance_matrix(KDTree(ends), reach, output_type="ndarray")
        pairs = np.sort(found["i"] * len(ends) + found["j"])
    return np.divmod(pairs, max(len(ends), 1))
