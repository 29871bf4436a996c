"""A classical energy around each stable structure, known from the structure alone."""

from jphys.prior.coordinates import Terms, bond_angles, bond_lengths, pyramid_heights, torsion_vectors
from jphys.prior.energy import Prior, contact_stiffness, make_prior, prior_energy, term_energies
from jphys.prior.rotors import rotor_stiffness
from jphys.prior.topology import BOND_REACH, bonded_pairs, planar_atoms

__all__ = [
    "BOND_REACH",
    "Prior",
    "Terms",
    "bond_angles",
    "bond_lengths",
    "bonded_pairs",
    "contact_stiffness",
    "make_prior",
    "planar_atoms",
    "prior_energy",
    "pyramid_heights",
    "rotor_stiffness",
    "term_energies",
    "torsion_vectors",
]
