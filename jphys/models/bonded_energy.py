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

import itertools
from collections.abc import Callable
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

# Monomials of a vector by degree, as the axes that are multiplied: x, y, z; xx, xy, xz, yy, yz, zz; xxx, …
MONOMIALS = {n: list(itertools.combinations_with_replacement(range(3), n)) for n in FOLDS}


def _times_in_the_tensor(axes) -> int:
    """How often a monomial is in the symmetric power."""
    return len(set(itertools.permutations(axes)))


MULTIPLICITY = {n: np.array([_times_in_the_tensor(axes) for axes in MONOMIALS[n]]) for n in FOLDS}
DEGREE = np.concatenate([np.full(len(MONOMIALS[n]), n) for n in FOLDS])  # of all 19
BY_FOLD = (DEGREE[:, None] == np.array(FOLDS)).astype(float)  # (19, 3): sums over the monomials of a degree


def _columns(chosen, available) -> np.ndarray:
    """The matrix with which a row of available values becomes one of the chosen values."""
    return np.array([[float(name == other) for other in chosen] for name in available])


# Factors of the monomials of degree 2 (two) and 3 (the first) in the components of a vector; and the rest of
# those of degree 3 among the monomials of degree 2.
FACTORS = _columns(
    [axes[:1] for axes in MONOMIALS[2]]
    + [axes[1:] for axes in MONOMIALS[2]]
    + [axes[:1] for axes in MONOMIALS[3]],
    MONOMIALS[1],
)
REST = _columns([axes[1:] for axes in MONOMIALS[3]], MONOMIALS[2])


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


def _picked(values, matrix):
    """Values times a matrix of zeros and ones."""
    return jnp.matmul(values, jnp.asarray(matrix, values.dtype), precision=jax.lax.Precision.HIGHEST)


def powers(vectors, multiply: Callable[..., jax.Array] = jnp.multiply):
    """Monomials of degree 1, 2 and 3 of vectors (…, 3): (…, 3), (…, 6), (…, 10).

    Products with matrices of zeros and ones, in place of slices: these, their derivatives and those of the
    derivatives take most of the time in which a force compiles.
    """
    first, second, third = jnp.split(_picked(vectors, FACTORS), [6, 12], axis=-1)
    squares = multiply(first, second)
    return vectors, squares, multiply(third, _picked(squares, REST))


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


def _complex_product(a, b):
    """Of arrays (2, …) of real and imaginary parts."""
    return jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


def _complex_powers(vectors):
    """Monomials of degree 1, 2 and 3 of complex vectors (2, p, 3), times their multiplicity: (2, p, 19)."""
    factor = jnp.asarray(np.concatenate([MULTIPLICITY[n] for n in FOLDS]), vectors.dtype)
    return factor * jnp.concatenate(powers(vectors, _complex_product), axis=-1)


def turning(bonds, moments_j, moments_k, strengths):
    """Z_n of bonds: two (p, 3), real and imaginary part in eV.

    Args:
        bonds: (p, 3) unit vectors from j to k.
        moments_j, moments_k: (p, C, 19) of the atoms at both ends.
        strengths: U (p, 3, C), eV.
    """
    monomials = _complex_powers(jnp.stack(across(bonds)))[:, :, None, :]
    # Σ over the monomials of each degree: (p, C, 3), real and imaginary part at either atom.
    (a, b), (c, d) = (
        (_picked(moments * monomials[0], BY_FOLD), _picked(moments * monomials[1], BY_FOLD))
        for moments in (moments_j, moments_k)
    )
    strengths = jnp.swapaxes(strengths, 1, 2)
    return jnp.sum(strengths * (a * c + b * d), axis=1), jnp.sum(strengths * (b * c - a * d), axis=1)


def turning_energy(real, imaginary):
    """Σ_n (Re Z_n + |Z_n|) (p,) eV, with |Z| = √(Z² + ε²) − ε, smooth at 0."""
    size = jnp.sqrt(real**2 + imaginary**2 + SMALL**2) - SMALL
    return jnp.sum(real + size, axis=-1)
