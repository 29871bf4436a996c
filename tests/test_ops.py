"""Array primitives against loops in numpy, and their gradients at the zero vector."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys import graph as graphs
from jphys import ops, packing


@pytest.fixture
def batch(rng):
    """Two molecules and a triclinic crystal, padded."""
    cell = [[3.0, 0.0, 0.0], [1.0, 2.8, 0.0], [0.3, -0.5, 3.3]]
    parts = [
        graphs.make_graph([8, 1, 1], rng.normal(size=(3, 3))),
        graphs.make_graph([6], np.zeros((1, 3))),
        graphs.make_graph([13, 29], rng.uniform(-3, 3, size=(2, 3)), cell=cell, cutoff=3.5),
    ]
    return graphs.pad(graphs.batch(parts), 9, 120, 5)


def test_sum_at_receivers(batch, rng):
    values = rng.normal(size=(len(batch.senders), 2)).astype(np.float32)
    expected = np.zeros((9, 2))
    for value, receiver in zip(values, batch.receivers):
        expected[receiver] += value
    np.testing.assert_allclose(ops.sum_at_receivers(values, batch), expected, rtol=1e-5, atol=1e-5)


def test_values_at_the_ends_of_edges(batch, rng):
    values = rng.normal(size=9).astype(np.float32)
    np.testing.assert_array_equal(ops.at_senders(values, batch), [values[i] for i in batch.senders])
    np.testing.assert_array_equal(ops.at_receivers(values, batch), [values[i] for i in batch.receivers])


@pytest.mark.parametrize("shape", [(), (4,), (2, 3)])
def test_sum_over_graphs(batch, rng, shape):
    values = rng.normal(size=(9, *shape)).astype(np.float32)
    owner = [0, 0, 0, 1, 2, 2, 3, 3, 3]  # the fifth graph is empty
    np.testing.assert_array_equal(ops.graph_of_node(batch), owner)
    expected = np.zeros((5, *shape))
    for value, index in zip(values, owner):
        expected[index] += value
    np.testing.assert_allclose(ops.sum_over_graphs(values, batch), expected, rtol=1e-5, atol=1e-6)


def test_sum_over_the_only_graph(rng):
    single, values = graphs.make_graph([8, 1], rng.normal(size=(2, 3))), np.array([1.5, -4.0])
    np.testing.assert_allclose(ops.sum_over_graphs(values, single), [-2.5])


def test_graph_values_at_nodes_and_edges(batch):
    np.testing.assert_array_equal(
        ops.at_nodes(np.array([5.0, 6.0, 7.0, 8.0, 9.0]), batch), [5, 5, 5, 6, 7, 7, 8, 8, 8]
    )
    owner = np.array([0, 0, 0, 1, 2, 2, 3, 3, 3])
    np.testing.assert_array_equal(ops.graph_of_edge(batch), owner[batch.senders])


def test_edge_vectors(batch):
    vectors = np.asarray(ops.edge_vectors(batch))
    owner = [0, 0, 0, 1, 2, 2, 3, 3, 3]
    for edge, (i, j) in enumerate(zip(batch.receivers, batch.senders)):
        offset = batch.edges.shifts[edge] @ batch.globals.cell[owner[i]]
        expected = batch.nodes.positions[j] + offset - batch.nodes.positions[i]
        np.testing.assert_allclose(vectors[edge], expected, atol=1e-5)
    lengths = np.asarray(ops.edge_distances(batch))
    np.testing.assert_allclose(lengths, np.linalg.norm(vectors, axis=1), rtol=1e-6)
    assert np.all(lengths[~batch.edges.mask] == 0) and np.all(lengths[batch.edges.mask] > 0.01)


def test_safe_norm_at_zero():
    """Value, first and second derivative at 0 are 0; a single `where` gives NaN."""
    zero = jnp.zeros(3)
    assert ops.safe_norm(zero) == 0
    np.testing.assert_array_equal(jax.grad(ops.safe_norm)(zero), 0)
    np.testing.assert_array_equal(jax.hessian(ops.safe_norm)(zero), 0)


def test_safe_norm_elsewhere(rng):
    vector = rng.normal(size=3)
    np.testing.assert_allclose(ops.safe_norm(vector), np.linalg.norm(vector), rtol=1e-6)
    gradient = jax.grad(ops.safe_norm)(jnp.asarray(vector))
    np.testing.assert_allclose(gradient, vector / np.linalg.norm(vector), rtol=1e-5)


def test_safe_norm_of_nan_is_nan():
    """Atoms lost to NaN must not look like atoms at distance 0."""
    assert np.isnan(ops.safe_norm(jnp.array([0.0, jnp.nan, 1.0])))


def test_padding_edges_have_finite_gradients(batch):
    def total(positions):
        return jnp.sum(ops.edge_distances(graphs.with_positions(batch, positions)))

    gradient = np.asarray(jax.grad(total)(jnp.asarray(batch.nodes.positions)))
    assert np.isfinite(gradient).all() and np.all(gradient[~batch.nodes.mask] == 0)


def test_silu_and_its_derivatives():
    """Against jax.nn.silu up to the third derivative, also forward over reverse and far out."""
    x = jnp.linspace(-8.0, 8.0, 33)
    ours, theirs = ops.silu, jax.nn.silu
    for _ in range(4):
        np.testing.assert_allclose(jax.vmap(ours)(x), jax.vmap(theirs)(x), rtol=1e-4, atol=2e-6)
        ours, theirs = jax.grad(ours), jax.grad(theirs)
    forward = jax.jvp(jax.vmap(jax.grad(ops.silu)), (x,), (jnp.ones_like(x),))[1]
    np.testing.assert_allclose(forward, jax.vmap(jax.grad(jax.grad(jax.nn.silu)))(x), rtol=1e-4, atol=2e-6)
    assert ops.silu(1e4) == 1e4 and ops.silu(-1e4) == 0 and np.isnan(ops.silu(np.nan))
    assert jax.grad(ops.silu)(-1e4) == 0 and jax.grad(ops.silu)(1e4) == 1


def test_edges_may_bring_their_vectors_along(rng):
    """As they are, on whatever is made of the graph; and no atom moves while its vectors stay."""
    parts = [graphs.make_graph([8, 1, 1], rng.normal(size=(3, 3))) for _ in range(2)]
    given = [rng.normal(size=(6, 3)).astype(np.float32) for _ in parts]
    parts = [g._replace(edges=g.edges._replace(vectors=v)) for g, v in zip(parts, given)]
    padded = graphs.pad(graphs.batch(parts), 9, 20, 3)
    np.testing.assert_array_equal(ops.edge_vectors(padded)[:12], np.concatenate(given))
    assert not np.any(ops.edge_distances(padded)[12:])
    for part, vectors in zip(graphs.unbatch(padded), given, strict=True):
        np.testing.assert_array_equal(ops.edge_vectors(part), vectors)
    few = graphs.with_edges(parts[1], np.arange(6) > 3)
    np.testing.assert_array_equal(ops.edge_vectors(few), given[1][4:])
    packed = packing.pack(packing.store(parts), jnp.array([1, -1]), packing.Budget(5, 8)).graph
    np.testing.assert_array_equal(ops.edge_vectors(packed)[:8], np.append(given[1], np.zeros((2, 3)), axis=0))
    with pytest.raises(ValueError, match="edges must be without vectors for atoms to move"):
        graphs.with_positions(padded, padded.nodes.positions)
