"""A classical energy around each stable structure, known from the structure alone.

Internal coordinates q (bond lengths, bond angles, torsions) have their minimum at the stable structure's own
values q⁰, with published force constants (`jphys.prior.force_constants`):

    E_prior(p; p⁰) = Σ_bonds ½k/a²·(1 − exp(−a(r − r⁰)))² + Σ_angles ½k(θ − θ⁰)²
                     + Σ_torsions k/n²·s·s⁰·(1 − cos n(φ − φ⁰)) + Σ_contacts ½k/a²·(1 − exp(−a(r − r⁰)))²

Bonds are Morse oscillators with a = 2 Å⁻¹, the anharmonicity MMFF94 gives every bond (Halgren 1996,
doi:10.1002/(SICI)1096-987X(199604)17:5/6<490::AID-JCC1>3.0.CO;2-P). Torsions are two-fold about bonds of two
planar atoms and three-fold about others: a methyl group that turns by 120° is where it was. s = sin·sin of
the two bond angles lets a torsion fade where three atoms are in line. Contacts are the pairs three or more
bonds apart; their a is about half the decay of MM3's repulsion, which a Morse well of its curvature needs. No
energy or force of a displaced structure enters anywhere.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.elements import COVALENT_RADIUS
from jphys.ops import safe_norm
from jphys.prior import force_constants

MORSE_WIDTH = 2.0  # a of bonds, Å⁻¹
CONTACT_WIDTH = 1.75  # a of contacts, Å⁻¹
BOND_REACH = 1.3  # two atoms are bonded below this multiple of the sum of their covalent radii
CONTACT_REACH = 5.0  # Å; contacts beyond it are left out
PLANAR = 0.5  # three unit vectors along bonds in a plane add up to less than this
CHALCOGENS = (8, 16, 34)  # two bonds do not make these planar


class Terms(NamedTuple):
    """Terms of one kind: the atoms they join and how stiff they are."""

    atoms: np.ndarray | jax.Array  # (t, 2 | 3 | 4) int, node indices
    stiffness: np.ndarray | jax.Array  # (t,) eV/Å² for bonds, eV/rad² for angles and torsions
    mask: np.ndarray | jax.Array  # (t,) bool, false on padding


class Prior(NamedTuple):
    """Internal coordinates of one structure, or of a batch."""

    bonds: Terms
    angles: Terms
    twofold: Terms  # torsions about bonds between planar atoms
    threefold: Terms  # other torsions
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
    flat = planar_atoms(species, positions, neighbors)[torsions[:, 1:3]].all(axis=1)
    stiffness = force_constants.torsion(species, positions, torsions)
    pairs = _contacts(positions, adjacent)
    return Prior(
        bonds=_terms(bonds, force_constants.stretch(species, positions, bonds)),
        angles=_terms(angles, force_constants.bend(species, angles)),
        twofold=_terms(torsions[flat], stiffness[flat]),
        threefold=_terms(torsions[~flat], stiffness[~flat]),
        contacts=_terms(pairs, force_constants.contact(species, positions, pairs)),
    )


def _terms(atoms, stiffness) -> Terms:
    return Terms(atoms.astype(np.int32), stiffness.astype(np.float32), np.ones(len(atoms), bool))


def planar_atoms(species, positions, neighbors) -> np.ndarray:
    """Whether each atom has its bonds in a plane (n,) bool, as where it is part of a double bond.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        neighbors: n arrays of the atoms bonded to each.
    """
    found = []
    for atom, near in enumerate(neighbors):
        arms = positions[near] - positions[atom]
        arms /= np.linalg.norm(arms, axis=1, keepdims=True)
        flat = np.linalg.norm(arms.sum(axis=0)) < PLANAR
        found.append(flat if len(near) == 3 else len(near) == 2 and species[atom] not in CHALCOGENS)
    return np.array(found, bool)


def _contacts(positions, adjacent) -> np.ndarray:
    """Pairs (t, 2) at least three bonds apart and closer than CONTACT_REACH."""
    near = adjacent | (adjacent.astype(int) @ adjacent.astype(int) > 0)
    pairs = np.argwhere(np.triu(~near, 1)).reshape(-1, 2)
    return pairs[force_constants.lengths(positions, pairs) < CONTACT_REACH]


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


def _morse(positions, stable, terms: Terms, width: float):
    """(1 − exp(−a(r − r⁰)))²/2a² (t,) Å²."""
    stretch = bond_lengths(positions, terms) - bond_lengths(stable, terms)
    stretch = jnp.maximum(stretch, -2.0)  # keeps a collapsed pair finite in float32
    return 0.5 / width**2 * (1.0 - jnp.exp(-width * stretch)) ** 2


def _turns(positions, stable, terms: Terms, fold: int):
    """s·s⁰·(1 − cos n(φ − φ⁰))/n² (t,) for n = 2 or 3, as a multiple of s·s⁰ − s·s⁰·cos(φ − φ⁰)."""
    turned, still = torsion_vectors(positions, terms), torsion_vectors(stable, terms)
    product = safe_norm(turned) * safe_norm(still)
    cosine = jnp.sum(turned * still, axis=-1)
    apart = product - cosine
    cosine = cosine / jnp.maximum(product, 1e-6)
    return apart * ((1.0 + cosine) / 2.0 if fold == 2 else ((1.0 + 2.0 * cosine) / 3.0) ** 2)


def term_energies(positions, stable, prior: Prior):
    """Energy of every term, kind by kind.

    Args:
        positions: (n, 3) Å.
        stable: (n, 3) Å, the structure whose internal coordinates are the reference.

    Returns:
        An array (t,) eV per field of Prior, 0 on padding and at positions = stable.
    """
    shapes = (
        _morse(positions, stable, prior.bonds, MORSE_WIDTH),
        0.5 * (bond_angles(positions, prior.angles) - bond_angles(stable, prior.angles)) ** 2,
        _turns(positions, stable, prior.twofold, 2),
        _turns(positions, stable, prior.threefold, 3),
        _morse(positions, stable, prior.contacts, CONTACT_WIDTH),
    )
    return tuple(terms.mask * terms.stiffness * shape for terms, shape in zip(prior, shapes, strict=True))


def prior_energy(positions, stable, prior: Prior):
    """E_prior(p; p⁰) of the module's equation, summed over all terms: scalar eV."""
    return sum(jnp.sum(energies) for energies in term_energies(positions, stable, prior))
