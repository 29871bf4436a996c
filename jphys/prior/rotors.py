"""How the energy rises when a molecule is turned about a bond: barriers by the kinds of its two atoms.

    E(p; p⁰) = w·[U(φ) − U(φ⁰) + c(Δ)·(−U′(φ⁰)·sin Δ + κ·(1 − cos Δ))],   Δ = φ − φ⁰,
    U(φ) = ½V₂(1 − cos 2φ) + ½V₃(1 + cos 3φ),   c = ((1 + cos Δ)/2)²,   w = (s/max(s⁰, 0.6))³

per torsion. U knows nothing of the stable structure but its bonds: a methyl group has three equal minima, and
a turned molecule the energy of its own geometry. Near φ⁰ alone two terms take away the force that neighbours
balance in the molecule, and keep the curvature above a floor (κ). s = sin θ₁·sin θ₂ of the two bond angles
lets it fade where three atoms are in line; no angle is ever computed.

V₂, V₃: the empirical rules of MMFF94 (Halgren 1996, part V, p. 631,
doi:10.1002/(SICI)1096-987X(199604)17:5/6<616::AID-JCC5>3.0.CO;2-X), V₂ = 6π·√(U_j·U_k) between atoms with
p orbitals in a row and V₃ = √(V_j·V_k)/N_jk about other bonds, N_jk the number of torsions. π, which MMFF94
tabulates by kinds of bonds (1 double, 0.5 aromatic, 0.15 single), is the order of the bond less one, by
Pauling's rule in the form and with the radii of UFF (Rappé et al. 1992, doi:10.1021/ja00051a040, eqs. 2-4).
"""

import jax.numpy as jnp
import numpy as np

from jphys import units
from jphys.elements import COVALENT_RADIUS, MAX_Z
from jphys.ops import safe_norm
from jphys.prior.coordinates import Terms, torsion_vectors
from jphys.prior.topology import CHALCOGENS, lengths

# MMFF94: U, V in kcal/mol; others as their period has them (UFF), without V.
TWOFOLD = {6: 2.0, 7: 2.0, 8: 2.0, 14: 1.25, 15: 1.25, 16: 1.25}
THREEFOLD = {6: 2.12, 7: 1.5, 8: 0.2, 14: 1.22, 15: 2.40, 16: 0.49}
CHALCOGEN = {8: 2.0, 16: 8.0, 34: 8.0}  # W of V₂ = −√(W_j·W_k), which wants 90°
# Radii in Å of atoms with p orbitals and electronegativities in eV of UFF.
PI_RADIUS = {6: (0.729, 5.343), 7: (0.699, 6.899), 8: (0.680, 8.741), 16: (1.077, 6.928)}
PAULING = 0.1332  # of r = r₁ + r₂ − 0.1332·(r₁ + r₂)·ln n
DOUBLE = 1.5  # orders above it are double bonds
LEAST_PI = 0.15  # of a single bond between planar atoms
BESIDE = {6: 0.65, 7: 0.65, 8: 0.30}  # kcal/mol: −V₃ of sp³–sp² torsions that end at a double bond's atom
FLOOR = 0.1  # eV/rad² of a bond: 9/2 of a three-fold barrier of ½ kcal/mol
RING_FLOOR = 0.05  # eV/rad² of every torsion in a ring, Schlegel's 0.0023 Hartree (1984) scaled by 0.8929²
THIN = 0.6  # s⁰ below which torsions fade


def _rows(table, default) -> np.ndarray:
    rows = np.array(default, float) * np.ones(MAX_Z + 1)
    rows[list(table)] = list(table.values())
    return rows


_PERIOD = np.searchsorted([2, 10, 18, 36, 54], np.arange(MAX_Z + 1))
_TWOFOLD = _rows(TWOFOLD, np.array([0.0, 2.0, 1.25, 0.7, 0.2, 0.1])[_PERIOD])
_THREEFOLD, _CHALCOGEN, _BESIDE = (_rows(table, 0.0) for table in (THREEFOLD, CHALCOGEN, BESIDE))
_RADIUS = _rows({z: row[0] for z, row in PI_RADIUS.items()}, COVALENT_RADIUS)
_CHI = _rows({z: row[1] for z, row in PI_RADIUS.items()}, 0.0)


def bond_orders(species, positions, pairs) -> np.ndarray:
    """n (t,) of r = r₀ − 0.1332·(r₁ + r₂)·ln n, at most 2, r₀ shortened by the electronegativities."""
    first, second = species[pairs].T
    r1, r2, x1, x2 = _RADIUS[first], _RADIUS[second], _CHI[first], _CHI[second]
    known = (x1 > 0) & (x2 > 0)
    shorter = r1 * r2 * (np.sqrt(x1) - np.sqrt(x2)) ** 2 / np.maximum(x1 * r1 + x2 * r2, 1e-9)
    single = r1 + r2 - np.where(known, shorter, 0.0)
    return np.minimum(np.exp((single - lengths(positions, pairs)) / (PAULING * (r1 + r2))), 2.0)


