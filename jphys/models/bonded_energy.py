"""Parametric energies of bond angles and of turns about bonds, summed in closed form over all chains.

With the unit vectors a_i of the bonds of an atom j, faded by a switch s_ij, and channels c:

    angles    E_j  = Σ_c κ_jc Σ_{i<k} w_ic w_kc s_ij s_jk (cos θ_ijk − cos θ⁰_jc)²
    torsions  E_jk = s_jk Σ_{n=1..3} (Re Z_n + |Z_n|),
              Z_n  = Σ_c U_nc Σ_{i,l} w_ic w_lc s_ij s_kl sinⁿθ_ijk sinⁿθ_jkl exp(i n φ_ijkl)

φ is the torsion of the chain i–j–k–l. A rigid turn about the bond j–k changes the phase of Z_n alone, by n
times the angle: E_jk is a cosine with the barrier 2|Z_n| that vanishes at the angle it prefers. Without the
|Z_n| it would fade with the bond and pull along it.

The sums over chains factorise into moments of the bonds of single atoms, Σ_i s w a, Σ_i s w a⊗a and
Σ_i s w a⊗a⊗a, because cos θ and the part of a across a bond are polynomials of a: no chain is listed, and
collinear atoms are regular points. Closed chains of three atoms (i = l) count.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.elements import COVALENT_RADIUS, IS_METAL
from jphys.ops import safe_norm

# The switch of a bond, as multiples of the summed covalent radii: nuclei repel below, bonds break above.
OFF_BELOW, ON_FROM, ON_TO, OFF_ABOVE = 0.5, 0.7, 1.15, 1.4
FOLDS = (1, 2, 3)  # n
SMALL = 1e-2  # eV; |Z| is smooth below it
NEAREST = 0.1  # Å, where no bond has a direction any more

# Monomials x…x, x…y, … of a vector by degree, in the order of `powers`: how many there are, and how often
# each is in the symmetric power.
SIZES = {1: 3, 2: 6, 3: 10}
MULTIPLICITY = {1: np.ones(3), 2: np.array([1, 2, 2, 1, 2, 1]), 3: np.array([1, 3, 3, 3, 6, 3, 1, 3, 3, 1])}


class AngleParameters(NamedTuple):
    """What bends cost: about the centre j, with the weights of the outer atoms."""

    stiffness: jax.Array  # κ ≥ 0 (n_node, C), eV
    cosine: jax.Array  # cos θ⁰ in (−1, 1) (n_node, C)
    weight: jax.Array  # w ≥ 0 (n_node, C), of the atom as an outer one


class TorsionParameters(NamedTuple):
    """The cosines of a turn about every edge, equal in both directions; 0 where there is no bond."""

    barrier: jax.Array  # 2|Z_n|·s (n_edge, 3), eV, for n = 1, 2, 3
    phase: jax.Array  # arg Z_n (n_edge, 3), rad; π: the structure is at the angle that the cosine prefers


def smooth_step(t):
    """0 for t ≤ 0, 1 for t ≥ 1, C² in between: t³(10 − 15t + 6t²)."""
    t = jnp.clip(t, 0.0, 1.0)
    return t**3 * (10.0 - 15.0 * t + 6.0 * t**2)


def bond_switch(distances, species_a, species_b):
    """s (e,): 1 at bond lengths, 0 where a bond breaks or nuclei repel, C² in between; 0 for two metals."""
    metal = jnp.asarray(IS_METAL)
    radius = jnp.asarray(COVALENT_RADIUS, distances.dtype)
    relative = distances / jnp.maximum(radius[species_a] + radius[species_b], 1e-3)
    opens = smooth_step((OFF_ABOVE - relative) / (OFF_ABOVE - ON_TO))
    switch = opens * smooth_step((relative - OFF_BELOW) / (ON_FROM - OFF_BELOW))
    return jnp.where(metal[species_a] & metal[species_b], 0.0, switch)


def directions(vectors, distances):
    """Unit vectors (e, 3); shorter than 1 Å/Å below NEAREST, where the switch is 0."""
    return vectors / jnp.maximum(distances, NEAREST)[:, None]


def powers(vectors):
    """Monomials of degree 1, 2 and 3 of vectors (…, 3): (…, 3), (…, 6), (…, 10).

    Few products of slices: gradients of gradients of a list of monomials take minutes to compile.
    """
    x, y, z = (vectors[..., axis : axis + 1] for axis in range(3))
    second = jnp.concatenate([x * vectors, y * vectors[..., 1:], z * z], axis=-1)
    third = jnp.concatenate([x * second, y * second[..., 3:], z * second[..., 5:]], axis=-1)
    return vectors, second, third


def torsion_moments(units, weights):
    """Moments of single bonds to be summed at an atom: (e, C, 19) of units (e, 3) and weights (e, C)."""
    return weights[:, :, None] * jnp.concatenate(powers(units), axis=-1)[:, None, :]


def angle_moments(units, weights):
    """(e, C, 11): the weight, its square, and the moments of degree 1 and 2."""
    rest = jnp.concatenate(powers(units)[:2], axis=-1)[:, None, :]
    return jnp.concatenate(
        [weights[:, :, None], weights[:, :, None] ** 2, weights[:, :, None] * rest], axis=-1
    )


def angle_energy(moments, stiffness, cosine):
    """Σ_c κ_c Σ_{i<k} w_i w_k (cos θ_ik − cos θ⁰_c)² of summed moments (n, C, 11): (n,) eV."""
    total, squares, first, second = jnp.split(moments, [1, 2, 5], axis=-1)
    total, squares = total[..., 0], squares[..., 0]
    cosines = jnp.sum(first**2, axis=-1)  # Σ_ik w w cos θ, i = k too
    squared_cosines = jnp.sum(jnp.asarray(MULTIPLICITY[2], moments.dtype) * second**2, axis=-1)
    everything = squared_cosines - 2.0 * cosine * cosines + cosine**2 * total**2
    return jnp.sum(0.5 * stiffness * (everything - (1.0 - cosine) ** 2 * squares), axis=-1)


def across(bonds):
    """Real and imaginary part (p, 3) of u = e₁ + i·e₂, two unit vectors at right angles to the bonds (p, 3).

    Z_n does not depend on which two: they may jump.
    """
    axis = jax.nn.one_hot(jnp.argmin(jnp.abs(bonds), axis=-1), 3, dtype=bonds.dtype)
    first = axis - jnp.sum(axis * bonds, axis=-1, keepdims=True) * bonds
    first = first / jnp.maximum(safe_norm(first), 1e-3)[:, None]
    return first, jnp.cross(bonds, first)


def _complex_powers(real, imaginary):
    """Monomials of degree 1, 2 and 3 of complex vectors (p, 3), times their multiplicity: two (p, 19)."""

    def times(a, b):
        return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]

    def part(pair, start, end=None):
        return pair[0][:, start:end], pair[1][:, start:end]

    def joined(*pairs):
        return tuple(jnp.concatenate(parts, axis=-1) for parts in zip(*pairs))

    first = real, imaginary
    x, y, z = (part(first, axis, axis + 1) for axis in range(3))
    second = joined(times(x, first), times(y, part(first, 1)), times(z, z))
    third = joined(times(x, second), times(y, part(second, 3)), times(z, part(second, 5)))
    factor = jnp.asarray(np.concatenate([MULTIPLICITY[n] for n in FOLDS]), real.dtype)
    return tuple(factor * values for values in joined(first, second, third))


def turning(bonds, moments_j, moments_k, strengths):
    """Z_n of bonds: two (p, 3), real and imaginary part in eV.

    Args:
        bonds: (p, 3) unit vectors from j to k.
        moments_j, moments_k: (p, C, 19) of the atoms at both ends.
        strengths: U (p, 3, C), eV.
    """
    splits = np.cumsum([SIZES[n] for n in FOLDS])[:-1]

    def by_fold(moments, monomials):
        """Σ_m over the monomials of each degree: (p, 3, C)."""
        parts = jnp.split(moments * monomials[:, None, :], splits, axis=-1)
        return jnp.stack([part.sum(axis=-1) for part in parts], axis=1)

    real, imaginary = _complex_powers(*across(bonds))
    (a, b), (c, d) = (
        (by_fold(moments, real), by_fold(moments, imaginary)) for moments in (moments_j, moments_k)
    )
    return jnp.sum(strengths * (a * c + b * d), axis=-1), jnp.sum(strengths * (b * c - a * d), axis=-1)


def turning_energy(real, imaginary):
    """Σ_n (Re Z_n + |Z_n|) (p,) eV, with |Z| = √(Z² + ε²) − ε, smooth at 0."""
    size = jnp.sqrt(real**2 + imaginary**2 + SMALL**2) - SMALL
    return jnp.sum(real + size, axis=-1)
