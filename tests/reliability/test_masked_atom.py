"""Masked atoms: probabilities of a hidden element, what must not leak, counts against a model that knows."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jphys
from jphys import ops
from jphys.data.qm9 import load_small
from jphys.data.structures import graphs, take
from jphys.models.potential import Potential
from jphys.reliability import masked_atom
from jphys.training.parts import split_data

CH4 = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63
H2O = [[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]]


@pytest.fixture(scope="module")
def molecules():
    return [jphys.make_graph([6, 1, 1, 1, 1], CH4), jphys.make_graph([8, 1, 1], H2O)]


@pytest.fixture(scope="module")
def model() -> Any:
    return jphys.load("qm9-small")


@pytest.fixture(scope="module")
def counting():
    """A model that takes an atom with more than two neighbours within 1.3 Å for carbon, else for hydrogen."""

    def logits(params, graph):
        near = jnp.where(graph.edges.mask & (ops.edge_distances(graph) < 1.3), 1.0, 0.0)
        many = ops.sum_at_receivers(near, graph) > 2
        return jnp.where(many[:, None], jax.nn.one_hot(5, 10), jax.nn.one_hot(0, 10)) * 20.0

    def zero(params, graph):
        return ops.sum_over_graphs(0.0 * graph.nodes.positions[:, 0], graph)

    return Potential(
        jphys.TransformerConfig(), 5.0, lambda key, graph: {}, zero, zero, {"element_logits": logits}
    )


def test_the_pretrained_model_knows_molecules_it_never_saw(model):
    """All atoms of 40 test molecules; what it was not taught is one of 8,382, the carbon of methane."""
    test = graphs(take(split_data(load_small(), 0).test.structures, np.arange(0, 560, 14)))
    asked = [(graph, atom) for graph in test for atom in range(len(graph.nodes.species))]
    (potential, params), (structures, atoms) = model, map(list, zip(*asked))
    found = masked_atom.element_probabilities(potential, params, structures, atoms)
    likely = np.argmax(found, axis=1) + 1
    assert np.mean(likely == [graph.nodes.species[atom] for graph, atom in asked]) > 0.995


def test_suggestions_are_sorted(model, molecules):
    potential, params = model
    first = masked_atom.suggest_elements(potential, params, molecules[1], 0)
    assert first[0].symbol == "O" and first[0].probability > 0.9
    assert masked_atom.suggest_elements(potential, params, molecules[0], 2)[0].z == 1
    assert len(first) == 5 and all(a.probability >= b.probability for a, b in itertools.pairwise(first))


def test_the_true_element_does_not_matter(model, molecules):
    potential, params = model
    other = jphys.make_graph([9, 1, 1, 1, 1], CH4)
    asked = masked_atom.element_probabilities(potential, params, [molecules[0], other], [0, 0])
    np.testing.assert_allclose(asked[1], asked[0], atol=1e-7)
    np.testing.assert_allclose(asked.sum(axis=1), 1, rtol=1e-5)


def test_many_structures_as_one_by_one(model, molecules):
    potential, params = model
    graphs, atoms = molecules * 3, [0, 1, 4, 2, 3, 0]
    at_once = masked_atom.element_probabilities(potential, params, graphs, atoms, chunk=4)
    singly = [
        masked_atom.element_probabilities(potential, params, [g], [a])[0] for g, a in zip(graphs, atoms)
    ]
    np.testing.assert_allclose(at_once, singly, atol=1e-5)


def test_a_moved_atom_is_seen_where_it_is(counting, molecules):
    found = masked_atom.scan(counting, {}, molecules[0], 0, [0.0, 3.0], axis=(0, 0, 2))
    assert found.argmax(axis=1).tolist() == [5, 0]


def test_accuracy_counts_every_atom(counting, molecules):
    frequencies = np.bincount([1] * 5 + [6] * 4)
    found = masked_atom.accuracy(counting, {}, molecules, frequencies)
    assert found["n"] == 8 and found["top1"] == pytest.approx(7 / 8), "oxygen is taken for hydrogen"
    assert found["baseline"] == pytest.approx(6 / 8) and found["low"] < 7 / 8 < found["high"]
    assert found["by_element"] == {
        "H": {"n": 6, "top1": 1.0},
        "C": {"n": 1, "top1": 1.0},
        "O": {"n": 1, "top1": 0.0},
    }
    assert found["nll_baseline"] > 60 / 8, "no oxygen in the training part"


def test_many_hidden_atoms_at_once(counting, model, molecules):
    potential, params = model
    found = masked_atom.accuracy(counting, {}, molecules * 50, np.bincount([1, 6]), rate=0.3)
    assert found["n"] == pytest.approx(0.3 * 8 * 50, abs=30)
    assert found["by_element"]["H"]["top1"] == found["by_element"]["C"]["top1"] == 1.0
    known = masked_atom.accuracy(potential, params, molecules * 5, np.bincount([1, 6]), rate=0.3)
    assert known["top1"] > 0.7


def test_what_is_refused(model, molecules):
    potential, params = model
    mute = jphys.make_potential(jphys.MessagePassingConfig())
    methane = molecules[0]
    with pytest.raises(ValueError, match="atom must be from 0 to 4, got 5"):
        masked_atom.suggest_elements(potential, params, methane, 5)
    with pytest.raises(ValueError, match="species must be among the potential's elements"):
        masked_atom.suggest_elements(potential, params, jphys.make_graph([16, 1, 1], np.eye(3)), 1)
    with pytest.raises(ValueError, match="n must be at least 1, got 0"):
        masked_atom.suggest_elements(potential, params, methane, 0, n=0)
    with pytest.raises(ValueError, match="must have a head 'element_logits', it has"):
        masked_atom.suggest_elements(mute, {}, methane, 0)
    with pytest.raises(ValueError, match="rate must be from 0 to 1, got 2"):
        masked_atom.accuracy(potential, params, molecules, [1], rate=2.0)
    with pytest.raises(ValueError, match="atom must be from 0 to 4, got 5"):
        masked_atom.scan(potential, params, methane, 5, [1.0])
    with pytest.raises(ValueError, match="shifts must hold at least one place, got none"):
        masked_atom.scan(potential, params, methane, 0, [])
    with pytest.raises(ValueError, match="axis must be a vector"):
        masked_atom.scan(potential, params, methane, 0, [1.0], axis=(0, 0, 0))
