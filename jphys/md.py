"""The border to jax-md, and the only module that imports it: energies for simulations, FIRE relaxation."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import minimize

from jphys.derivatives import energy_function
from jphys.elements import check_species
from jphys.graph import Graph, make_graph, with_positions
from jphys.lanes import Stepper
from jphys.models.potential import Potential, check_elements
from jphys.relaxation import Relaxation, relax_with


@dataclasses.dataclass(frozen=True)
class Fire:
    """Settings of FIRE (Bitzek et al. 2006, doi:10.1103/PhysRevLett.97.170201); masses are 1.

    A velocity Verlet step is stable for dt < 2/√λ, λ the largest curvature: 0.14 for the stretch of a
    C≡N bond (λ ≈ 200 eV/Å²), 0.25 for C–H. On GFN2-xTB, 32 QM9 molecules from 0.1 Å of noise to fmax
    0.01 take 95 steps on average with a limit of 0.1, 120 with 0.135; with jax-md's own 0.4 and no limit
    on the move, most of them fly apart.
    """

    dt_start: float = 0.1
    """First time step, Å/√eV."""
    dt_max: float = 0.1
    """Largest time step, Å/√eV."""
    max_step: float = 0.1
    """Longest move of an atom in one step, Å; longer steps of a molecule are scaled down as a whole."""

    def __post_init__(self):
        for name in ("dt_start", "dt_max", "max_step"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


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


def relax(potential, params, graphs: Sequence[Graph], *, fmax: float = 0.01, **settings) -> Relaxation:
    """Relax structures of mixed size by jax-md's FIRE, many at once in one compiled loop.

    The edge list of each graph is kept: give all pairs for molecules (the default of `make_graph`), or
    a cutoff with a margin. Cells stay as they are.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each; not changed.
        fmax: converged when every atom has |F_i| < fmax, eV/Å.
        **settings: max_steps, fire, n_lanes, progress as in `relax_to`.

    Returns:
        Relaxation. A structure with a force or position that is not finite stops with status
        "nonfinite" at its last finite positions; converged structures take no further steps.

    Raises:
        ValueError: as `relax_to`.
    """
    return relax_to(potential, params, graphs, fmaxes=(fmax,), **settings)[0]


def relax_to(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    fmaxes: Sequence[float],
    max_steps: int = 500,
    fire: Fire = Fire(),
    n_lanes: int = 32,
    progress: bool = False,
) -> list[Relaxation]:
    """As `relax`, to several force thresholds in one go.

    Args:
        potential, params, graphs: as `relax`.
        fmaxes: thresholds in eV/Å, in any order.
        max_steps: steps after which a structure is given up with status "max_steps".
        fire: settings of the minimiser.
        n_lanes: structures advanced at once.
        progress: show a progress bar.

    Returns:
        One Relaxation per entry of `fmaxes`, in their order, each with the positions where its
        threshold was first met, or where the structure stopped.

    Raises:
        ValueError: no threshold or one ≤ 0, max_steps < 0, n_lanes < 1, a graph of several structures.
    """
    settings = {"fmaxes": fmaxes, "max_steps": max_steps, "n_lanes": n_lanes, "progress": progress}
    return relax_with(_fire_stepper(fire), potential, params, graphs, **settings)


@functools.lru_cache(maxsize=16)
def _fire_stepper(fire: Fire) -> Stepper:
    """jax-md's FIRE for one molecule."""

    def start(positions, force):
        one = jnp.ones((), positions.dtype)
        rest = (
            jnp.zeros_like(positions),
            force,
            one,
            fire.dt_start * one,
            0.1 * one,
            jnp.zeros((), jnp.int32),
        )
        return minimize.FireDescentState(positions, *rest)  # pyright: ignore

    def shift(positions, move, **_):
        longest = jnp.max(jnp.linalg.norm(move, axis=-1))
        return positions + move * (fire.max_step / jnp.maximum(longest, fire.max_step))

    def step(force, state):
        _, apply = minimize.fire_descent(lambda R, **_: force(R), shift, fire.dt_start, fire.dt_max)
        # jax-md keeps its constants in the smallest type that holds them, float16 for 0.1.
        return jax.tree.map(lambda new, old: new.astype(old.dtype), apply(state), state)

    return Stepper(start, step)
