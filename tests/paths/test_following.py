"""Saddle points of known surfaces, and the curvatures there."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from known_surfaces import WELLS, at, muller_brown

from jphys import ops
from jphys.evaluation import energies
from jphys.graph import from_ase, make_graph, with_positions
from jphys.paths import saddles
from jphys.paths.following import updated

F32 = functools.partial(np.array, dtype=np.float32)
PASSES = [[-0.822, 0.624, 0.0], [0.212, 0.293, 0.0]]


def test_it_finds_the_passes_of_muller_and_brown():
    """From 0.1 Å beside them; the energies are those of the paper."""
    starts = [at((-0.75, 0.70)), at((0.25, 0.22))]
    found = saddles(muller_brown, jnp.float32(1.0), starts, progress=True)
    assert found.converged.all() and (found.n_negative == 1).all() and (found.n_steps < 20).all()
    np.testing.assert_allclose(found.energy, [-0.40665, -0.72249], atol=2e-5)
    np.testing.assert_allclose([graph.nodes.positions[0] for graph in found.graphs], PASSES, atol=2e-3)
    for graph, values, way in zip(found.graphs, found.curvatures, found.directions, strict=True):
        exact = jax.hessian(lambda p, g=graph: muller_brown(jnp.float32(1.0), with_positions(g, p))[0])
        matrix = np.reshape(exact(jnp.asarray(graph.nodes.positions)), (3, 3))
        np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), atol=1e-3)
        np.testing.assert_allclose(matrix @ way[0], values[0] * way[0], atol=1e-3)


def test_a_direction_leads_uphill_from_a_minimum():
    """From beside a well, where all curvatures are positive, along the way that is given."""
    start = at((-0.62, 1.30))
    found = saddles(muller_brown, jnp.float32(1.0), [start], directions=[np.array([[0.1, -1.0, 0.0]])])
    assert found.converged.all() and found.n_negative[0] == 1
    np.testing.assert_allclose(found.graphs[0].nodes.positions, PASSES[:1], atol=2e-3)


def test_what_is_fixed_stays_and_is_not_counted():
    start = at(PASSES[0][:2], WELLS[2])
    found = saddles(muller_brown, jnp.float32(1.0), [start], fixed=[np.array([False, True])])
    assert found.converged.all() and len(found.curvatures[0]) == 3 and not found.directions[0][1].any()
    np.testing.assert_array_equal(found.graphs[0].nodes.positions[1], start.nodes.positions[1])


def test_a_minimum_is_no_saddle_and_nowhere_is_said():
    lost = with_positions(at(WELLS[0]), np.full((1, 3), np.nan, np.float32))
    found = saddles(muller_brown, jnp.float32(1.0), [at(WELLS[0]), lost], max_steps=0)
    assert found.status.tolist() == ["max_steps", "nonfinite"]
    assert found.n_negative.tolist() == [0, 0] and np.isnan(found.curvatures[1]).all()
    assert len(saddles(muller_brown, jnp.float32(1.0), []).graphs) == 0


def test_what_cannot_move_and_molecules_that_are_nowhere(fresh):
    held = saddles(muller_brown, jnp.float32(1.0), [at(PASSES[0][:2])], fixed=[np.array([True])])
    assert held.converged.all() and held.n_negative.tolist() == [0] and not held.directions[0].any()
    lost = with_positions(from_ase(molecule("H2O")), np.full((3, 3), np.nan, np.float32))
    found = saddles(fresh[0], fresh[1], [lost, from_ase(molecule("H2O"))], max_steps=1)
    assert found.status.tolist() == ["nonfinite", "max_steps"]
    assert [len(values) for values in found.curvatures] == [1, 3]
    with pytest.raises(ValueError, match=r"directions must move what may move, .* for graph 1"):
        saddles(fresh[0], fresh[1], found.graphs[1:] * 2, directions=[None, np.ones((3, 3))])


def test_crystals_may_move_as_a_whole_for_nothing():
    """A chain of two atoms per cell on springs: three curvatures, without translations."""

    def springs(params, graph):
        return params * ops.sum_over_graphs(
            ops.sum_at_receivers(
                jnp.where(graph.edges.mask, 0.25 * (ops.edge_distances(graph) - 1.5) ** 2, 0.0), graph
            ),
            graph,
        )

    chain = make_graph([1, 1], F32([[0, 0, 0], [1.5, 0, 0]]), cell=np.diag([3.0, 9.0, 9.0]), cutoff=2.0)
    (values,) = saddles(springs, jnp.float32(2.0), [chain], max_steps=0).curvatures
    np.testing.assert_allclose(values, [0.0, 0.0, 8.0], atol=1e-4)


@pytest.mark.usefixtures("x64")
def test_in_double_precision_forces_vanish():
    start = at((-0.75, 0.70))
    exact = start._replace(
        nodes=start.nodes._replace(positions=np.asarray(start.nodes.positions, np.float64))
    )
    found = saddles(muller_brown, jnp.float64(1.0), [exact], fmax=1e-9)
    assert found.converged.all() and found.graphs[0].nodes.positions.dtype == np.float64


@pytest.mark.usefixtures("x64")
def test_the_update_takes_what_was_measured(rng):
    """B·s = y after it, symmetric; on a quadratic surface of any signature it is right after enough steps."""
    a = rng.normal(size=(5, 5))
    true, b = a + a.T, np.eye(5)
    for _ in range(60):
        s = rng.normal(size=5)
        b = updated(jnp.asarray(b), s, true @ s)
        np.testing.assert_allclose(b @ s, true @ s, atol=1e-9)
        np.testing.assert_allclose(b, b.T, atol=1e-9)
    assert np.linalg.eigvalsh(true).min() < 0
    np.testing.assert_allclose(b, true, atol=1e-3)
    np.testing.assert_array_equal(updated(jnp.asarray(b), np.zeros(5), np.ones(5)), b)
    np.testing.assert_array_equal(updated(jnp.asarray(b), np.ones(5), np.full(5, np.nan)), b)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_step": 0.0}, "max_step must be positive and finite, got 0.0"),
        ({"directions": []}, "directions must have one entry per graph, 1, got 0"),
        ({"directions": [np.ones((2, 3))]}, r"directions must be None or \(1, 3\), .* got \(2, 3\)"),
        ({"directions": [np.zeros((1, 3))]}, r"finite and not 0"),
        ({"fmax": 0.0}, "fmax must be positive"),
    ],
)
def test_refusals(wrong, message):
    with pytest.raises(ValueError, match=message):
        saddles(muller_brown, jnp.float32(1.0), [at(WELLS[0])], **wrong)


def test_ammonia_turns_over_through_its_plane(pretrained, at_rest):
    """From a flat guess: the planar molecule, with one negative curvature."""
    start = from_ase(molecule("NH3"))
    flat = np.array(start.nodes.positions)
    flat[:, 2] = 0.0
    found = saddles(pretrained[0], pretrained[1], [with_positions(start, flat)])
    assert found.converged.all() and found.n_negative[0] == 1
    place = found.graphs[0].nodes.positions
    assert np.linalg.svd(place - place.mean(axis=0), compute_uv=False)[2] < 1e-3
    assert 0.05 < found.energy[0] - energies(pretrained[0], pretrained[1], at_rest("NH3"))[0] < 0.6
