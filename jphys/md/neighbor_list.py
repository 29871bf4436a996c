"""The energy of one structure over a neighbour list, as jax-md wants both."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jphys.derivatives import energy_function
from jphys.elements import check_species
from jphys.graph import Edges, Globals, Graph, Nodes, bond_rows
from jphys.md.lattice import Lattice, is_fractional, is_free
from jphys.md.lists import Lists, NeighborFns, Neighbors
from jphys.models.potential import Potential, check_bonds, check_elements


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
) -> tuple[NeighborFns, Callable[..., jax.Array]]:
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
        displacement_fn: jax-md displacement of the simulation, in the same box; tells whether positions
            are fractional.
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
        ValueError: no cutoff, a box without volume or not that of displacement_fn, skin < 0, capacity < 1,
            unknown species; at allocation positions that are not finite, and bonds in a box smaller than
            twice the cutoff.
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
    if box is None and displacement_fn is not None and not is_free(displacement_fn):
        raise ValueError("box must be given for a periodic displacement_fn, got None")
    fractional = is_fractional(box, displacement_fn, fractional_coordinates)
    lattice = Lattice(box, fractional)
    if isinstance(potential, Potential):
        check_bonds(potential, species, bonds, lattice.rows)
    orders = _bond_table(bonds, len(species))
    lists = Lists(lattice, len(species), cutoff, skin, capacity, bonds=orders is not None)

    def compute(R, neighbor, *, params=params, box=None, perturbation=None, **_):
        if R.shape != (len(species), 3):
            raise ValueError(f"R must have shape ({len(species)}, 3) to match species, got {R.shape}")
        graph = _graph(lattice, species, orders, R, neighbor, box, perturbation)
        return energy(params, graph)[0]

    return NeighborFns(lists.allocate, lists.update), compute


def _graph(lattice: Lattice, species, orders, R, neighbor: Neighbors, box, perturbation) -> Graph:
    """The Graph of one structure and its padding: one more atom and graph, which hold the unused edges."""
    n = len(species)
    matrix = lattice.matrix(box)
    positions, cell = lattice.place(R, matrix, perturbation)
    shifts = neighbor.shifts
    if lattice.periodic:
        # Atoms that were wrapped around the box since the list was found.
        wraps = jnp.round(lattice.to_fractional(jax.lax.stop_gradient(R), matrix) - neighbor.reference)
        wraps = jnp.append(wraps, jnp.zeros((1, 3)), axis=0).astype(jnp.int32)
        shifts += wraps[neighbor.receivers] - wraps[neighbor.senders]
    mask = neighbor.receivers < n
    bond_type = jnp.zeros(len(mask), jnp.int32)
    if orders is not None:
        bond_type = jnp.sum(
            jnp.where(
                orders[0][neighbor.receivers] == neighbor.senders[:, None], orders[1][neighbor.receivers], 0
            ),
            axis=1,
        )
    return Graph(
        nodes=Nodes(
            positions=jnp.append(positions, jnp.zeros((1, 3), positions.dtype), axis=0),
            species=jnp.append(species, 0),
            mask=jnp.arange(n + 1) < n,
        ),
        edges=Edges(shifts * mask[:, None], bond_type, mask),
        senders=jnp.where(mask, neighbor.senders, n),
        receivers=neighbor.receivers,
        globals=Globals(cell=jnp.stack([cell, jnp.zeros_like(cell)]), mask=jnp.array([True, False])),
        n_node=jnp.array([n, 1]),
        n_edge=jnp.array([mask.sum(), (~mask).sum()]),
    )


def _bond_table(bonds, n_atoms: int):
    """Partners of every atom and the orders of these bonds, (2, n + 1, k), −1 for none."""
    rows = bond_rows(bonds, n_atoms)
    if not len(rows):
        return None
    partners: list[list[tuple[int, int]]] = [[] for _ in range(n_atoms + 1)]
    for i, j, order in rows.tolist():
        partners[i].append((j, order))
        partners[j].append((i, order))
    table = np.full((2, n_atoms + 1, max(map(len, partners))), -1)
    for atom, known in enumerate(partners):
        for column, pair in enumerate(known):
            table[:, atom, column] = pair
    return jnp.asarray(table)
