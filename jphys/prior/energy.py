"""A classical energy around each stable structure, known from the structure alone.

Internal coordinates q (bond lengths, bond angles, heights of planar atoms, torsions) have their minimum at
the stable structure's own values q⁰, with published force constants (`jphys.prior.force_constants`):

    E_prior(p; p⁰) = Σ_bonds ½k/a²·(1 − exp(−a(r − r⁰)))² + Σ_angles ½k(θ − θ⁰)² + Σ_planar ½k(h − h⁰)²
                     + Σ_torsions E_rotor(φ; φ⁰) + Σ_contacts A·(exp(−ax) − 1 + ax·exp(−(ax)²)), x = r − r⁰

Bonds are Morse oscillators whose width a follows from the depths of ten bonds (`force_constants.DEPTHS`).
Torsions: see `jphys.prior.rotors`. Contacts are the pairs three or more bonds apart. They have MM3's
repulsion as a function of the present distance; near r⁰ alone its force, which the molecule balances, is
taken away. No other energy, and no force, of a displaced structure enters.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from jphys.prior import force_constants, rotors, topology
from jphys.prior.coordinates import Terms, bond_angles, bond_lengths, pyramid_heights


class Prior(NamedTuple):
    """Internal coordinates of one structure, or of a batch."""

    bonds: Terms
    angles: Terms
    wags: Terms  # planar atoms with their three neighbours
    rotors: Terms  # torsions
    contacts: Terms


def make_prior(species, positions) -> Prior:
    """Internal coordinates and force constants of a free molecule. Host side.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å, the stable structure.
    """
    species, positions = np.asarray(species), np.asarray(positions, np.float64)
    adjacent = topology.bonded_pairs(species, positions)
    neighbors, n_bonds = topology.neighbors_of(adjacent), adjacent.sum(axis=1)
    bonds = np.argwhere(np.triu(adjacent)).reshape(-1, 2)
    angles = topology.angles_of(neighbors)
    ring = topology.small_rings(adjacent, angles)
    planar = topology.planar_atoms(species, positions, neighbors)
    flat = np.array([(a, *neighbors[a]) for a in np.flatnonzero(planar & (n_bonds == 3))], int).reshape(-1, 4)
    torsions = topology.torsions_of(bonds, neighbors)
    around = topology.about_ring_bonds(adjacent, torsions)
    pairs = topology.contacts_of(positions, adjacent)
    return Prior(
        bonds=_terms(bonds, force_constants.stretch(species, positions, bonds)),
        angles=_terms(angles, force_constants.bend(species, positions, angles, ring)),
        wags=_terms(flat, force_constants.wag(species, flat, n_bonds)),
        rotors=_terms(torsions, rotors.barriers(species, positions, torsions, planar, n_bonds, around)),
        contacts=_terms(pairs, force_constants.contact(species, positions, pairs)),
    )


def _terms(atoms, stiffness) -> Terms:
    return Terms(atoms.astype(np.int32), stiffness.astype(np.float32), np.ones(len(atoms), bool))


def _stretch(positions, stable, terms: Terms):
    """x = r − r⁰ (t,) Å; bounded from below, which keeps a collapsed pair finite in float32."""
    return jnp.maximum(bond_lengths(positions, terms) - bond_lengths(stable, terms), -2.0)


def _morse(positions, stable, terms: Terms):
    """k/2a²·(1 − exp(−ax))² (t,) eV."""
    stiffness, width = terms.stiffness.T
    shape = (1.0 - jnp.exp(-width * _stretch(positions, stable, terms))) ** 2
    return 0.5 * stiffness * shape / jnp.maximum(width, 1e-3) ** 2


def _repulsion(positions, stable, terms: Terms):
    """A·(exp(−ax) − 1 + ax·exp(−(ax)²)) (t,) eV, of slope 0 and curvature A·a² at x = 0."""
    strength, decay = terms.stiffness.T
    far = decay * _stretch(positions, stable, terms)
    return strength * (jnp.exp(-far) - 1.0 + far * jnp.exp(-(far**2)))


def contact_stiffness(terms: Terms):
    """A·a² (t,) eV/Å² of contacts at the stable structure."""
    return terms.stiffness[:, 0] * terms.stiffness[:, 1] ** 2


def _spring(coordinate, positions, stable, terms: Terms):
    """½k(q − q⁰)² (t,) eV."""
    return 0.5 * terms.stiffness * (coordinate(positions, terms) - coordinate(stable, terms)) ** 2


def term_energies(positions, stable, prior: Prior):
    """Energy of every term, kind by kind.

    Args:
        positions: (n, 3) Å.
        stable: (n, 3) Å, the structure whose internal coordinates are the reference.

    Returns:
        An array (t,) eV per field of Prior, 0 on padding and at positions = stable.
    """
    energies = (
        _morse(positions, stable, prior.bonds),
        _spring(bond_angles, positions, stable, prior.angles),
        _spring(pyramid_heights, positions, stable, prior.wags),
        rotors.rotor_energies(positions, stable, prior.rotors),
        _repulsion(positions, stable, prior.contacts),
    )
    return tuple(terms.mask * values for terms, values in zip(prior, energies, strict=True))


def prior_energy(positions, stable, prior: Prior):
    """E_prior(p; p⁰) of the module's equation, summed over all terms: scalar eV."""
    return sum(jnp.sum(energies) for energies in term_energies(positions, stable, prior))
