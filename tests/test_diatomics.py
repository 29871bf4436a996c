"""Two atoms alone: the constants are those of the textbooks, and the loss knows a Morse curve."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from known_surfaces import as_potential

import jphys
from jphys import ops
from jphys.derivatives import energy_and_forces
from jphys.diatomics import diatomic_loss, diatomics_of, draw_diatomics, morse_pull, two_atom_graph
from jphys.graph import validate

NEWTON_PER_METRE = 16.0218  # of 1 eV/Å²
ELEMENTS = {1, 6, 7, 8, 9}


@pytest.mark.parametrize(
    ("pair", "stiffness"), [("HH", 575), ("HF", 966), ("NN", 2295), ("CO", 1902), ("OO", 1177), ("FF", 470)]
)
def test_force_constants_are_those_of_the_textbooks(pair, stiffness):
    curves = diatomics_of(ELEMENTS)
    wanted = sorted("XH____CNOF".index(symbol) for symbol in pair)
    (row,) = np.flatnonzero((np.sort(curves.species) == wanted).all(axis=1))
    found = 2 * curves.depth[row] * curves.width[row] ** 2 * NEWTON_PER_METRE
    assert found == pytest.approx(stiffness, rel=2e-3)


def test_every_pair_of_the_elements_that_are_known():
    assert len(diatomics_of(ELEMENTS).length) == 15
    assert diatomics_of({1, 8, 14}).species.tolist() == [[1, 1], [1, 8], [8, 8]]
    assert len(diatomics_of({14}).length) == 0


def morse(params, graph):
    """The curves themselves as a surface."""
    curves = diatomics_of(ELEMENTS)
    ends = jnp.sort(
        jnp.stack(
            [ops.at_senders(graph.nodes.species, graph), ops.at_receivers(graph.nodes.species, graph)], 1
        )
    )
    row = jnp.argmax((ends[:, None] == curves.species).all(axis=-1), axis=1)
    length, depth, width = (jnp.asarray(column)[row] for column in curves[1:])
    decay = 1.0 - jnp.exp(-width * (ops.edge_distances(graph) - length))
    return params * ops.sum_over_graphs(ops.sum_at_receivers(0.5 * depth * decay**2, graph), graph)


def test_graphs_of_two_atoms_are_graphs():
    graph = two_atom_graph(jnp.array([[1, 8], [7, 7]]), jnp.array([1.0, 2.0]))
    validate(jax.tree.map(np.asarray, graph))
    made = jphys.make_graph([7, 7], [[0, 0, 0], [2.0, 0, 0]], bonds=[(0, 1, 1)])
    last = jphys.graph.unbatch(jax.tree.map(np.asarray, graph))[1]
    for ours, theirs in zip(jax.tree.leaves(last), jax.tree.leaves(made), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_pull_is_the_slope_of_the_curve():
    curves = diatomics_of(ELEMENTS)
    distances = jnp.asarray(1.3 * curves.length)
    slope = jax.jit(jax.grad(lambda d: morse(1.0, two_atom_graph(curves.species, d)).sum()))(distances)
    pull = jax.jit(morse_pull)
    np.testing.assert_allclose(slope, pull(distances, *curves[1:]), rtol=1e-4)
    np.testing.assert_allclose(pull(curves.length, *curves[1:]), 0.0, atol=1e-6)


def test_the_loss_is_zero_on_the_curves_alone():
    index, key = np.arange(200), jax.random.key(0)

    @jax.jit
    def loss(strength, index):
        drawn = draw_diatomics(as_potential(morse), index, key)
        assert drawn is not None
        return diatomic_loss(energy_and_forces(morse)(strength, drawn.graph)[1], drawn)

    right, flat, stiff = (np.asarray(loss(strength, index)) for strength in (1.0, 0.0, 2.0))
    assert float(right.max()) < 1e-6
    assert 0.1 < float(flat.mean()) < 0.6 and 0.1 < float(stiff.mean()) < 0.6
    np.testing.assert_array_equal(flat, jax.jit(lambda index: loss(0.0, index))(index))
    np.testing.assert_array_equal(flat[7:9], loss(0.0, index[7:9]))


def test_pairs_behind_a_padded_batch_feel_the_same_forces():
    """As the training step joins them: the padding then lies in the middle."""
    potential = jphys.make_potential(jphys.TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6))
    water = jphys.make_graph([8, 1, 1], [[0, 0, 0.1], [0, 0.8, -0.5], [0, -0.8, -0.5]])
    padded = jphys.graph.pad(water, 6, 10, 2)
    params = jax.jit(potential.init)(jax.random.key(0), water)
    pairs = two_atom_graph(jnp.array([[1, 8], [7, 7]]), jnp.array([1.0, 1.4]))
    compute = jax.jit(energy_and_forces(potential))
    apart = [compute(params, graph) for graph in (padded, pairs)]

    @jax.jit
    def joined(params):
        return energy_and_forces(potential)(params, jphys.graph.batch([padded, pairs], xp=jnp))

    for together, *parts in zip(joined(params), *apart):
        np.testing.assert_allclose(together, np.concatenate(parts), atol=1e-5)
    assert np.abs(apart[1][1]).max() > 0.1
