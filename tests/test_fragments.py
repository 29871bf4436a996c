"""Sides of bonds, and structures taken apart in training."""

import dataclasses

import jax
import numpy as np
import pytest

from jphys import bonds
from jphys.data.loader import budget_for, make_dataset, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.fragments import HEAVY_WEIGHT, make_sides, stack
from jphys.losses import PHYSICS
from jphys.prior import bonded_pairs


def test_the_smaller_sides_of_acyclic_bonds_leave():
    species, positions, _ = bonds.embed_smiles("OCC1CC1")
    sides = make_sides(species, positions)
    sizes = sorted(sides.leaving.sum(axis=1).tolist())
    assert sizes == [1] * 8 + [2, 5], "eight hydrogens, OH, and CH2OH; no bond of the ring"
    for (stays, leaves), mask in zip(sides.ends, sides.leaving):
        assert mask[leaves] and not mask[stays]
    assert sides.weight.sum() == pytest.approx(1.0)
    heavy = (species[sides.ends] > 1).all(axis=1)
    assert heavy.sum() == 2 and sides.weight[heavy] == pytest.approx(HEAVY_WEIGHT / 16)


def test_one_atom_has_no_sides():
    sides = stack([make_sides([2], np.zeros((1, 3))), make_sides([1, 1], [[0, 0, 0], [0, 0, 0.74]])], 4)
    assert sides.leaving.shape == (2, 3, 4) and sides.weight.tolist() == [[0.0] * 3, [1.0, 0.0, 0.0]]


@pytest.fixture(scope="module")
def batch():
    """128 draws of the same 16 molecules, as indices of the data set differ."""
    structures = take(load_small(), np.arange(64) % 16 + 200)
    data = make_dataset(structures, np.zeros(64), cutoff=5.0, margin=1.0, with_prior=True)
    chosen = np.arange(64)
    budget = budget_for(data, chosen[None])
    return jax.jit(lambda rows: take_batch(data, rows, budget))(chosen), int(structures.n_atoms.max())


def moves(batch, **changes):
    (graph, labels), n_atom = batch
    quiet = {"noise": 1e-6, "thermal": 0.0, "still": 0.0, "apart": 0.0, "turned": 0.0}
    config = dataclasses.replace(PHYSICS.displacements, **quiet | changes)
    delta = np.asarray(config.draw(jax.random.key(0), labels, graph, n_atom))
    owner = np.repeat(np.arange(65), np.asarray(graph.n_node))
    return [delta[owner == i] for i in range(64)]


def test_a_side_moves_as_a_whole(batch):
    found = [np.linalg.norm(move, axis=1) for move in moves(batch, apart=1.0, apart_reach=0.8)]
    lengths = []
    for length in found:
        distinct = np.unique(length[length > 1e-4].round(3))
        assert 1 <= len(distinct) <= 3, "one side, or two that may share atoms"
        assert (length < 1e-4).any(), "the rest stays"
        lengths += distinct.tolist()
    assert max(lengths) < 1.6 and 0.6 < max(lengths) and min(lengths) < 0.2


def test_how_many_are_taken_apart(batch):
    for fraction in (0.0, 0.5):
        apart = np.mean([np.abs(move).max() > 1e-3 for move in moves(batch, apart=fraction)])
        assert apart == pytest.approx(fraction, abs=0.2)


def test_a_turn_keeps_bonds_and_angles(batch):
    """Pairs up to two bonds apart keep their distance, others do not; a smaller reach turns less."""
    (graph, _), _ = batch
    ends = np.cumsum(np.asarray(graph.n_node))[:-1]
    places = np.split(np.asarray(graph.nodes.positions), ends)
    species, far = np.split(np.asarray(graph.nodes.species), ends), []
    for z, place, move in zip(species, places, moves(batch, turned=1.0, turned_reach=90.0)):
        before, after = (np.linalg.norm(p[:, None] - p[None], axis=-1) for p in (place, place + move))
        bonded = bonded_pairs(z, place)
        near = bonded | (bonded.astype(int) @ bonded > 0)
        np.testing.assert_allclose(after[near], before[near], atol=1e-4)
        far.append(np.abs(after - before).max())
    assert np.mean(np.array(far) > 0.1) > 0.3  # the side of a triple bond lies on the axis
    little = moves(batch, turned=1.0, turned_reach=5.0)
    assert 0.05 < max(np.abs(move).max() for move in little) < 2 * np.sin(np.deg2rad(2.5)) * 6.0


def test_how_many_are_turned(batch):
    for fraction in (0.0, 0.5):
        turned = [np.abs(move).max() > 1e-3 for move in moves(batch, turned=fraction)]
        assert np.mean(turned) == pytest.approx(fraction, abs=0.2)


def test_draws_without_it_are_as_before(batch):
    """The new draws have a key of their own."""
    (graph, labels), n_atom = batch
    without = labels._replace(sides=None)
    config = dataclasses.replace(PHYSICS.displacements, apart=0.0, turned=0.0)
    a, b = (config.draw(jax.random.key(1), which, graph, n_atom) for which in (labels, without))
    np.testing.assert_array_equal(a, b)
