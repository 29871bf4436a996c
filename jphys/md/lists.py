"""Finding pairs by jax-md, in any box, also one smaller than the cutoff.

What is kept of them, whichever of jax-md's two lists found them, is one edge list sorted by receiver with
integer periodic images, and the test of when it has to be found again.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import custom_partition, partition, space

from jphys.graph import ROUNDED, check_room_for_bonds
from jphys.md.lattice import Lattice, heights
from jphys.shapes import round_size

MOST_CANDIDATES = 300_000_000  # of jax-md's list of all images, which holds 27 n² in about 30 bytes each
FREE_CELLS = 2.0  # cells per side of free space, at most, by the cube root of the number of atoms
SHRINKS = 0.95  # a list is allocated so that it serves until the box is this much shorter


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=(
        "receivers",
        "senders",
        "shifts",
        "reference",
        "reference_box",
        "did_buffer_overflow",
        "found",
    ),
    meta_fields=("lists",),
)
@dataclasses.dataclass(frozen=True)
class Neighbors:
    """Pairs within cutoff + skin at the reference positions, with room for more.

    What jax-md's loops use of a list is here: `update`, `did_buffer_overflow`.
    """

    receivers: jax.Array  # (e,), ascending; n on padding
    senders: jax.Array  # (e,); n on padding
    shifts: jax.Array  # (e, 3) int, image of the sender relative to the reference positions
    reference: jax.Array  # (n, 3) positions the list was found at, in units of the lattice vectors
    reference_box: jax.Array  # (3, 3) Å, columns are lattice vectors
    did_buffer_overflow: jax.Array  # () bool: pairs are missing, allocate again
    found: Any  # jax-md's own list
    lists: "Lists"  # how the list is found

    def update(self, position, **kwargs) -> "Neighbors":
        """The list at other positions, found anew where atoms or box have moved too far.

        Args:
            position: (n, 3).
            box: the box at these positions, where it changes.
            ahead: Å that no atom will exceed until the next update; a twentieth of the skin by default.
        """
        return self.lists.update(position, self, **kwargs)

    def outdated(self, position, *, ahead, box=None) -> jax.Array:
        """Whether (bool) `update` would find the list anew."""
        return self.lists.outdated(position, self.lists.lattice.matrix(box), self, ahead)

    def found_anew(self, position, *, box=None) -> "Neighbors":
        """The list at other positions, in the room of this one."""
        return self.lists.again(position, self.lists.lattice.matrix(box), self)

    def covers(self, position, *, box=None) -> jax.Array:
        """Whether (bool) all pairs within the cutoff at these positions are in the list."""
        return ~self.lists.outdated(position, self.lists.lattice.matrix(box), self, 0.0)


class NeighborFns(NamedTuple):
    """What jax-md calls a neighbor_fn."""

    allocate: Callable[..., Neighbors]
    update: Callable[..., Neighbors]


class Lists:
    """Finding pairs by jax-md: minimum image in large boxes, all images in small ones."""

    def __init__(
        self, lattice: Lattice, n_atoms: int, cutoff: float, skin: float, capacity: float, *, bonds: bool
    ):
        self.lattice, self.n_atoms, self.cutoff, self.skin, self.bonds = lattice, n_atoms, cutoff, skin, bonds
        self.reach, self.capacity = cutoff + skin, capacity
        self._images = None
        # jax-md's lists of one box are one function: another one would be compiled again.
        self._nearest_image = functools.lru_cache(maxsize=8)(self._make_nearest_image)
        self._free = functools.lru_cache(maxsize=8)(self._make_free)

    def small(self, matrix):
        """Whether a pair can be within reach by several images."""
        return jnp.min(heights(matrix)) < 2.0 * self.reach

    def ambiguous(self, matrix):
        """Whether there are bonds, and a pair can be within the cutoff by several images."""
        bonds = self.bonds and self.lattice.periodic
        return bonds & (jnp.min(heights(matrix)) < 2.0 * ROUNDED * self.cutoff)

    def allocate(self, R, extra_capacity: int = 0, *, box=None, **_) -> Neighbors:
        """A list with room for at least `capacity` times the pairs found; not under jit.

        Rooms are rounded up by a sixteenth at most: structures with nearly as many pairs share a program.
        """
        R = jnp.asarray(R)
        if R.shape != (self.n_atoms, 3):
            raise ValueError(f"R must have shape ({self.n_atoms}, 3) to match species, got {R.shape}")
        if not bool(jnp.all(jnp.isfinite(R))):
            raise ValueError("R must be finite to find neighbours, got NaN or infinity")
        matrix = self.lattice.matrix(box)
        wrapped = self._wrapped(R, matrix)
        if self.lattice.periodic and self.bonds:
            check_room_for_bonds(heights(matrix), self.cutoff)
        if self.lattice.periodic and self.small(SHRINKS * matrix):
            found = self._all_images(matrix).allocate(wrapped, extra_capacity, box=matrix)
            found: Any = found  # a dataclass that type checkers do not know as one
            found = dataclasses.replace(found, search_shifts=self._images_of(SHRINKS * matrix))
            found = found.update(wrapped, box=matrix)
        elif self.lattice.periodic:
            rows = tuple(map(tuple, np.asarray(matrix).tolist()))
            found = self._nearest_image(rows).allocate(wrapped, extra_capacity)
            found: Any = found
            # jax-md leaves an array among the static fields, which jit cannot compare.
            found = dataclasses.replace(found, cell_size=float(found.cell_size))
        else:
            found = self._free(self._extent(R)).allocate(R, extra_capacity)
        return self._finish(_rounded(found, self.n_atoms), R, matrix)

    def update(self, R, neighbors: Neighbors, *, box=None, ahead=None, **_) -> Neighbors:
        """The list at R: kept while it holds all pairs within the cutoff, else found anew in its room."""
        R, matrix = jax.lax.stop_gradient((jnp.asarray(R), self.lattice.matrix(box)))
        ahead = 0.05 * self.skin if ahead is None else ahead
        outdated = self.outdated(R, matrix, neighbors, ahead)
        return jax.lax.cond(outdated, self.again, _keep, R, matrix, neighbors)

    def again(self, R, matrix, neighbors: Neighbors) -> Neighbors:
        wrapped = self._wrapped(R, matrix)
        if isinstance(neighbors.found, custom_partition.NeighborListMultiImage):
            found = neighbors.found.update(wrapped, box=matrix)
        elif self.lattice.periodic:
            found = neighbors.found.update(wrapped, box=_triangular(matrix))
        else:
            found = neighbors.found.update(R)
        made = self._finish(found, R, matrix)
        # Whoever looks after many steps has to see that one of them had no room.
        return dataclasses.replace(
            made, did_buffer_overflow=made.did_buffer_overflow | neighbors.did_buffer_overflow
        )

    def outdated(self, R, matrix, neighbors: Neighbors, ahead):
        """Whether a pair may be within the cutoff that was beyond reach at the reference.

        r_ref = D⁻¹(r − B·Δs) with the deformation D of the box and the moves Δs of the atoms: a pair
        with |r| < cutoff had |r_ref| ≤ ‖D⁻¹‖(cutoff + 2·max|B·Δs|).
        """
        moved = self.lattice.to_fractional(R, matrix) - neighbors.reference
        if self.lattice.periodic:
            moved -= jnp.round(moved)
        farthest = jnp.sqrt(jnp.max(jnp.sum((moved @ matrix.T) ** 2, axis=-1)))
        backward = jnp.linalg.norm(neighbors.reference_box @ jnp.linalg.inv(matrix), ord=2)
        stays = backward * (self.cutoff + 2.0 * (farthest + ahead)) <= self.reach
        return ~stays | self.ambiguous(matrix)  # also for NaN

    def _finish(self, found, R, matrix) -> Neighbors:
        """Edges sorted by receiver, with images relative to R as it is given."""
        fractional = self.lattice.to_fractional(R, matrix)
        overflow = jnp.asarray(found.did_buffer_overflow).astype(bool) | self.ambiguous(matrix)
        if isinstance(found, custom_partition.NeighborListMultiImage):
            receivers, senders = found.idx
            cells = jnp.append(jnp.floor(fractional), jnp.zeros((1, 3)), axis=0)
            shifts = found.shifts + cells[receivers] - cells[senders]
        else:
            senders, receivers = found.idx  # of a symmetric list; the second index ascends
            shifts = jnp.zeros((len(senders), 3))
            if self.lattice.periodic:
                ends = jnp.append(fractional, jnp.zeros((1, 3)), axis=0)
                shifts = -jnp.round(ends[senders] - ends[receivers])
                overflow |= self.small(matrix) | found.cell_size_too_small.astype(bool)
        order = jnp.argsort(receivers, stable=True)
        return Neighbors(
            receivers=receivers[order],
            senders=senders[order],
            shifts=shifts[order].astype(jnp.int32),
            reference=fractional,
            reference_box=matrix,
            did_buffer_overflow=overflow,
            found=found,
            lists=self,
        )

    def _wrapped(self, R, matrix):
        fractional = self.lattice.to_fractional(R, matrix)
        return fractional - jnp.floor(fractional) if self.lattice.periodic else fractional

    def _all_images(self, matrix):
        n_candidates = 27 * self.n_atoms**2
        if n_candidates > MOST_CANDIDATES:
            thick = 2.0 * self.reach / SHRINKS
            raise ValueError(
                f"box must be at least {thick:.3g} Å thick for {self.n_atoms} atoms, got faces "
                f"{np.round(np.asarray(heights(matrix), float), 3).tolist()} Å apart: repeat it"
            )
        if self._images is None:
            self._images = custom_partition.neighbor_list_multi_image(
                None, matrix, self.reach, capacity_multiplier=self.capacity, fractional_coordinates=True
            )
        return self._images

    def _images_of(self, matrix):
        reach = np.ceil(self.reach / np.asarray(heights(matrix))).astype(int)
        return jnp.asarray(list(itertools.product(*(range(-r, r + 1) for r in reach))), jnp.int32)

    def _make_nearest_image(self, matrix):
        box = _triangular(jnp.asarray(matrix))  # the same lattice, rotated to how jax-md's cells want it
        displacement, _ = space.periodic_general(box, fractional_coordinates=True)
        return _of_one_box(
            displacement,
            SHRINKS * box,  # for the number of cells alone
            self.reach,
            capacity_multiplier=self.capacity,
            fractional_coordinates=True,
            format=partition.Sparse,
        )

    def _extent(self, R) -> float:
        """Å, in steps of the reach: structures of about one size share their cells.

        jax-md takes cells beyond the box modulo, which adds candidates and loses none: an atom far away must
        not make room for all the empty cells on the way.
        """
        extent = float(jnp.max(jnp.max(R, axis=0) - jnp.min(R, axis=0)))
        most = 4.0 + FREE_CELLS * self.n_atoms ** (1 / 3)
        return self.reach * min(np.ceil(max(extent, 1.0) / self.reach), most)

    def _make_free(self, extent: float):
        return _of_one_box(
            space.free()[0],
            jnp.asarray(extent),
            self.reach,
            capacity_multiplier=self.capacity,
            format=partition.Sparse,
        )


def _of_one_box(*arguments, **settings):
    """`partition.neighbor_list`, whose lists all have the same function for their cells.

    jax-md makes that function anew with every list, in a static field: jit would compile for each of them.
    """
    made, known = partition.neighbor_list(*arguments, **settings), {}

    def allocate(position, extra_capacity=0):
        found: Any = made.allocate(position, extra_capacity)
        return dataclasses.replace(found, cell_list_fn=known.setdefault("cells", found.cell_list_fn))

    return NeighborFns(allocate, made.update)


def _rounded(found: Any, n_atoms: int):
    """jax-md's list with more room, as its own `update` would leave it."""
    room, fields = round_size(found.max_occupancy, digits=5), {}
    if hasattr(found, "shifts"):  # the one of all images
        fields["shifts"] = jnp.pad(found.shifts, ((0, room - len(found.shifts)), (0, 0)))
    else:
        candidates = n_atoms**2
        if found.cell_list_capacity is not None:
            fields["cell_list_capacity"] = round_size(found.cell_list_capacity)
            candidates = 27 * n_atoms * fields["cell_list_capacity"]
        room = min(room, candidates)  # what jax-md chooses from when it updates
    longer = functools.partial(_longer, room=room, fill=n_atoms)
    return dataclasses.replace(found, idx=jax.tree.map(longer, found.idx), max_occupancy=room, **fields)


def _longer(numbers, room: int, fill: int):
    """Numbers (…, m) of atoms, filled up to (…, room)."""
    widths = [(0, 0)] * (numbers.ndim - 1) + [(0, room - numbers.shape[-1])]
    return jnp.pad(numbers, widths, constant_values=fill)


def _keep(R, matrix, neighbors: Neighbors) -> Neighbors:
    return neighbors


def _triangular(matrix):
    """The upper triangular box with the same lattice, rotated."""
    return jnp.swapaxes(jnp.linalg.cholesky(matrix.T @ matrix), 0, 1)
