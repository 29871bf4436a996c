"""Internal coordinates of a structure as functions of its positions, with finite gradients everywhere."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.ops import safe_norm


class Terms(NamedTuple):
    """Terms of one kind: the atoms they join and what they cost."""

    atoms: np.ndarray | jax.Array  # (t, 2 | 3 | 4) int, node indices
    # bonds (t, 2): eV/Å² and Morse's width in Å⁻¹; angles (t,) eV/rad²; wags (t,) eV;
    # rotors (t, 3): V₂ and V₃ in eV, least curvature in eV/rad²; contacts (t, 2): eV and decay in Å⁻¹
    stiffness: np.ndarray | jax.Array
    mask: np.ndarray | jax.Array  # (t,) bool, false on padding


def _vectors(positions, terms: Terms, start: int, end: int, stand_in):
    """Vectors between two atoms of each term; `stand_in` on padding keeps gradients finite."""
    vectors = positions[terms.atoms[:, end]] - positions[terms.atoms[:, start]]
    return jnp.where(terms.mask[:, None], vectors, jnp.asarray(stand_in, positions.dtype))


def _directions(*vectors):
    return (v / jnp.maximum(safe_norm(v), 1e-6)[:, None] for v in vectors)


def bond_lengths(positions, terms: Terms):
    """r (t,) Å."""
    return safe_norm(_vectors(positions, terms, 0, 1, (1.0, 0.0, 0.0)))


def bond_angles(positions, terms: Terms):
    """θ (t,) rad in [0, π], with finite gradient for atoms in line."""
    a = _vectors(positions, terms, 1, 0, (1.0, 0.0, 0.0))
    b = _vectors(positions, terms, 1, 2, (0.0, 1.0, 0.0))
    across, along = safe_norm(jnp.cross(a, b)), jnp.sum(a * b, axis=-1)
    return jnp.arctan2(across, jnp.where((across == 0) & (along == 0), 1.0, along))  # atoms on one another


def torsion_vectors(positions, terms: Terms):
    """s·(cos φ, sin φ) (t, 2), s = sin θ₁·sin θ₂ of the two bond angles; regular everywhere."""
    a = _vectors(positions, terms, 0, 1, (1.0, 0.0, 0.0))
    b = _vectors(positions, terms, 1, 2, (0.0, 1.0, 0.0))
    c = _vectors(positions, terms, 2, 3, (1.0, 0.0, 0.0))
    a, b, c = _directions(a, b, c)
    first, second = jnp.cross(a, b), jnp.cross(b, c)
    return jnp.stack([jnp.sum(first * second, axis=-1), jnp.sum(a * second, axis=-1)], axis=-1)


def pyramid_heights(positions, terms: Terms):
    """h = û₁·(û₂ × û₃) (t,) of the directions û from the first atom to three others, 0 in a plane."""
    a = _vectors(positions, terms, 0, 1, (1.0, 0.0, 0.0))
    b = _vectors(positions, terms, 0, 2, (0.0, 1.0, 0.0))
    c = _vectors(positions, terms, 0, 3, (1.0, 1.0, 0.0))
    a, b, c = _directions(a, b, c)
    return jnp.sum(a * jnp.cross(b, c), axis=-1)
