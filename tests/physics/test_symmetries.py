"""Energies do not depend on where, how turned or in which order a molecule is given; forces turn with it."""

import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from jphys.graph import make_graph, validate

pytestmark = pytest.mark.usefixtures("x64")
SHIFT = np.array([3.0, -7.0, 11.0])
TURN = Rotation.from_rotvec([0.7, -1.9, 0.4]).as_matrix()
MIRROR = np.diag([1.0, 1.0, -1.0]) @ TURN
MOTIONS = {"shift": (np.eye(3), SHIFT), "turn": (TURN, np.zeros(3)), "mirror": (MIRROR, SHIFT)}


@pytest.mark.parametrize("motion", MOTIONS)
def test_rigid_motions(case, formamide, motion):
    species, positions, bonds = formamide
    matrix, shift = MOTIONS[motion]
    moved = positions @ matrix.T + shift
    energy, forces = case.padded(make_graph(species, positions, bonds=bonds))
    there, turned = case.padded(make_graph(species, moved, bonds=bonds))
    assert np.abs(forces).max() > 0.1
    np.testing.assert_allclose(there, energy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(turned, forces @ matrix.T, rtol=0, atol=1e-9)


def test_renumbered_atoms(case, formamide):
    species, positions, bonds = formamide
    order = np.array([4, 2, 5, 0, 3, 1])
    place = np.argsort(order)
    renamed = [(place[i], place[j], kind) for i, j, kind in bonds]
    energy, forces = case.padded(make_graph(species, positions, bonds=bonds))
    there, shuffled = case.padded(make_graph(species[order], positions[order], bonds=renamed))
    np.testing.assert_allclose(there, energy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(shuffled, forces[order], rtol=0, atol=1e-9)


def test_shuffled_edges(case, formamide, rng):
    """Any order of the edges, sorted again by receiver only."""
    species, positions, bonds = formamide
    graph = make_graph(species, positions, bonds=bonds)
    order = rng.permutation(len(graph.senders))
    order = order[np.argsort(graph.receivers[order], kind="stable")]
    assert not np.array_equal(order, np.arange(len(order)))
    shuffled = graph._replace(
        edges=jax.tree.map(lambda field: field[order], graph.edges),
        senders=graph.senders[order],
        receivers=graph.receivers[order],
    )
    validate(shuffled)
    for ours, theirs in zip(case.padded(shuffled), case.padded(graph)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-9)


def test_elements_and_geometry_do_matter(case, formamide):
    """Invariance would also hold for a constant."""
    species, positions, bonds = formamide
    energy, _ = case.padded(make_graph(species, positions, bonds=bonds))
    stretched, _ = case.padded(make_graph(species, 1.05 * positions, bonds=bonds))
    swapped, _ = case.padded(make_graph(species[[0, 2, 1, 3, 4, 5]], positions, bonds=bonds))
    assert abs(stretched - energy) > 1e-2 and abs(swapped - energy) > 1e-2


def test_bonds_matter_where_the_mask_is_on(case, formamide):
    species, positions, bonds = formamide
    energy, _ = case.padded(make_graph(species, positions, bonds=bonds))
    unknown, _ = case.padded(make_graph(species, positions))
    if case.sees_bonds:
        assert abs(unknown - energy) > 1e-3
    else:
        assert unknown == energy
