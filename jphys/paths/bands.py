"""A chain of images between two structures, and the forces that pull it onto a minimum-energy path.

Nudged elastic band with the improved tangent (Henkelman and Jónsson, J. Chem. Phys. 113, 9978 (2000)) and a
climbing image (Henkelman, Uberuaga, Jónsson, ibid. 9901). With the unit tangent τ_i towards the higher
neighbour, image i feels

    F_i − (F_i·τ_i) τ_i + k (|R_{i+1} − R_i| − |R_i − R_{i−1}|) τ_i,

and the highest one, where it climbs, F_i − 2 (F_i·τ_i) τ_i without springs.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jphys.bfgs import Bfgs, start_inverses
from jphys.graph import Graph
from jphys.lanes import Stepper
from jphys.ops import safe_norm

__all__ = ["Given", "band_force", "band_stepper", "tangents"]

SMALLEST = 1e-12  # Å; a tangent between images that coincide has no direction


class Given(NamedTuple):
    """What the force on a band depends on beside its own positions."""

    ends: Any  # (2, n_rows, 3) Å, the first and the last structure
    energies: Any  # (2,) eV
    spring: Any  # () eV/Å²
    climb_below: Any  # () eV/Å; the highest image climbs while no image feels more across the path


def tangents(positions, energies):
    """Unit tangents (k, n_rows, 3) at the inner images.

    Args:
        positions: (k + 2, n_rows, 3) Å of all images, both ends with them.
        energies: (k + 2,) eV.
    """
    ahead, behind = positions[2:] - positions[1:-1], positions[1:-1] - positions[:-2]
    up, down = energies[2:] - energies[1:-1], energies[1:-1] - energies[:-2]  # to the next; from the last
    rises, falls = (up > 0) & (down > 0), (up < 0) & (down < 0)
    small, large = (choose(jnp.abs(up), jnp.abs(down)) for choose in (jnp.minimum, jnp.maximum))
    higher_ahead = up + down > 0
    of_ahead = jnp.where(rises, 1.0, jnp.where(falls, 0.0, jnp.where(higher_ahead, large, small)))
    of_behind = jnp.where(rises, 0.0, jnp.where(falls, 1.0, jnp.where(higher_ahead, small, large)))
    level = of_ahead + of_behind <= 0  # three images of one energy: straight through
    along = _by_image(of_ahead + level) * ahead + _by_image(of_behind + level) * behind
    return along / _by_image(jnp.maximum(_length(along), SMALLEST))


def band_force(given: Given, positions, energies, forces):
    """What the inner images follow: (k · n_rows, 3) eV/Å.

    Args:
        given: the ends and the settings.
        positions: (k · n_rows, 3) Å.
        energies: (k,) eV.
        forces: (k · n_rows, 3) eV/Å of the surface, 0 on fixed atoms.
    """
    shape = (len(energies), -1, 3)
    forces, inner = forces.reshape(shape), positions.reshape(shape)
    chain = jnp.concatenate([given.ends[:1], inner, given.ends[1:]])
    heights = jnp.concatenate([given.energies[:1], energies, given.energies[1:]])
    tangent = tangents(chain, heights)
    along = jnp.sum(forces * tangent, axis=(1, 2))
    across = forces - _by_image(along) * tangent
    lengths = _length(chain[1:] - chain[:-1])
    pull = given.spring * (lengths[1:] - lengths[:-1])
    highest = jnp.argmax(energies)
    peak = energies[highest] > jnp.max(given.energies)
    ready = jnp.max(jnp.linalg.norm(across, axis=-1)) < given.climb_below
    climbs = (jnp.arange(len(energies)) == highest) & peak & ready
    pull = jnp.where(climbs, -along, pull)
    return (across + _by_image(pull) * tangent).reshape(positions.shape)


@functools.lru_cache(maxsize=16)
def band_stepper(minimiser: Stepper, images: int, bfgs: Bfgs | None = None) -> Stepper:
    """The minimiser for bands of so many inner images, all with one state between them."""
    guide = minimiser.guide if bfgs is None else functools.partial(_guide, bfgs=bfgs, images=images)
    return minimiser._replace(guide=guide, rough=np.inf, images=images, along=band_force)


def _guide(graphs: Sequence[Graph], free: np.ndarray, *, bfgs: Bfgs, images: int) -> np.ndarray:
    """B⁻¹ (m, 3k n_rows, 3k n_rows) at the start: that of each image by itself."""
    m, n_rows = len(free), free.shape[1] // images
    own = start_inverses(graphs, free.reshape(m * images, n_rows), bfgs=bfgs)
    own = own.reshape(m, images, *own.shape[1:])
    joined = np.zeros((m, images, 3 * n_rows, images, 3 * n_rows), own.dtype)
    joined[:, np.arange(images), :, np.arange(images), :] = np.swapaxes(own, 0, 1)
    return joined.reshape(m, 3 * images * n_rows, -1)


def _by_image(values):
    return values[:, None, None]


def _length(vectors):
    """|v_i| over all atoms of an image."""
    return safe_norm(vectors.reshape(len(vectors), -1))
