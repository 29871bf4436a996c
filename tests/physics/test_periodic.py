"""Crystals: an atom and its images are one, and a larger cell is more of the same."""

import numpy as np
import pytest

from jphys.graph import make_graph

pytestmark = pytest.mark.usefixtures("x64")


def crystal(case, atoms):
    species, positions, cell = atoms
    return make_graph(species, positions, cell=cell, cutoff=case.potential.cutoff)


def test_the_cutoff_reaches_beyond_the_cell(case, crystal_atoms):
    """So that atoms are their own neighbours, the hard case."""
    graph = crystal(case, crystal_atoms)
    assert np.any(graph.senders == graph.receivers)


def test_image_shift(case, crystal_atoms):
    """An atom moved by lattice vectors, with the edges searched anew."""
    species, positions, cell = crystal_atoms
    moved = positions.copy()
    moved[1] += np.array([1, -2, 1]) @ cell
    energy, forces = case.padded(crystal(case, crystal_atoms))
    there, same = case.padded(crystal(case, (species, moved, cell)))
    assert np.abs(np.asarray(forces)).max() > 1e-2
    np.testing.assert_allclose(there, energy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(same, forces, rtol=0, atol=1e-9)


def test_supercell(additive_case, crystal_atoms):
    case = additive_case
    species, positions, cell = crystal_atoms
    double = np.concatenate([positions, positions + cell[1]])
    energy, forces = case.padded(crystal(case, crystal_atoms))
    twice, repeated = case.padded(
        crystal(case, (np.tile(species, 2), double, cell * np.array([1, 2, 1])[:, None]))
    )
    np.testing.assert_allclose(twice, 2 * np.asarray(energy), rtol=0, atol=1e-9)
    np.testing.assert_allclose(repeated, np.tile(forces, (2, 1)), rtol=0, atol=1e-9)
