"""Structures at rest and their derivatives: analytic ones, differences of relaxations, and refusals."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from known_surfaces import as_potential, per_graph

import jphys
from jphys.graph import from_ase, make_graph, pad, with_positions
from jphys.newton import solve_symmetric
from jphys.ops import edge_distances

pytestmark = pytest.mark.usefixtures("x64")


def bonds(params, graph):
    """½k(r − r₀)² of every bond; atoms without one feel nothing."""
    lengths = edge_distances(graph)
    return per_graph(0.25 * params["k"] * (lengths - params["r0"]) ** 2 * (graph.edges.bond_type > 0), graph)


def morse(params, graph):
    """Morse pairs within 6 Å of edges that reach farther, switched off smoothly."""
    lengths = edge_distances(graph)
    inside = jnp.clip(1 - (lengths / (2.2 * params["r0"])) ** 2, 0.0, None) ** 4
    ones = (1 - jnp.exp(-params["a"] * (lengths / params["r0"] - 1))) ** 2 - 1
    return per_graph(0.5 * params["depth"] * ones * inside * (lengths > 0), graph)


MORSE = {"a": 4.0, "r0": 2.5, "depth": 0.4}
SPRING = {"k": 20.0, "r0": 1.3}


def spheres(cutoff):
    """`morse` as a Potential, whose bonds are 3.9 Å long."""
    wide = MORSE | {"r0": 3.9 / 1.4}
    return dataclasses.replace(
        as_potential(lambda params, graph: morse(wide | {"depth": params}, graph)), cutoff=cutoff
    )


def in_double(graph):
    """The structure in float64."""
    return jax.tree.map(lambda leaf: leaf.astype(float) if leaf.dtype == np.float32 else leaf, graph)


def diatomic(length=1.2):
    return in_double(make_graph([6, 8], [[0.1, 0.2, 0.3], [0.1, 0.2, 0.3 + length]], bonds=[(0, 1, 2)]))


def distance(positions, i=0, j=1):
    return jnp.linalg.norm(positions[i] - positions[j])


def cluster(rattle=0.0):
    """Six atoms at the corners of an octahedron, at a minimum of `morse` or near it."""
    corners = np.concatenate([np.eye(3), -np.eye(3)]) * 2.5 / 2**0.5
    corners += np.random.default_rng(3).normal(0, rattle, corners.shape)
    return in_double(make_graph([18] * 6, corners))


def crystal(a=3.6, basis=None):
    atoms = bulk("Cu", "fcc", a=a) if basis is None else basis
    return in_double(from_ase(atoms, cutoff=7.0))


def test_a_bond_has_its_length_and_its_derivative_by_every_transformation():
    """r = r₀ of a spring: dr/dr₀ = 1, dr/dk = 0, d²r/dr₀² = 0; the middle stays."""
    graph = diatomic()

    def length(r0):
        return distance(jphys.stationary(bonds, SPRING | {"r0": r0}, graph).graph.nodes.positions)

    rest, traces, counts = jphys.stationary(bonds, SPRING, graph), [], []

    def counted(params, graph):
        traces.append(graph)
        return bonds(params, graph)

    for fmax, max_steps in ((1e-3, 20), (1e-5, 30)):  # other limits compile nothing
        jphys.stationary(counted, SPRING, graph, fmax=fmax, max_steps=max_steps)
        counts.append(len(traces))
    assert counts[0] == counts[1] > 0
    np.testing.assert_allclose(rest.graph.nodes.positions.mean(0), graph.nodes.positions.mean(0), atol=1e-12)
    assert float(rest.fmax) < 1e-3 and 1 <= int(rest.n_steps) < 10
    assert float(length(1.3)) == pytest.approx(1.3, abs=1e-4)
    for derivative in (jax.grad(length), jax.jit(jax.grad(length)), jax.jacfwd(length)):
        assert float(derivative(1.3)) == pytest.approx(1.0, abs=1e-6)
    many = jax.vmap(jax.value_and_grad(length))(jnp.array([1.2, 1.3, 1.4]))
    np.testing.assert_allclose(many, [[1.2, 1.3, 1.4], [1, 1, 1]], atol=1e-4)
    assert float(jax.grad(jax.grad(length))(1.3)) == pytest.approx(0.0, abs=1e-4)
    slope = jax.grad(lambda p: distance(jphys.stationary(bonds, p, graph).graph.nodes.positions))(SPRING)
    assert float(slope["k"]) == pytest.approx(0.0, abs=1e-4)


def test_derivatives_are_those_of_whole_relaxations():
    """Fifteen distances of a cluster by every parameter, against central differences of FIRE to 1e-7 eV/Å."""
    graph, pairs = cluster(rattle=0.1), np.triu_indices(6, 1)

    def distances(positions):
        return jnp.linalg.norm(positions[pairs[0]] - positions[pairs[1]], axis=1)

    def at_rest(params):
        return distances(jphys.stationary(morse, params, graph, fmax=1e-8).graph.nodes.positions)

    def relaxed(params):
        found = jphys.relax(morse, params, [graph], fmax=1e-7, max_steps=3000)
        assert found.converged.all()
        return distances(found.graphs[0].nodes.positions)

    np.testing.assert_allclose(at_rest(MORSE), relaxed(MORSE), atol=1e-6)
    jacobian = jax.jacrev(at_rest)(MORSE)
    for name, value in MORSE.items():
        up, down = (relaxed(MORSE | {name: value * factor}) for factor in (1.001, 0.999))
        np.testing.assert_allclose(jacobian[name], (up - down) / (0.002 * value), atol=1e-4)
    assert np.abs(jacobian["a"]).max() > 0.01


def test_a_lattice_grows_with_its_bonds():
    """A length is all that the cell can know: dL/dr₀ = L/r₀, and no stress is left."""
    graph = crystal(a=3.5)

    def cell(r0):
        return jphys.stationary(
            morse, MORSE | {"r0": r0}, graph, relax_cell=True, fmax=1e-7
        ).graph.globals.cell[0]

    found, slope = jax.jvp(cell, (2.5,), (1.0,))
    np.testing.assert_allclose(slope, found / 2.5, rtol=1e-5, atol=1e-7)
    rest = jphys.stationary(morse, MORSE, graph, relax_cell=True, fmax=1e-7).graph
    _, _, stress = jphys.energy_forces_stress(morse)(MORSE, rest)
    assert np.abs(stress).max() < 1e-6
    slow = jphys.relax(morse, MORSE, [graph], relax_cell=True, fmax=1e-5, max_steps=2000).graphs[0]
    assert abs(np.linalg.det(slow.globals.cell[0])) == pytest.approx(np.linalg.det(found), rel=1e-4)


def test_atoms_follow_the_cell_that_is_given_and_those_that_are_held():
    """Three atoms in a row on springs: the middle one moves half as far as an end that is held."""
    atoms = Atoms("H3", [[0, 0, 0], [1.4, 0, 0], [2.9, 0, 0]])
    graph = in_double(from_ase(atoms, bonds=[(0, 1, 1), (1, 2, 1)]))
    held = [True, False, True]

    def middle(end):
        places = jnp.asarray(graph.nodes.positions).at[2, 0].set(end)
        rest = jphys.stationary(bonds, SPRING | {"r0": 1.5}, with_positions(graph, places), fixed=held)
        return rest.graph.nodes.positions[1, 0]

    assert float(middle(2.9)) == pytest.approx(1.45, abs=1e-4)
    assert float(jax.grad(middle)(2.9)) == pytest.approx(0.5, abs=1e-5)
    chain = Atoms("Cu2", [[0, 0, 0], [0.3, 0.1, 2.4]], cell=[6.0, 6.0, 5.0], pbc=True)
    periodic = crystal(basis=chain)

    def gap(length):
        cell = jnp.asarray(periodic.globals.cell).at[0, 2, 2].set(length)
        moved = periodic._replace(globals=periodic.globals._replace(cell=cell))
        places = jphys.stationary(morse, MORSE, moved, fmax=1e-8).graph.nodes.positions
        return places[1, 2] - places[0, 2]

    assert float(gap(5.0)) == pytest.approx(2.5, abs=1e-4)  # half-way between two images
    assert float(jax.grad(gap)(5.0)) == pytest.approx(0.5, abs=1e-5)


def test_padding_and_a_start_elsewhere_change_nothing():
    graph = cluster(rattle=0.1)
    inner = jphys.stationary(morse, MORSE, graph, fmax=1e-8).graph.nodes.positions
    padded = pad(graph, 9, 60, 3)

    def spread(params, graph):
        places = jphys.stationary(morse, params, graph, fmax=1e-8).graph.nodes.positions[:6]
        return jnp.sum((places - places.mean(0)) ** 2)

    places = jphys.stationary(morse, MORSE, padded, fmax=1e-8).graph.nodes.positions
    np.testing.assert_allclose(places[:6], inner, atol=1e-7)
    np.testing.assert_array_equal(places[6:], padded.nodes.positions[6:])
    slopes = [jax.grad(spread)(MORSE, one)["r0"] for one in (graph, padded, cluster(rattle=0.02))]
    np.testing.assert_allclose(slopes, slopes[0], rtol=1e-6)

    def by_start(places):
        return spread(MORSE, with_positions(graph, places))

    np.testing.assert_allclose(jax.grad(by_start)(jnp.asarray(graph.nodes.positions)), 0.0, atol=1e-9)


def test_from_far_away_it_goes_downhill():
    """0.4 Å of noise on every coordinate: many directions of negative curvature on the way."""
    graph = cluster(rattle=0.4)
    rest = jphys.stationary(morse, MORSE, graph, fmax=1e-6, max_steps=300)
    assert float(rest.fmax) < 1e-6
    curvature = np.linalg.eigvalsh(np.reshape(jphys.hessian(morse)(MORSE, rest.graph), (18, 18)))
    assert curvature[0] > -1e-6 and (curvature > 1e-3).sum() == 12


def test_where_there_is_no_rest_there_is_no_answer():
    """A repulsive pair, too few steps, a surface that is not defined."""
    graph = diatomic()

    def places(params, **settings):
        return jphys.stationary(morse, params, graph, **settings).graph.nodes.positions

    assert np.isnan(places(MORSE | {"depth": -0.4}, max_steps=50)).all()
    assert np.isnan(places(MORSE, max_steps=1)).all()
    assert np.isnan(places(MORSE | {"a": np.nan})).all()
    assert np.isfinite(places(MORSE | {"r0": 1.3})).all()


def test_a_motion_that_costs_nothing_has_no_derivative():
    """Of x² + 0·y², driven in both."""
    product, right = (lambda v: v * jnp.array([2.0, 0.0])), jnp.array([1.0, 0.0])
    np.testing.assert_allclose(solve_symmetric(product, right), [0.5, 0.0])
    assert np.isnan(solve_symmetric(product, jnp.array([1.0, 1.0]))).all()


def test_edges_of_a_crystal_reach_farther_than_it_moves(fresh):
    """Found anew beyond the cutoff, which leaves out the fourth shell of copper."""
    potential, params = fresh
    atoms = bulk("Cu", cubic=True)
    graph = from_ase(atoms, cutoff=potential.cutoff)
    found = jphys.stationary(potential, params, graph, fmax=10.0)
    assert len(found.graph.senders) > len(graph.senders)
    assert len(found.graph.senders) == len(from_ase(atoms, cutoff=potential.cutoff + 0.5).senders)
    far = jphys.stationary(
        spheres(potential.cutoff), 1.0, from_ase(bulk("Cu", a=3.4), cutoff=potential.cutoff), relax_cell=True
    )
    assert np.isnan(far.graph.globals.cell).all() and float(far.fmax) < 1e-3  # at rest, 15 % longer
    with jax.enable_x64(False):
        single = jphys.stationary(potential, params, graph, fmax=10.0)
    assert (
        single.graph.nodes.positions.dtype == jnp.float32 and np.isfinite(single.graph.nodes.positions).all()
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"fmax": 0.0}, "fmax must be positive, got 0.0"),
        ({"max_steps": 0}, "max_steps must be at least 1, got 0"),
        ({"fixed": [True]}, r"fixed must be \(2,\) bool, got \(1,\) bool"),
        ({"fixed": [0, 1]}, r"fixed must be \(2,\) bool, got \(2,\) int64"),
        ({"relax_cell": True}, "relax_cell must be false for a molecule"),
    ],
)
def test_what_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        jphys.stationary(bonds, SPRING, diatomic(), **change)


def test_several_structures_and_unknown_elements_are_refused(pretrained):
    two = jphys.graph.batch([diatomic(), diatomic()])
    with pytest.raises(ValueError, match="graph must hold one structure of at least one atom, got 2"):
        jphys.stationary(bonds, SPRING, two)
    with pytest.raises(ValueError, match="must be"):
        potential, params = pretrained
        jphys.stationary(potential, params, from_ase(Atoms("Ar2", [[0, 0, 0], [0, 0, 4.0]])))


@pytest.mark.slow
def test_bonds_of_the_pretrained_model_by_its_parameters(pretrained):
    """A random direction in all parameters: reverse and forward, against differences of rests."""
    potential, params = pretrained
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, float), params)
    graph = in_double(from_ase(molecule("CH3OH")))

    def length(params):
        return distance(jphys.stationary(potential, params, graph, fmax=1e-7).graph.nodes.positions)

    keys = jax.random.split(jax.random.key(0), len(jax.tree.leaves(params)))
    keys = jax.tree.unflatten(jax.tree.structure(params), list(keys))
    direction = jax.tree.map(
        lambda key, leaf: jnp.std(leaf) * jax.random.normal(key, leaf.shape), keys, params
    )
    _, forward = jax.jvp(length, (params,), (direction,))
    slope = jax.grad(length)(params)
    reverse = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(slope), jax.tree.leaves(direction)))
    up, down = (
        length(jax.tree.map(lambda leaf, move, h=h: leaf + h * move, params, direction))
        for h in (1e-4, -1e-4)
    )
    assert abs(float(forward)) > 1e-3
    assert float(forward) == pytest.approx(float(reverse), rel=1e-6)
    assert float(forward) == pytest.approx(float(up - down) / 2e-4, rel=1e-3)
