"""Neighbour lists of jax-md as edges of a Graph: any box, also one smaller than the cutoff.

jax-md finds the pairs. What is kept of them here, whichever of its two lists found them, is one edge list
sorted by receiver with integer periodic images, and the test of when it has to be found again.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import custom_partition, dataclasses, partition, space

from jphys.derivatives import energy_function
from jphys.elements import check_species
from jphys.graph import Edges, Globals, Graph, Nodes
from jphys.models.potential import Potential, check_elements


@dataclasses.dataclass
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
    update_fn: Callable[..., "Neighbors"] = dataclasses.static_field()  # pyright: ignore

    def update(self, position, **kwargs) -> "Neighbors":
        """The list at other positions, found anew where atoms or box have moved too far."""
        return self.update_fn(position, self, **kwargs)


def energy_neighbor_list(
    potential,
    params,
    species,
    box=None,
    *,
    displacement_fn: Callable[..., jax.Array] | None = None,
    fractional_coordinates: bool | None = None,
    skin: float = 0.5,
    capacity: float = 1.25,
    bonds=None,
) -> tuple[partition.NeighborListFns, Callable[..., jax.Array]]:
    """Neighbour list and energy of one structure as jax-md wants them.

    Any box: edges of length L, orthorhombic, triclinic, smaller than the cutoff; it may change during a
    simulation. An overflow of the list is reported by `did_buffer_overflow`, never hidden: pairs are
    missing then, and the run has to go back to before (`jphys.simulate` does).

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV with a `cutoff`.
        params: default parameters.
        species: (n,) atomic numbers.
        box: as in jax-md: edge length, (3,) lengths or (3, 3) with lattice vectors as columns, Å; None
            for free space.
        displacement_fn: jax-md displacement of the simulation; tells whether positions are fractional.
        fractional_coordinates: whether positions are in units of the lattice vectors; None: as
            displacement_fn says, and without it true for a (3, 3) box as in jax-md.
        skin: Å; the list is kept while no pair can have come closer by more.
        capacity: room for pairs in multiples of those found at allocation.
        bonds: (m, 3) int rows (i, j, order) for a model that reads bond types.

    Returns:
        neighbor_fn with `allocate(R, *, box=…)` and `update(R, neighbor, *, box=…)`, and
        energy_fn(R, neighbor, *, params=params, box=…, perturbation=None, **kwargs) -> () eV of positions
        R (n, 3), with jax-md's convention that the gradient is per Å also for fractional positions.

    Raises:
        ValueError: no cutoff, a box without volume, skin < 0, capacity < 1, unknown species, bonds
            together with a box smaller than twice the cutoff.
    """
    energy, species = energy_function(potential), check_species(species)
    if isinstance(potential, Potential):
        check_elements(potential, species)
    cutoff = getattr(potential, "cutoff", None)
    if cutoff is None:
        raise ValueError("potential must have a cutoff to be used with a neighbour list, got None")
    for name, value, least in (("skin", skin, 0.0), ("capacity", capacity, 1.0)):
        if not value >= least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    fractional = _is_fractional(box, displacement_fn, fractional_coordinates)
    lattice = Lattice(box, fractional)
    lists = Lists(lattice, len(species), cutoff, skin, capacity)
    orders = _bond_table(bonds, len(species))
    if orders is not None and lattice.periodic and lists.small(lattice.matrix(None)):
        raise ValueError(f"bonds must not be given for a box smaller than twice the cutoff, got {bonds}")

    def compute(R, neighbor, *, params=params, box=None, perturbation=None, **_):
        if R.shape != (len(species), 3):
            raise ValueError(f"R must have shape ({len(species)}, 3) to match species, got {R.shape}")
        graph = _graph(lattice, species, orders, R, neighbor, box, perturbation)
        return energy(params, graph)[0]

    return partition.NeighborListFns(lists.allocate, lists.update), compute  # pyright: ignore


def _is_fractional(box, displacement_fn, given: bool | None) -> bool:
    if box is None:
        if given:
            raise ValueError("fractional_coordinates must not be set in free space (box None)")
        return False
    if displacement_fn is None:
        return np.ndim(box) == 2 if given is None else given
    # By differences: jax-md's own derivative of fractional positions is the one of real positions.
    origin = jnp.zeros(3)
    steps = np.asarray(jax.vmap(lambda end: displacement_fn(end, origin))(0.01 * jnp.eye(3))) / 0.01
    found = not np.allclose(steps, np.eye(3), atol=1e-3)
    if given is not None and given != found and not np.allclose(_matrix(box), np.eye(3)):
        raise ValueError(f"fractional_coordinates must be {found}, as displacement_fn has it, got {given}")
    return found


def _matrix(box):
    box = jnp.asarray(box, float)
    return box if box.ndim == 2 else jnp.eye(3, dtype=box.dtype) * box


class Lattice:
    """How positions and boxes are given, and how they become fractional ones."""

    def __init__(self, box, fractional: bool):
        self.periodic, self.fractional = box is not None, fractional
        self.default = None if box is None else _matrix(box)
        if self.default is not None:
            shape, volume = np.shape(box), float(jnp.linalg.det(self.default))
            if shape not in ((), (1,), (3,), (3, 3)) or not np.isfinite(volume) or abs(volume) < 1e-6:
                raise ValueError(f"box must be a length, (3,) or (3, 3) with a volume above 0, got {box}")

    def matrix(self, box):
        """(3, 3) Å, columns are lattice vectors; of free space the unit matrix."""
        if not self.periodic:
            if box is not None:
                raise ValueError("box must not be given in free space")
            return jnp.eye(3)
        return self.default if box is None else _matrix(box)

    def to_fractional(self, R, matrix):
        """Positions in units of the lattice vectors."""
        return R if self.fractional or not self.periodic else R @ jnp.linalg.inv(matrix).T

    def to_real(self, R, matrix):
        """Positions in Å; gradients pass as jax-md has them."""
        return space.transform(matrix, R) if self.fractional else R


class Lists:
    """Finding pairs by jax-md: minimum image in large boxes, all images in small ones."""

    def __init__(self, lattice: Lattice, n_atoms: int, cutoff: float, skin: float, capacity: float):
        self.lattice, self.n_atoms, self.cutoff, self.skin = lattice, n_atoms, cutoff, skin
        self.reach, self.capacity = cutoff + skin, capacity
        self._images = None

    def small(self, matrix) -> bool:
        """Whether a pair can be within reach by several images."""
        return bool(jnp.min(_heights(matrix)) < 2.0 * self.reach)

    def allocate(self, R, extra_capacity: int = 0, *, box=None, **_) -> Neighbors:
        """A list with room for `capacity` times the pairs found; not under jit."""
        R = jnp.asarray(R)
        if R.shape != (self.n_atoms, 3):
            raise ValueError(f"R must have shape ({self.n_atoms}, 3) to match species, got {R.shape}")
        if not bool(jnp.all(jnp.isfinite(R))):
            raise ValueError("R must be finite to find neighbours, got NaN or infinity")
        matrix = self.lattice.matrix(box)
        wrapped = self._wrapped(R, matrix)
        if self.lattice.periodic and self.small(matrix):
            found = self._all_images(matrix).allocate(wrapped, extra_capacity, box=matrix)
        elif self.lattice.periodic:
            found = self._nearest_image(matrix).allocate(wrapped, extra_capacity)
        else:
            found = self._free(R).allocate(R, extra_capacity)
        return self._finish(found, R, matrix)

    def update(self, R, neighbors: Neighbors, *, box=None, **_) -> Neighbors:
        """The list at R: kept while it holds all pairs within the cutoff, else found anew in its room."""
        matrix = self.lattice.matrix(box)
        return jax.lax.cond(self._outdated(R, matrix, neighbors), self._again, _keep, R, matrix, neighbors)

    def _again(self, R, matrix, neighbors: Neighbors) -> Neighbors:
        wrapped = self._wrapped(R, matrix)
        if isinstance(neighbors.found, custom_partition.NeighborListMultiImage):
            found = neighbors.found.update(wrapped, box=matrix)
        elif self.lattice.periodic:
            found = neighbors.found.update(wrapped, box=_triangular(matrix))
        else:
            found = neighbors.found.update(R)
        return self._finish(found, R, matrix)

    def _outdated(self, R, matrix, neighbors: Neighbors):
        """Whether a pair may be within the cutoff that was beyond reach at the reference.

        r_ref = D⁻¹(r − B·Δs) with the deformation D of the box and the moves Δs of the atoms: a pair
        with |r| < cutoff had |r_ref| ≤ ‖D⁻¹‖(cutoff + 2·max|B·Δs|).
        """
        moved = self.lattice.to_fractional(R, matrix) - neighbors.reference
        if self.lattice.periodic:
            moved -= jnp.round(moved)
        farthest = jnp.sqrt(jnp.max(jnp.sum((moved @ matrix.T) ** 2, axis=-1)))
        backward = jnp.linalg.norm(neighbors.reference_box @ jnp.linalg.inv(matrix), ord=2)
        stays = backward * (self.cutoff + 2.0 * farthest) <= self.reach * (1.0 - 1e-6)
        return ~stays  # also for NaN

    def _finish(self, found, R, matrix) -> Neighbors:
        """Edges sorted by receiver, with images relative to R as it is given."""
        fractional = self.lattice.to_fractional(R, matrix)
        overflow = jnp.asarray(found.did_buffer_overflow).astype(bool)
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
                small = jnp.min(_heights(matrix)) < 2.0 * self.reach
                overflow |= small | found.cell_size_too_small.astype(bool)
        order = jnp.argsort(receivers, stable=True)
        return Neighbors(
            receivers=receivers[order],
            senders=senders[order],
            shifts=shifts[order].astype(jnp.int32),
            reference=fractional,
            reference_box=matrix,
            did_buffer_overflow=overflow,
            found=found,
            update_fn=self.update,
        )  # pyright: ignore

    def _wrapped(self, R, matrix):
        fractional = self.lattice.to_fractional(R, matrix)
        return fractional - jnp.floor(fractional) if self.lattice.periodic else fractional

    def _all_images(self, matrix):
        if self._images is None:
            self._images = custom_partition.neighbor_list_multi_image(
                None, matrix, self.reach, capacity_multiplier=self.capacity, fractional_coordinates=True
            )
        return self._images

    def _nearest_image(self, matrix):
        box = _triangular(matrix)  # the same lattice, rotated to how jax-md's cells want it
        displacement, _ = space.periodic_general(box, fractional_coordinates=True)
        return partition.neighbor_list(
            displacement,
            box,
            self.reach,
            capacity_multiplier=self.capacity,
            fractional_coordinates=True,
            format=partition.Sparse,
        )

    def _free(self, R):
        extent = float(jnp.max(jnp.max(R, axis=0) - jnp.min(R, axis=0)))
        return partition.neighbor_list(
            space.free()[0],
            max(extent, 1.0),
            self.reach,
            capacity_multiplier=self.capacity,
            format=partition.Sparse,
        )


def _keep(R, matrix, neighbors: Neighbors) -> Neighbors:
    return neighbors


def _heights(matrix):
    """Distances (3,) between opposite faces, Å."""
    return 1.0 / jnp.linalg.norm(jnp.linalg.inv(matrix), axis=1)


def _triangular(matrix):
    """The upper triangular box with the same lattice, rotated."""
    return jnp.linalg.cholesky(matrix.T @ matrix).T


def _graph(lattice: Lattice, species, orders, R, neighbor: Neighbors, box, perturbation) -> Graph:
    """The Graph of one structure and its padding: one more atom and graph, which hold the unused edges."""
    n = len(species)
    matrix = lattice.matrix(box)
    positions, cell = lattice.to_real(R, matrix), matrix.T.astype(R.dtype)
    shifts = neighbor.shifts
    if lattice.periodic:
        # Atoms that were wrapped around the box since the list was found.
        wraps = jnp.round(lattice.to_fractional(jax.lax.stop_gradient(R), matrix) - neighbor.reference)
        wraps = jnp.append(wraps, jnp.zeros((1, 3)), axis=0).astype(jnp.int32)
        shifts += wraps[neighbor.receivers] - wraps[neighbor.senders]
    if perturbation is not None:
        positions, cell = space.raw_transform(perturbation, positions), cell @ perturbation.T
    mask = neighbor.receivers < n
    bond_type = jnp.zeros(len(mask), jnp.int32)
    if orders is not None:
        bond_type = jnp.sum(jnp.where(orders[0][neighbor.receivers] == neighbor.senders[:, None], orders[1][neighbor.receivers], 0), axis=1)
    real = jnp.arange(n + 1) < n
    return Graph(
        nodes=Nodes(jnp.append(positions, jnp.zeros((1, 3), positions.dtype), axis=0), jnp.append(species, 0), real),
        edges=Edges(shifts * mask[:, None], bond_type, mask),
        senders=jnp.where(mask, neighbor.senders, n),
        receivers=neighbor.receivers,
        globals=Globals(jnp.stack([cell if lattice.periodic else jnp.zeros_like(cell), jnp.zeros_like(cell)]), jnp.array([True, False])),
        n_node=jnp.array([n, 1]),
        n_edge=jnp.array([mask.sum(), (~mask).sum()]),
    )


def _bond_table(bonds, n_atoms: int):
    """Partners (n + 1, k) of every atom, −1 for none, and the orders of the bonds to them; None without bonds."""
    if bonds is None or not len(bonds):
        return None
    bonds = np.asarray(bonds)
    if bonds.ndim != 2 or bonds.shape[1] != 3:
        raise ValueError(f"bonds must have shape (m, 3) with rows (i, j, order), got {bonds.shape}")
    partners: list[list[tuple[int, int]]] = [[] for _ in range(n_atoms + 1)]
    for i, j, order in bonds.tolist():
        if not (0 <= i < n_atoms and 0 <= j < n_atoms and i != j and 1 <= order <= 3):
            raise ValueError(
                f"bonds must join two different atoms below {n_atoms} with order 1..3, got {(i, j, order)}"
            )
        partners[i].append((j, order))
        partners[j].append((i, order))
    table = np.full((2, n_atoms + 1, max(map(len, partners))), -1)
    for atom, known in enumerate(partners):
        for column, pair in enumerate(known):
            table[:, atom, column] = pair
    return jnp.asarray(table)
