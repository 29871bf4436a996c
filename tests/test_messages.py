"""Long edge lists, cut into pieces, against the same lists as a whole: values and two derivatives."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk

import jphys
from jphys import messages
from jphys.graph import from_ase

N_NODE, N_EDGE = 7, 53


@pytest.fixture
def short(monkeypatch):
    """Lists of more than 16 edges are cut into pieces of 8."""
    monkeypatch.setattr(messages, "PIECE", 8)
    monkeypatch.setattr(messages, "PIECE_ON_ACCELERATORS", 8)

    def cut(cutting: bool):
        monkeypatch.setattr(messages, "LONG", 16 if cutting else 10**9)
        jax.clear_caches()  # a potential remembers what it was traced with

    return cut


@pytest.fixture
def edges(x64, rng):
    """Arguments (params, received, sent, rows) and the ends."""
    receivers = np.sort(rng.integers(0, N_NODE, N_EDGE))
    given = (
        {"scale": rng.normal(size=2)},
        rng.normal(size=(N_NODE, 3)),
        (rng.normal(size=(N_NODE, 3)), rng.normal(size=N_NODE)),
        rng.normal(size=(N_EDGE, 3)),
    )
    return jax.tree.map(jnp.asarray, given), (receivers, rng.integers(0, N_NODE, N_EDGE))


def message(params, received, sent, row):
    return (
        jnp.sin(params["scale"][0] * received * sent[0] + row) * (sent[1] ** 2 + params["scale"][1])[:, None]
    )


def scalars_and_vectors(*given):
    """A pytree of messages: (e, 3) and (e, 3, 2)."""
    scalars = message(*given)
    return {"scalars": scalars, "vectors": (jnp.cos(scalars)[:, :, None] * jnp.array([1.0, -2.0]),)}


@pytest.mark.parametrize("cutting", [False, True])
def test_sums_and_values_are_those_of_a_loop(short, edges, cutting):
    given: Any = edges[0]
    (params, received, sent, rows), (receivers, senders) = given, edges[1]
    short(cutting)
    assert messages.is_long(edges[1]) == cutting
    expected = np.array(
        [
            message(params, received[i], jax.tree.map(lambda x, j=j: x[j][None], sent), row)[0]
            for i, j, row in zip(receivers, senders, rows)
        ]
    )
    np.testing.assert_allclose(messages.values_on_edges(message, *given, ends=edges[1]), expected, rtol=1e-10)
    sums = np.zeros((N_NODE, 3))
    np.add.at(sums, receivers, expected)
    np.testing.assert_allclose(
        messages.sum_of_messages(message, *given, ends=edges[1], n_node=N_NODE), sums, rtol=1e-10
    )


@pytest.mark.parametrize("cutting", [False, True])
def test_pytrees_are_summed_leaf_by_leaf(short, edges, cutting):
    short(cutting)
    given, ends = edges
    sums: Any = messages.sum_of_messages(scalars_and_vectors, *given, ends=ends, n_node=N_NODE)
    values: Any = messages.values_on_edges(scalars_and_vectors, *given, ends=ends)
    short(False)
    whole: Any = messages.values_on_edges(message, *given, ends=ends)
    np.testing.assert_allclose(values["scalars"], whole, rtol=1e-10)
    np.testing.assert_allclose(values["vectors"][0][..., 1], -2.0 * np.cos(whole), rtol=1e-10)
    for found, rows in ((sums["scalars"], values["scalars"]), (sums["vectors"][0], values["vectors"][0])):
        np.testing.assert_allclose(found, jax.ops.segment_sum(rows, ends[0], N_NODE), rtol=1e-10)


@pytest.mark.parametrize("kind", ["sums", "values", "sums of pytrees"])
def test_derivatives_do_not_depend_on_the_cut(short, edges, kind):
    given = edges[0]

    def total(given: Any):
        if kind == "values":
            return jnp.sum(jnp.tanh(messages.values_on_edges(message, *given, ends=edges[1])))
        function = message if kind == "sums" else scalars_and_vectors
        sums = messages.sum_of_messages(function, *given, ends=edges[1], n_node=N_NODE)
        return sum(jnp.sum(jnp.tanh(leaf)) for leaf in jax.tree.leaves(sums))

    def steepness(given):
        return sum(jnp.sum(slope**2) for slope in jax.tree.leaves(jax.grad(total)(given)))

    def forward_over_reverse(given):
        return jax.jvp(jax.grad(total), (given,), (given,))[1]

    found = {}
    for cutting in (False, True):
        short(cutting)
        found[cutting] = [f(given) for f in (jax.grad(total), jax.grad(steepness), forward_over_reverse)]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10), *found.values())


@pytest.mark.slow
def test_a_potential_does_not_depend_on_the_cut(x64, short):
    """Energy, forces, curvature, and the slope of a force loss by the parameters."""
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.1, seed=0)
    graph = from_ase(atoms, cutoff=5.0)
    config = jphys.TransformerConfig(
        channels=8, blocks=2, heads=2, n_basis=4, max_z=20, terms=("angle", "torsion")
    )
    potential = jphys.make_potential(config)
    params = jax.jit(potential.init)(jax.random.key(0), graph)
    params = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params)
    forces = jphys.energy_and_forces(potential)

    def loss(params):
        return jnp.sum(forces(params, graph)[1] ** 2)

    found = {}
    for cutting in (False, True):
        short(cutting)
        assert messages.is_long((graph.receivers, graph.senders)) == cutting
        found[cutting] = [
            *jax.jit(lambda params: forces(params, graph))(params),
            jax.jit(lambda params: jphys.hessian(potential)(params, graph))(params),
            jax.jit(jax.grad(loss))(params),
        ]
        assert ("scan" in str(jax.make_jaxpr(potential.energy)(params, graph))) == cutting
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9), *found.values())


@pytest.mark.slow
def test_pieces_take_less_memory(monkeypatch):
    """Forces of 864 copper atoms, as compiled, not run."""
    graph = from_ase(bulk("Cu", cubic=True).repeat(6), cutoff=5.0)
    config = jphys.TransformerConfig(channels=32, blocks=2, heads=2, n_basis=4, max_z=30)
    potential = jphys.make_potential(config)
    params = jax.eval_shape(potential.init, jax.random.key(0), graph)
    taken = []
    for longest in (10**9, 0):
        monkeypatch.setattr(messages, "LONG", longest)
        monkeypatch.setattr(messages, "PIECE", 2048)
        monkeypatch.setattr(messages, "PIECE_ON_ACCELERATORS", 2048)
        jax.clear_caches()  # a potential remembers what it was traced with
        forces = jax.jit(lambda params, graph: jphys.energy_and_forces(potential)(params, graph))
        memory = forces.lower(params, graph).compile().memory_analysis()
        assert memory is not None
        taken.append(memory.temp_size_in_bytes)
    assert taken[1] < taken[0] / 4
