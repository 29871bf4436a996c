"""The energy of one structure as jax-md wants it, over all pairs, in a box also over all their images."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jphys.derivatives import energy_function
from jphys.elements import check_species
from jphys.graph import ROUNDED, Edges, Graph, check_room_for_bonds, make_graph, with_positions
from jphys.md.lattice import Lattice, as_matrix, heights, is_fractional, is_free, seen, slopes
from jphys.models.potential import Potential, check_bonds, check_elements
from jphys.neighbors import all_images

SHRINKS = 0.8  # images are held for boxes down to this fraction of the given one


def energy_fn(
    potential,
    params,
    species,
    displacement_fn: Callable[..., jax.Array] | None = None,
    bonds=None,
    *,
    box=None,
    fractional_coordinates: bool | None = None,
) -> Callable[..., jax.Array]:
    """Energy of one structure as jax-md wants it; every integrator and minimiser of jax-md takes it.

    Without box and displacement function the atoms are a free molecule. With a box, also one smaller than
    the cutoff, every pair is seen in all its images; for few atoms, as n² pairs times at least 27 images
    are: larger ones are for `energy_neighbor_list`. With a displacement function of `jax_md.space` alone,
    every pair is seen once, by the vector it gives: for periodic boxes the minimum image. Positions may
    be fractional, and a box that is passed on (`box=`) carries gradients.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV; in a box and with
            periodic displacements it must have a `cutoff`.
        params: default parameters.
        species: (n,) atomic numbers.
        displacement_fn: jax-md displacement (R_a, R_b) -> R_a − R_b, Å; None for free space.
        bonds: (m, 3) int rows (i, j, order), as for `make_graph`.
        box: as in `energy_neighbor_list`: edge length, (3,) lengths or (3, 3) with lattice vectors as
            columns, Å.
        fractional_coordinates: as in `energy_neighbor_list`; only with `box`.

    Returns:
        Function energy_fn(R, *, params=params, **kwargs) -> () eV of positions R (n, 3) in Å. Gradients
        flow into `params`; what else integrators pass goes to the displacement function. Where `box` is
        given it takes `box=` and `perturbation=`, and gives NaN for a box so much smaller than the given
        one (below 0.8 in some direction) that images are missing; so it does with bonds or with a
        displacement function for a `box=` smaller than twice the cutoff.

    Raises:
        ValueError: unknown species, bad bonds, a box without volume, bonds in a box smaller than twice
            the cutoff; without `box`, a cutoff longer than half the periodic box.
    """
    energy, species = energy_function(potential), check_species(species)
    if isinstance(potential, Potential):
        check_elements(potential, species)
    fractional = is_fractional(box, displacement_fn, fractional_coordinates)
    lattice = Lattice(box, fractional)
    if isinstance(potential, Potential):
        check_bonds(potential, species, bonds, lattice.rows)
    template = make_graph(species, np.zeros((len(species), 3)), bonds=bonds)
    if box is not None:
        return _over_images(energy, params, template, lattice, _cutoff(potential))
    if displacement_fn is None:
        return _free(energy, params, template)
    cutoff = getattr(potential, "cutoff", None)
    _check_minimum_image(displacement_fn, cutoff)
    return _nearest_images(energy, params, template, displacement_fn, cutoff)


def _free(energy, params, molecule: Graph):
    """Energy over all pairs in free space, which has no box; strained by jax-md's `perturbation`."""
    lattice = Lattice(None, False)

    def compute(R, *, params=params, box=None, perturbation=None, **_):
        _check_shape(R, molecule)
        positions, cell = lattice.place(R, lattice.matrix(box), perturbation)
        graph = with_positions(molecule, positions)
        return energy(params, graph._replace(globals=graph.globals._replace(cell=cell[None])))[0]

    return compute


