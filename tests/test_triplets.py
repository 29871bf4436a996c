"""Triplets found on the device against a search by hand."""

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

from jphys import ops
from jphys.graph import batch, from_ase, make_graph, pad
from jphys.triplets import places_of, triplets

CRYSTALS = {
    "one atom": bulk("Cu"),
    "sheared": ase.Atoms(
        "COH",
        [[0.1, 0.0, 0.2], [1.3, 1.6, 1.4], [2.0, 0.4, 2.5]],
        cell=[[2.9, 0.2, 0], [-0.3, 3.1, 0.4], [0.1, 0.5, 3.2]],
        pbc=True,
    ),
}


def by_hand(graph, chosen):
    """Every pair of chosen edges with one receiver."""
    edges = np.flatnonzero(chosen & graph.edges.mask)
    return {(a, b) for a in edges for b in edges if a < b and graph.receivers[a] == graph.receivers[b]}


@jax.jit
def listed(graph):
    chosen = ops.edge_distances(graph) < 2.6
    return triplets(graph, 96, chosen), chosen


def check(graph):
    found, chosen = jax.tree.map(np.asarray, listed(graph))
    pairs = list(zip(found.first[found.mask].tolist(), found.second[found.mask].tolist()))
    assert len(pairs) == len(set(pairs)) and set(pairs) == by_hand(graph, chosen)
    assert not found.crowded.any() and np.all(np.diff(found.second) >= 0)


def test_of_molecules_and_padding():
    graphs = [from_ase(molecule(name)) for name in ("CH3CH2OH", "H2O", "C6H6")] + [
        make_graph([2], [[0.0, 0, 0]])
    ]
    check(pad(batch(graphs), 32, 300, 6))


@pytest.mark.parametrize("name", CRYSTALS)
def test_images_are_neighbours_of_their_own(name):
    graph = from_ase(CRYSTALS[name], cutoff=3.5)
    check(graph)
    itself = np.asarray(graph.senders) == np.asarray(graph.receivers)
    assert itself.any(), "an atom is a neighbour of itself here"


def test_a_structure_with_too_many_leaves_the_places_of_others():
    crowd = make_graph([6] * 8, np.random.default_rng(0).normal(size=(8, 3)))
    water = from_ase(molecule("H2O"))
    joined = pad(batch([crowd, water, crowd]), 20, 140, 4)
    found = jax.jit(lambda graph: triplets(graph, 2))(joined)
    assert found.crowded.tolist() == [True, False, True, False]
    mine = found.second[found.mask]
    inside = (mine >= 56) & (mine < 62)
    assert int(inside.sum()) == 3, "water has all of its three"
    assert int(found.mask.sum()) <= 2 * 20


def test_places_go_where_they_are_needed_and_then_to_everyone_alike():
    crowd = make_graph([6] * 4, np.eye(4, 3))
    joined = pad(batch([crowd, crowd]), 12, 40, 3)
    first = np.arange(40) < 12
    chosen, real, crowded = places_of(first, joined, 1)  # 12 places
    assert not bool(crowded.any()) and int(real.sum()) == 12 and chosen.tolist() == list(range(12))
    chosen, real, crowded = places_of(first | (np.arange(40) == 20), joined, 1)
    assert crowded.tolist() == [True, False, False] and int(real.sum()) == 5
    assert chosen[:5].tolist() == [0, 1, 2, 3, 20] and not bool(real[5:].any())
