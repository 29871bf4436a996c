"""A classical energy around each stable structure, known from the structure alone.

Internal coordinates q (bond lengths, bond angles, torsions) have their minimum at the stable
structure's own values q⁰, with the force constants that H. B. Schlegel (Theor. Chim. Acta 66, 333
(1984), doi:10.1007/BF00554788) tabulated for starting Hessians:

    E_prior(p; p⁰) = Σ_bonds ½k/a²·(1 − exp(−a(r − r⁰)))² + Σ_angles ½k(θ − θ⁰)²
                     + Σ_torsions k·s·s⁰·(1 − cos(φ − φ⁰)) + Σ_contacts ½k/a²·(1 − exp(−a(r − r⁰)))²

Bonds are Morse oscillators with a = 2 Å⁻¹, the anharmonicity MMFF94 gives every bond (Halgren 1996,
doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P). s = sin·sin of the two bond angles
lets a torsion fade where three atoms are in line. Schlegel's constants are those of Hartree-Fock, whose
frequencies are too high by 1/0.8929 (Pople et al. 1993, doi:10.1002/ijch.199300041): all are scaled by
0.8929². Contacts are the pairs three or more bonds apart, k = 4 eV/Å²·exp(−(r⁰ − 2.5 Å)/0.45 Å): they keep
atoms from running into each other, and torsions stiffer than nature has them, because a soft mode turns a
small error of the force into a long way (docs/log.md has the measurement). No energy or force of a
displaced structure enters anywhere.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import units
from jphys.elements import COVALENT_RADIUS
from jphys.ops import safe_norm

MORSE_WIDTH = 2.0  # a, Å⁻¹
HARTREE_FOCK_SCALE = 0.8929**2
BOND_REACH = 1.3  # two atoms are bonded below this multiple of the sum of their covalent radii
STRETCH_A = 1.734  # Hartree·Bohr, of k = A/(r − B)³
STRETCH_B = np.array([[-0.244, 0.352, 0.660], [0.352, 1.085, 1.522], [0.660, 1.522, 2.068]])  # Bohr, by row
BEND = (0.250, 0.160)  # Hartree/rad²: between heavy atoms; with a hydrogen at either end
CONTACT_STIFFNESS, CONTACT_LENGTH, CONTACT_DECAY = 4.0, 2.5, 0.45  # eV/Å², Å, Å
CONTACT_REACH = 5.0  # Å; contacts beyond it (0.015 eV/Å²) are left out
TORSION_A, TORSION_B = 0.0023, 0.07  # Hartree/rad² and Hartree/(rad²·Bohr), of k = A − B(r − r_cov)


class Terms(NamedTuple):
    """Terms of one kind: the atoms they join and how stiff they are."""

    atoms: np.ndarray | jax.Array  # (t, 2 | 3 | 4) int, node indices
    stiffness: np.ndarray | jax.Array  # (t,) eV/Å² for bonds, eV/rad² for angles and torsions
    mask: np.ndarray | jax.Array  # (t,) bool, false on padding


class Prior(NamedTuple):
    """Internal coordinates of one structure, or of a batch."""

    bonds: Terms
    angles: Terms
    torsions: Terms
    contacts: Terms


def bonded_pairs(species: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """Adjacency (n, n) bool by covalent radii."""
    distances = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
    radii = COVALENT_RADIUS[species]
    return (distances < BOND_REACH * (radii[:, None] + radii[None])) & ~np.eye(len(species), dtype=bool)


def make_prior(species, positions) -> Prior:
    """Internal coordinates and force constants of a free molecule. Host side.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å, the stable structure.
    """
    species, positions = np.asarray(species), np.asarray(positions, np.float64)
    adjacent = bonded_pairs(species, positions)
    neighbors = [np.flatnonzero(row) for row in adjacent]
    bonds = np.argwhere(np.triu(adjacent)).reshape(-1, 2)
    angles = [
        (i, j, k) for j, near in enumerate(neighbors) for a, i in enumerate(near) for k in near[a + 1 :]
    ]
    torsions = [
        (i, j, k, m)
        for j, k in bonds
        for i in neighbors[j]
        if i != k
        for m in neighbors[k]
        if m not in (i, j)
    ]
    angles = np.array(angles, int).reshape(-1, 3)
    torsions = np.array(torsions, int).reshape(-1, 4)
    return Prior(
        bonds=_terms(bonds, _stretch_stiffness(species, positions, bonds)),
        angles=_terms(angles, _bend_stiffness(species, angles)),
        torsions=_terms(torsions, _torsion_stiffness(species, positions, torsions)),
        contacts=_terms(*_contacts(positions, adjacent)),
    )


def _terms(atoms, stiffness) -> Terms:
    return Terms(atoms.astype(np.int32), stiffness.astype(np.float32), np.ones(len(atoms), bool))


def _period(species: np.ndarray) -> np.ndarray:
    return np.searchsorted([2, 10], species)


def _lengths(positions, atoms):
    return np.linalg.norm(positions[atoms[:, 0]] - positions[atoms[:, 1]], axis=1)


def _stretch_stiffness(species, positions, bonds):
    """k = A/(r − B)³ with B by the periods of the two atoms (Schlegel's form of Badger's rule)."""
    softness = STRETCH_B[_period(species[bonds[:, 0]]), _period(species[bonds[:, 1]])]
    gap = np.maximum(_lengths(positions, bonds) / units.BOHR - softness, 0.5)
    return HARTREE_FOCK_SCALE * units.HARTREE / units.BOHR**2 * STRETCH_A / gap**3


def _bend_stiffness(species, angles):
    hydrogen = (species[angles[:, [0, 2]]] == 1).any(axis=1)
    return HARTREE_FOCK_SCALE * units.HARTREE * np.where(hydrogen, BEND[1], BEND[0])


def _torsion_stiffness(species, positions, torsions):
    """k = A − B(r − r_cov) of the middle bond, not below A.

    Schlegel's line falls below zero for bonds just longer than r_cov; nine times A is the barrier
    of ethane, so A is what a rotor about a plain single bond has.
    """
    middle = torsions[:, 1:3]
    stretch = (_lengths(positions, middle) - COVALENT_RADIUS[species[middle]].sum(axis=1)) / units.BOHR
    return HARTREE_FOCK_SCALE * units.HARTREE * np.maximum(TORSION_A - TORSION_B * stretch, TORSION_A)


def _contacts(positions, adjacent):
    """Pairs at least three bonds apart and closer than CONTACT_REACH, with their stiffness."""
    near = adjacent | (adjacent.astype(int) @ adjacent.astype(int) > 0)
    pairs = np.argwhere(np.triu(~near, 1)).reshape(-1, 2)
    lengths = _lengths(positions, pairs)
    pairs, lengths = pairs[lengths < CONTACT_REACH], lengths[lengths < CONTACT_REACH]
    return pairs, CONTACT_STIFFNESS * np.exp(-(lengths - CONTACT_LENGTH) / CONTACT_DECAY)


def _vectors(positions, terms: Terms, start: int, end: int, stand_in):
    """Vectors between two atoms of each term; `stand_in` on padding keeps gradients finite."""
    vectors = positions[terms.atoms[:, end]] - positions[terms.atoms[:, start]]
    return jnp.where(terms.mask[:, None], vectors, jnp.asarray(stand_in, positions.dtype))


def bond_lengths(positions, terms: Terms):
    """r (t,) Å."""
    return safe_norm(_vectors(positions, terms, 0, 1, (1.0, 0.0, 0.0)))


def bond_angles(positions, terms: Terms):
    """θ (t,) rad in [0, π], with finite gradient for atoms in line."""
    a = _vectors(positions, terms, 1, 0, (1.0, 0.0, 0.0))
    b = _vectors(positions, terms, 1, 2, (0.0, 1.0, 0.0))
    return jnp.arctan2(safe_norm(jnp.cross(a, b)), jnp.sum(a * b, axis=-1))


def torsion_vectors(positions, terms: Terms):
    """s·(cos φ, sin φ) (t, 2), s = sin θ₁·sin θ₂ of the two bond angles; regular everywhere."""
    a = _vectors(positions, terms, 0, 1, (1.0, 0.0, 0.0))
    b = _vectors(positions, terms, 1, 2, (0.0, 1.0, 0.0))
    c = _vectors(positions, terms, 2, 3, (1.0, 0.0, 0.0))
    a, b, c = (v / jnp.maximum(safe_norm(v), 1e-6)[:, None] for v in (a, b, c))
    first, second = jnp.cross(a, b), jnp.cross(b, c)
    return jnp.stack([jnp.sum(first * second, axis=-1), jnp.sum(a * second, axis=-1)], axis=-1)


def _morse(positions, stable, terms: Terms):
    """(1 − exp(−a(r − r⁰)))²/2a² (t,) Å²."""
    stretch = bond_lengths(positions, terms) - bond_lengths(stable, terms)
    stretch = jnp.maximum(stretch, -2.0)  # keeps a collapsed pair finite in float32
    return 0.5 / MORSE_WIDTH**2 * (1.0 - jnp.exp(-MORSE_WIDTH * stretch)) ** 2


def term_energies(positions, stable, prior: Prior):
    """Energy of every bond, angle, torsion and contact.

    Args:
        positions: (n, 3) Å.
        stable: (n, 3) Å, the structure whose internal coordinates are the reference.

    Returns:
        Four arrays (t,) eV, 0 on padding and at positions = stable.
    """
    bonds, angles, torsions, contacts = prior
    bend = 0.5 * (bond_angles(positions, angles) - bond_angles(stable, angles)) ** 2
    turned, still = torsion_vectors(positions, torsions), torsion_vectors(stable, torsions)
    aligned = safe_norm(turned) * safe_norm(still) - jnp.sum(turned * still, axis=-1)
    return (
        bonds.mask * bonds.stiffness * _morse(positions, stable, bonds),
        angles.mask * angles.stiffness * bend,
        torsions.mask * torsions.stiffness * aligned,
        contacts.mask * contacts.stiffness * _morse(positions, stable, contacts),
    )


def prior_energy(positions, stable, prior: Prior):
    """E_prior(p; p⁰) of the module's equation, summed over all terms: scalar eV."""
    return sum(jnp.sum(energies) for energies in term_energies(positions, stable, prior))