def _nearest_images(energy, params, molecule: Graph, displacement_fn, cutoff: float | None):
    """Energy over all pairs, each by the vector of the displacement function."""
    free = is_free(displacement_fn)

    def compute(R, *, params=params, **kwargs):
        _check_shape(R, molecule)
        box = kwargs.get("box")
        if free and box is not None:
            raise ValueError("box must not be given in free space")
        displacements = jax.vmap(functools.partial(displacement_fn, **kwargs))
        vectors = displacements(R[molecule.senders], R[molecule.receivers])
        graph = with_positions(molecule, R)._replace(edges=molecule.edges._replace(vectors=vectors))
        value = energy(params, graph)[0]
        if cutoff is None or box is None:
            return value
        return _nan_unless(jnp.min(heights(as_matrix(box))) >= 2.0 * ROUNDED * cutoff, value, R)

    return compute


def _check_shape(R, molecule: Graph) -> None:
    n_atoms = len(molecule.nodes.species)
    if R.shape != (n_atoms, 3):
        raise ValueError(f"R must have shape ({n_atoms}, 3) to match species, got {R.shape}")


def _cutoff(potential) -> float:
    cutoff = getattr(potential, "cutoff", None)
    if cutoff is None:
        raise ValueError("potential must have a cutoff to be used in a box, got None")
    return cutoff


def _over_images(energy, params, molecule: Graph, lattice: Lattice, cutoff: float):
    """Energy over all pairs and all images within the cutoff.

    A vector in fractional coordinates, less the nearest integers, is at most ½ long in each direction: the
    image n is farther than the cutoff unless |n| < cutoff/h + ½, h the distance of opposite faces.
    """
    bonded = bool(molecule.edges.bond_type.any())
    if bonded:
        check_room_for_bonds(heights(lattice.default), cutoff)
    n_atoms = len(molecule.nodes.species)
    reach = np.ceil(cutoff / np.asarray(heights(SHRINKS * lattice.default)) - 0.5).astype(int)
    senders, receivers, images = all_images(n_atoms, reach)
    orders = np.zeros((n_atoms, n_atoms), np.int32)
    orders[molecule.receivers, molecule.senders] = molecule.edges.bond_type
    orders = np.where(images.any(axis=1), 0, orders[receivers, senders])

    def compute(R, *, params=params, box=None, perturbation=None, **_):
        _check_shape(R, molecule)
        matrix = lattice.matrix(box)
        fractional = jax.lax.stop_gradient(lattice.to_fractional(R, matrix))
        positions, cell = lattice.place(R, matrix, perturbation)
        shifts = images - jnp.round(fractional[senders] - fractional[receivers]).astype(jnp.int32)
        graph = with_positions(molecule, positions)._replace(
            edges=Edges(shifts, orders, np.ones(len(senders), bool)),
            senders=senders,
            receivers=receivers,
            globals=molecule.globals._replace(cell=cell[None]),
            n_edge=np.array([len(senders)], np.int32),
        )
        complete = jnp.all(cutoff / heights(matrix) - 0.5 <= reach)
        if bonded:
            complete &= jnp.min(heights(matrix)) >= 2.0 * ROUNDED * cutoff
        return _nan_unless(complete, energy(params, graph)[0], R)

    return compute


def _nan_unless(complete, value, R):
    """The energy (), or NaN where images are missing; in all forces, too, also those of atoms alone."""
    return value + jnp.where(complete, 0.0, jnp.nan) * jnp.sum(R)


def _check_minimum_image(displacement_fn, cutoff: float | None) -> None:
    """Nothing within the cutoff may have a nearer image: vectors of that length must come back unchanged."""
    if cutoff is None:
        if not is_free(displacement_fn):
            raise ValueError("potential must have a cutoff to be used with a periodic displacement, got None")
        return
    directions = np.concatenate([np.eye(3), np.random.default_rng(0).normal(size=(500, 3))])
    vectors = ROUNDED * cutoff * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    found = seen(displacement_fn, vectors @ np.linalg.inv(slopes(displacement_fn)).T)
    if not np.allclose(found, vectors, atol=1e-3 * cutoff):
        raise ValueError(f"cutoff must be at most half the periodic box (minimum image), got {cutoff} Å")
