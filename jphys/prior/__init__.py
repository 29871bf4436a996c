"""A classical energy around each stable structure, known from the structure alone."""

from jphys.prior.energy import (
    BOND_REACH,
    Prior,
    Terms,
    bond_angles,
    bond_lengths,
    bonded_pairs,
    make_prior,
    planar_atoms,
    prior_energy,
    term_energies,
    torsion_vectors,
)

__all__ = [
    "BOND_REACH",
    "Prior",
    "Terms",
    "bond_angles",
    "bond_lengths",
    "bonded_pairs",
    "make_prior",
    "planar_atoms",
    "prior_energy",
    "term_energies",
    "torsion_vectors",
]