def barriers(species, positions, torsions, planar, n_bonds, ring) -> np.ndarray:
    """V₂, V₃ in eV and the least curvature in eV/rad² of every torsion, (t, 3).

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å, the stable structure.
        torsions: (t, 4).
        planar: (n,) bool, `jphys.prior.topology.planar_atoms`.
        n_bonds: (n,) neighbours of each atom.
        ring: (t,) bool, `jphys.prior.topology.about_ring_bonds`.
    """
    i, j, k, m = torsions.T
    z, crowd = species, np.maximum(n_bonds - 1, 1)
    chalcogen = np.isin(z, CHALCOGENS) & (n_bonds == 2)
    lone = chalcogen | ((z == 7) & (n_bonds == 3))
    pi = (planar[j] & (planar[k] | lone[k])) | (planar[k] & lone[j])
    order = np.maximum(bond_orders(z, positions, torsions[:, 1:3]) - 1.0, LEAST_PI)
    two = np.where(pi, 6.0 * order * np.sqrt(_TWOFOLD[z[j]] * _TWOFOLD[z[k]]), 0.0)
    both = chalcogen[j] & chalcogen[k]
    two = np.where(both, -np.sqrt(_CHALCOGEN[z[j]] * _CHALCOGEN[z[k]]), two)
    plain = ~pi & ~both & ~planar[j] & ~planar[k]
    three = np.where(plain, np.sqrt(_THREEFOLD[z[j]] * _THREEFOLD[z[k]]) / (crowd[j] * crowd[k]), 0.0)
    for end, near, far in ((m, k, j), (i, j, k)):
        double = bond_orders(z, positions, np.stack([near, end], axis=1)) > DOUBLE
        beside = ~pi & planar[near] & ~planar[far] & (n_bonds[far] == 4) & double
        three = np.where(beside, -_BESIDE[z[end]], three)
    floor = np.where(ring, RING_FLOOR, FLOOR / (crowd[j] * crowd[k]))
    return np.stack([two * units.KCAL_PER_MOL, three * units.KCAL_PER_MOL, floor], axis=1)


def _still(stable, terms: Terms):
    """s⁰ (t,), cos φ⁰ and sin φ⁰ of the stable structure."""
    vectors = torsion_vectors(stable, terms)
    size = safe_norm(vectors)
    cosine, sine = (vectors / jnp.maximum(size, 1e-6)[:, None]).T
    return size, cosine, sine


def _slope_and_curvature(cosine, sine, terms: Terms):
    """U′(φ⁰) eV/rad and U″(φ⁰) eV/rad²."""
    two, three, _ = jnp.asarray(terms.stiffness, cosine.dtype).T  # rounded like the energy
    slope = 2.0 * two * sine * cosine - 1.5 * three * sine * (3.0 - 4.0 * sine**2)
    curvature = 2.0 * two * (cosine**2 - sine**2) - 4.5 * three * cosine * (4.0 * cosine**2 - 3.0)
    return slope, curvature


def rotor_stiffness(stable, terms: Terms):
    """∂²E/∂φ²/s² (t,) eV at the stable structure, of the coordinate s·sin Δ: finite where s = 0."""
    size, cosine, sine = _still(stable, terms)
    _, curvature = _slope_and_curvature(cosine, sine, terms)
    return jnp.maximum(curvature, terms.stiffness[:, 2]) * size / jnp.maximum(size, THIN) ** 3


def rotor_energies(positions, stable, terms: Terms):
    """E (t,) eV of the module's equation, as polynomials of s·cos φ and s·sin φ."""
    two, three, floor = jnp.asarray(terms.stiffness, stable.dtype).T
    size, cosine, sine = _still(stable, terms)
    slope, curvature = _slope_and_curvature(cosine, sine, terms)
    x, y = torsion_vectors(positions, terms).T
    s, along, across = safe_norm(jnp.stack([x, y], axis=-1)), x * cosine + y * sine, y * cosine - x * sine
    twice = s**3 * (cosine**2 - sine**2) - s * (x**2 - y**2)  # s³(cos 2φ⁰ − cos 2φ)
    thrice = x * (x**2 - 3.0 * y**2) - s**3 * cosine * (4.0 * cosine**2 - 3.0)
    extra = jnp.maximum(floor - curvature, 0.0) * (s - along) - slope * across
    energy = 0.5 * (two * twice + three * thrice) + extra * (0.5 * (s + along)) ** 2
    return energy / jnp.maximum(size, THIN) ** 3
