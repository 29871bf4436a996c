"""Every loss against its formula in numpy."""

import jax.numpy as jnp
import numpy as np
import pytest
from small_batches import of_each

from jphys.losses import Evaluation, Point
from jphys.losses.bound import BoundLoss
from jphys.losses.energy import EnergyLoss, ForceLoss, ZeroForceLoss
from jphys.losses.mask import MaskLoss
from jphys.losses.restore import RestoreLoss


def seen(rest, displaced=None, logits=None, uniform=()):
    """What a loss looks at, made by hand."""
    return Evaluation(
        rest=rest,
        displaced=displaced,
        backward=None,
        diatomics=None,
        config=None,
        head=lambda name, graph: logits,
        uniform=lambda: jnp.asarray(uniform),
    )


@pytest.fixture
def forces(both, rng):
    """Random forces, also on padding, where they must not count."""
    return jnp.asarray(rng.normal(size=(len(both[0].nodes.species), 3)), jnp.float32)


def test_energy_and_bound_losses(both):
    graph, labels = both
    energy, other = jnp.array([1.0, 9, 2, 3, 9]), jnp.array([0.5, 0, 4, 3.5, 0])
    at_rest = seen(Point(graph, energy), Point(graph, other))
    found = EnergyLoss(1.0)(at_rest, labels._replace(energy=other), graph)
    np.testing.assert_allclose(found, [0.25, 0, 4, 0.25, 0])
    np.testing.assert_allclose(BoundLoss(1.0)(at_rest, labels, graph), [0.5, 0, 0, 0, 0])


def test_force_losses(both, forces, rng):
    graph, labels = both
    labels = labels._replace(forces=rng.normal(size=forces.shape).astype(np.float32))
    at_rest = seen(Point(graph, jnp.zeros(5), forces))
    for loss, target in ((ForceLoss(1.0), labels.forces), (ZeroForceLoss(1.0), 0.0)):
        squares = ((np.asarray(forces) - target) ** 2).sum(axis=1)
        expected = [squares[nodes].mean() if len(nodes) else 0.0 for nodes in of_each(graph)]
        assert [value > 0 for value in expected] == [True, False, True, True, False]
        np.testing.assert_allclose(loss(at_rest, labels, graph), expected, rtol=1e-5)


def test_mask_loss_is_cross_entropy(both, rng):
    graph, labels = both
    n = len(graph.nodes.species)
    logits, uniform = rng.normal(size=(n, 10)).astype(np.float32), rng.random(n)
    hidden = (uniform < 0.5) & np.asarray(graph.nodes.mask)
    evaluation = seen(Point(graph, jnp.zeros(5)), logits=jnp.asarray(logits), uniform=jnp.asarray(uniform))
    found = MaskLoss(1.0, rate=0.5)(evaluation, labels, graph)
    expected = []
    for nodes in of_each(graph):
        chosen = [i for i in nodes if hidden[i]]
        terms = [np.log(np.exp(logits[i]).sum()) - logits[i, graph.nodes.species[i] - 1] for i in chosen]
        expected.append(np.mean(terms) if terms else 0.0)
    assert sum(value > 0 for value in expected) == 3
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize("size", [0.01, 1.0])
def test_restoring_loss_is_in_the_norm_of_the_prior(both, forces, rng, size):
    """‖F‖² = Fᵀ(H + soft)⁻¹F per mode, without rigid motions; pseudo-Huber of the relative deviation."""
    graph, labels = both
    vectors, curvatures, real = (np.asarray(leaf, np.float64) for leaf in labels.modes)
    prior = rng.normal(size=forces.shape).astype(np.float32)
    expected = []
    for g, nodes in enumerate(of_each(graph)):
        if not len(nodes):
            expected.append(0.0)
            continue
        n = 3 * len(nodes)
        held = vectors[g][:n, real[g] > 0]
        matrix = (vectors[g] * curvatures[g] @ vectors[g].T)[:n, :n] + 0.5 * np.eye(n)

        def norm(values, matrix=matrix, held=held):
            inner = held @ held.T @ np.asarray(values, np.float64).ravel()
            return inner @ np.linalg.solve(matrix, inner) / held.shape[1]

        deviation = size * np.asarray(forces)[nodes]
        x = norm(deviation) / (0.002 + norm(prior[nodes]))
        expected.append(2 * 0.09 * (np.sqrt(1 + x / 0.09) - 1))
    displaced = Point(graph, jnp.zeros(5), size * forces + prior, jnp.asarray(prior))
    found = RestoreLoss(1.0)(seen(Point(graph, jnp.zeros(5)), displaced), labels, graph)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert np.sum(np.asarray(found) > 1e-6) == 3
