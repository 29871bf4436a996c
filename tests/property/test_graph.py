"""Batching, padding and unbatching are inverse to each other, for any molecules and crystals."""

import jax
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from jphys import graph as graphs


@st.composite
def single_graphs(draw):
    """A molecule or a crystal of up to five atoms, bonded at random."""
    n_atoms = draw(st.integers(0, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    species, positions = rng.integers(1, 95, n_atoms), rng.uniform(-4, 4, (n_atoms, 3))
    if draw(st.booleans()):
        cell = np.eye(3) * 3 + rng.uniform(-0.7, 0.7, (3, 3))
        return graphs.make_graph(species, positions, cell=cell, cutoff=draw(st.floats(0.5, 4.0)))
    pairs = [(i, j) for i in range(n_atoms) for j in range(i)]
    bonds = [(*pair, int(rng.integers(1, 4))) for pair in pairs if rng.random() < 0.5]
    return graphs.make_graph(species, positions, bonds=bonds)


many_graphs = st.lists(single_graphs(), min_size=1, max_size=5)


def assert_same(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


@given(many_graphs, st.tuples(st.integers(1, 4), st.integers(0, 7), st.integers(1, 3)))
def test_unbatch_of_a_padded_batch_gives_the_graphs_back(parts, room):
    batch = graphs.batch(parts)
    graphs.validate(batch)
    sizes = len(batch.nodes.species), len(batch.senders), len(batch.n_node)
    padded = graphs.pad(batch, *(size + extra for size, extra in zip(sizes, room)))
    graphs.validate(padded)
    for whole in (batch, padded):
        found = graphs.unbatch(whole)
        assert len(found) == len(parts)
        for ours, theirs in zip(found, parts):
            assert_same(ours, theirs)


@given(many_graphs, st.tuples(st.integers(1, 4), st.integers(0, 7), st.integers(1, 3)))
def test_padding_adds_exactly_what_it_masks(parts, room):
    batch = graphs.batch(parts)
    sizes = len(batch.nodes.species), len(batch.senders), len(batch.n_node)
    padded = graphs.pad(batch, *(size + extra for size, extra in zip(sizes, room)))
    masks = padded.nodes.mask, padded.edges.mask, padded.globals.mask
    assert tuple(mask.sum() for mask in masks) == sizes
    assert tuple((~mask).sum() for mask in masks) == room
    assert not padded.nodes.species[~padded.nodes.mask].any()
    assert not padded.edges.bond_type[~padded.edges.mask].any()


@given(many_graphs, many_graphs)
def test_batching_batches_is_batching_their_parts(first, second):
    assert_same(graphs.batch([graphs.batch(first), graphs.batch(second)]), graphs.batch(first + second))


@given(single_graphs(), st.integers(0, 2**32 - 1))
def test_renumbering_atoms_renumbers_edges(graph, seed):
    """The edge list of shuffled atoms is the shuffled edge list: nothing depends on the order of atoms."""
    if graph.globals.cell.any() or not graph.n_node[0]:
        return
    order = np.random.default_rng(seed).permutation(int(graph.n_node[0]))
    shuffled = graphs.make_graph(graph.nodes.species[order], graph.nodes.positions[order], cutoff=3.0)
    plain = graphs.make_graph(graph.nodes.species, graph.nodes.positions, cutoff=3.0)
    renamed = {(order[i], order[j]) for i, j in zip(shuffled.receivers, shuffled.senders)}
    assert renamed == set(zip(plain.receivers, plain.senders))
