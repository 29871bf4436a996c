"""Quasi-Newton relaxation of one molecule: BFGS from the Hessian of the classical prior.

The step is s = B⁻¹F, no longer than a trust radius. B⁻¹ follows Broyden, Fletcher, Goldfarb and Shanno,

    B⁻¹ ← (1 − ρ·s·yᵀ) B⁻¹ (1 − ρ·y·sᵀ) + ρ·s·sᵀ,  ρ = 1/yᵀs,  y = F(p) − F(p + s),

with Powell's damping: where the surface curves down or hardly, y is mixed with B·s, so that B stays positive
definite (Nocedal and Wright, Numerical Optimization, 2nd ed., procedure 18.2). At the start B is the prior's
Hessian at that geometry plus a shift: which directions are stiff is known before the first step.
"""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.spatial.distance import pdist

from jphys.graph import Graph
from jphys.lanes import Stepper
from jphys.modes import prior_hessians, prior_terms
from jphys.ragged import ragged_rows

__all__ = ["SIZES", "Bfgs", "bfgs_stepper"]

SIZES = (16, 32, 64, 96, 128, 192, 256, 384, 512)
"""Atoms up to which matrices of the prior are compiled; a molecule may not be larger."""
APART = 0.3  # Å; closer atoms have no bond that the prior knows


@dataclasses.dataclass(frozen=True)
class Bfgs:
    """Settings of the quasi-Newton minimiser."""

    max_step: float = 0.2
    """Longest move of an atom in one step, Å; longer steps of a molecule are scaled down as a whole."""
    shift: float = 2.0
    """Curvature, eV/Å², that every direction has at the start beside the prior's."""
    unknown: float = 70.0
    """Curvature, eV/Å², of all directions at the start where there is no prior: of crystals, and where atoms
    coincide."""
    rough: float = 6.0
    """eV/Å; a structure that comes from larger forces begins once more below them, with the prior of that
    place: far from rest bonds have other lengths, and may not be seen."""

    def __post_init__(self):
        for name in ("max_step", "shift", "unknown", "rough"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")


class State(NamedTuple):
    """One molecule on its way."""

    position: jax.Array  # (n_rows, 3) Å
    force: jax.Array  # (n_rows, 3) eV/Å
    inverse: jax.Array  # (3 n_rows, 3 n_rows) Å²/eV, B⁻¹


@functools.lru_cache(maxsize=16)
def bfgs_stepper(bfgs: Bfgs) -> Stepper:
    """The minimiser for `jphys.lanes`."""

    def start(positions, force, inverse):
        return State(positions, force, inverse)

    def step(force, state: State) -> State:
        wanted = (state.inverse @ state.force.ravel()).reshape(state.force.shape)
        longest = jnp.max(jnp.linalg.norm(wanted, axis=-1))
        scale = bfgs.max_step / jnp.maximum(longest, bfgs.max_step)
        move = scale * wanted
        position = state.position + move
        new = force(position)
        inverse = updated(
            state.inverse, move.ravel(), (state.force - new).ravel(), scale * state.force.ravel()
        )
        return jax.tree.map(lambda one, old: one.astype(old.dtype), State(position, new, inverse), state)

    return Stepper("bfgs", start, step, functools.partial(start_inverses, bfgs=bfgs), bfgs.rough, dense=True)


def updated(inverse, s, y, bs):
    """B⁻¹ after a step s (n,) that changed the gradient by y (n,), where B·s (n,) was expected."""
    expected, measured = s @ bs, s @ y
    damped = 0.8 * expected / jnp.where(measured < 0.2 * expected, expected - measured, 1.0)
    theta = jnp.where(measured < 0.2 * expected, damped, 1.0)
    y = theta * y + (1.0 - theta) * bs
    curvature = s @ y
    known = jnp.isfinite(curvature) & (curvature > 0)
    rho = 1.0 / jnp.where(known, curvature, 1.0)
    across = inverse @ y
    change = rho * (1.0 + rho * (y @ across)) * jnp.outer(s, s) - rho * (
        jnp.outer(s, across) + jnp.outer(across, s)
    )
    return jnp.where(known, inverse + change, inverse)


def start_inverses(graphs: Sequence[Graph], free: np.ndarray, *, bfgs: Bfgs) -> np.ndarray:
    """B⁻¹ (m, 3 n_rows, 3 n_rows) at the start; only rows that are free (m, n_rows) have any.

    Of molecules that of the prior; crystals, and molecules whose atoms coincide, have a multiple of 1.
    """
    size = 3 * free.shape[1]
    dtype = np.result_type(*(np.asarray(graph.nodes.positions).dtype for graph in graphs))
    inverses = np.zeros((len(graphs), size, size), dtype)
    known = np.array([_has_prior(graph) for graph in graphs], bool)
    for i in np.flatnonzero(~known):
        np.fill_diagonal(inverses[i], np.repeat(free[i], 3) / bfgs.unknown)
    molecules = np.flatnonzero(known).tolist()
    for i, hessian in zip(molecules, _prior_hessians([graphs[i] for i in molecules])):
        loose = np.flatnonzero(np.repeat(free[i, : len(hessian) // 3], 3))
        within = np.ix_(loose, loose)
        inverses[i][within] = np.linalg.inv(hessian[within] + bfgs.shift * np.eye(len(loose)))
    return inverses


def _has_prior(graph: Graph) -> bool:
    """Whether the structure is a molecule whose atoms are apart, so that its bonds have directions."""
    positions = np.asarray(graph.nodes.positions, np.float64)
    if np.asarray(graph.globals.cell).any() or not np.isfinite(positions).all():
        return False
    return len(positions) < 2 or bool(pdist(positions).min() > APART)


def _prior_hessians(graphs: list[Graph]) -> Iterator[np.ndarray]:
    """H (3n, 3n) of the prior of each at its own geometry; few shapes are compiled."""
    if not graphs:
        return iter(())
    atoms = [graph.nodes for graph in graphs]
    n_atom = next(size for size in SIZES if size >= max(len(one.species) for one in atoms))
    chunk = max(1, 2**15 // n_atom**2)
    return prior_hessians(ragged_rows(atoms), prior_terms(atoms), n_atom=n_atom, chunk=chunk)
