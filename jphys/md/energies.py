"""The energy of one structure as jax-md wants it, over all pairs."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from jphys.derivatives import energy_function
from jphys.elements import check_species
from jphys.graph import make_graph, with_positions
from jphys.models.potential import Potential, check_elements


def energy_fn(
    potential, params, species, displacement_fn: Callable[..., jax.Array] | None = None, bonds=None
) -> Callable[..., jax.Array]:
    """Energy of one structure as jax-md wants it; every integrator and minimiser of jax-md takes it.

    Without a displacement function the atoms are a free molecule. With one of `jax_md.space`, every
    pair is seen once, by the vector it gives: for periodic boxes the minimum image. Positions may be
    fractional, and a box that is passed on (`box=`) carries gradients.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV; with periodic
            displacements it must have a `cutoff`.
        params: default parameters.
        species: (n,) atomic numbers.
        displacement_fn: jax-md displacement (R_a, R_b) -> R_a − R_b, Å; None for free space.
        bonds: (m, 3) int rows (i, j, order), each bond once, as for `make_graph`.

    Returns:
        Function energy_fn(R, *, params=params, **kwargs) -> () eV of positions R (n, 3) in Å. Gradients
        flow into `params`; what else integrators pass goes to the displacement function.

    Raises:
        ValueError: unknown species, bad bonds, or a cutoff longer than half the periodic box.
    """
    energy, species = energy_function(potential), check_species(species)
    if isinstance(potential, Potential):
        check_elements(potential, species)
    template = make_graph(species, np.zeros((len(species), 3)), bonds=bonds)
    if displacement_fn is not None:
        _check_minimum_image(displacement_fn, getattr(potential, "cutoff", None))

    def compute(R, *, params=params, **kwargs):
        if R.shape != (len(species), 3):
            raise ValueError(f"R must have shape ({len(species)}, 3) to match species, got {R.shape}")
        cell = jnp.zeros((1, 3, 3), R.dtype)
        graph = with_positions(template, R)
        if displacement_fn is not None:
            # An "image" of one unit cell per Å carries what the space adds to the plain difference.
            ends, starts = R[template.senders], R[template.receivers]
            vectors = jax.vmap(functools.partial(displacement_fn, **kwargs))(ends, starts)
            cell = jnp.eye(3, dtype=R.dtype)[None]
            graph = graph._replace(edges=graph.edges._replace(shifts=vectors - (ends - starts)))
        return energy(params, graph._replace(globals=graph.globals._replace(cell=cell)))[0]

    return compute


def _check_minimum_image(displacement_fn, cutoff: float | None) -> None:
    """Nothing within the cutoff may have a nearer image: vectors of that length must come back unchanged."""
    origin = jnp.zeros(3)
    # By differences: jax-md's own derivative of fractional positions is the one of real positions.
    steps = jax.vmap(lambda end: displacement_fn(end, origin))(0.01 * jnp.eye(3))
    basis = np.asarray(steps, np.float64).T / 0.01
    plain = 1e-3 * np.ones(3)
    free = np.allclose(displacement_fn(jnp.asarray(1e4 * plain), origin), 1e4 * basis @ plain)
    if cutoff is None:
        if not free:
            raise ValueError("potential must have a cutoff to be used with a periodic displacement, got None")
        return
    directions = np.concatenate([np.eye(3), np.random.default_rng(0).normal(size=(500, 3))])
    vectors = 0.999 * cutoff * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    ends = jnp.asarray(vectors @ np.linalg.inv(basis).T)
    seen = jax.vmap(lambda end: displacement_fn(end, origin))(ends)
    if not np.allclose(seen, vectors, atol=1e-3 * cutoff):
        raise ValueError(f"cutoff must be at most half the periodic box (minimum image), got {cutoff} Å")
