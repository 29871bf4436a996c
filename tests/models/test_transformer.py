"""Parts of the Transformer against their formulas, its switches and its errors."""

import dataclasses

import jax
import numpy as np
import pytest

from jphys import elements
from jphys.graph import batch, make_graph, pad
from jphys.models import TransformerConfig, make_potential
from jphys.models.potential import check_elements, reference_energies, reference_energy
from jphys.models.transformer import Attention, RadialBasis, make_transformer

CONFIG = TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=3.0)


def silu(x):
    return x / (1 + np.exp(-x))


@pytest.fixture
def molecule(rng):
    """Five atoms, some further apart than the cutoff, two of them bonded."""
    positions = 1.2 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [2, 2, 0.0]])
    return make_graph(
        [6, 8, 7, 1, 9], positions + rng.normal(scale=0.1, size=(5, 3)), bonds=[(0, 1, 2), (0, 3, 1)]
    )


def shaken(params, rng, scale=0.3):
    return jax.tree.map(
        lambda leaf: np.asarray(leaf, np.float64) + scale * rng.normal(size=leaf.shape), params
    )


def parameters(potential, graph, rng):
    """Random parameters of the right shapes, without the cost of compiling `init`."""
    shapes = jax.eval_shape(potential.init, jax.random.key(0), graph)

    def draw(path, leaf):
        middle = {"mu": 0.5, "beta": 1.0, "scale": 1.0}.get(path[-1].key, 0.0)
        return middle + 0.2 * rng.normal(size=leaf.shape)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def distances_of(graph):
    positions = graph.nodes.positions
    return np.linalg.norm(positions[graph.senders] - positions[graph.receivers], axis=1)


def envelope_of(d):
    return np.where(d < CONFIG.cutoff, 0.5 * (np.cos(np.pi * d / CONFIG.cutoff) + 1), 0.0)


def test_radial_basis_is_equations_2_and_3(x64, molecule, rng):
    """With the centre atom's own β and μ."""
    module, d = RadialBasis(CONFIG), distances_of(molecule)
    species = molecule.nodes.species
    params = jax.jit(module.init)(jax.random.key(0), d, species, molecule)["params"]
    start = np.exp(-3.0)
    np.testing.assert_allclose(params["mu"], np.tile(np.linspace(start, 1, 6), (95, 1)), rtol=1e-6)
    params = shaken(params, rng)
    values, itself = jax.jit(module.apply)({"params": params}, d, species, molecule)
    width = (2 / 6 * (1 - start)) ** -2
    mu = params["mu"][species]
    beta = np.logaddexp(0, params["beta"][species]) / np.log(2) * width
    i = molecule.receivers
    expected = np.exp(-beta[i] * (np.exp(-d)[:, None] - mu[i]) ** 2) * envelope_of(d)[:, None]
    np.testing.assert_allclose(values, expected, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(itself, np.exp(-beta * (1 - mu) ** 2), rtol=1e-10)


@pytest.mark.parametrize("bond_mask", [False, True])
def test_attention_atom_by_atom(x64, molecule, rng, bond_mask):
    """a_ij = SiLU(Σ_c q k D^K)·φ (·SiLU(linear(A_ij))) per head, Σ_j a_ij (v_j ⊙ D^V_ij), itself included."""
    config = dataclasses.replace(CONFIG, bond_mask=bond_mask)
    module, d = Attention(config), distances_of(molecule)
    x, psi, psi_self = (rng.normal(size=(k, c)) for k, c in ((5, 16), (len(d), 6), (5, 6)))
    arguments = (x, None, psi, psi_self, envelope_of(d), molecule)
    params = shaken(jax.jit(module.init)(jax.random.key(0), *arguments)["params"], rng)
    found, token = jax.jit(module.apply)({"params": params}, *arguments)

    def linear(name, value):
        return value @ params[name]["kernel"] + params[name]["bias"]

    q, k, v = (linear(name, x) for name in ("query", "key", "value"))
    heard = np.zeros((5, 16))
    edges = [(i, j, p, f, b > 0) for i, j, p, f, b in zip(
        molecule.receivers, molecule.senders, psi, envelope_of(d), molecule.edges.bond_type
    )] + [(i, i, psi_self[i], None, None) for i in range(5)]  # fmt: skip
    for i, j, relation, envelope, bonded in edges:
        filter_key, filter_value = (
            silu(linear("filter_key", relation)),
            silu(linear("filter_value", relation)),
        )
        for head in range(4):
            channels = slice(4 * head, 4 * head + 4)
            weight = silu(np.sum(q[i, channels] * k[j, channels] * filter_key[channels]))
            if envelope is not None:
                weight *= envelope
                if bond_mask:
                    weight *= silu(linear("bond_scale", np.array([float(bonded)]))[head])
            heard[i, channels] += weight * v[j, channels] * filter_value[channels]
    assert token is None
    np.testing.assert_allclose(found, linear("out", heard), rtol=1e-9, atol=1e-10)


def test_pair_energy_is_equation_6(x64, rng):
    """Σ_{i<j} E_ij·φ from the readable parameters, with f_atom silenced and no two atoms close."""
    positions = 1.5 * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.1, 0.2, 1.1]])
    graph = make_graph([6, 8, 7, 1], positions)
    potential = make_potential(CONFIG)
    params = parameters(potential, graph, rng)
    params["f_atom"] = jax.tree.map(np.zeros_like, params["f_atom"])
    beta = np.asarray(jax.jit(potential.head("pair_parameters"))(params, graph))
    b0, b1, b2, b3, b4 = beta
    d = distances_of(graph)
    assert d.min() > 1.4 and (b3 * np.log(b4 / d)).max() < 2.5
    literal = -b1 * b0 / d + b2 * ((b4 / d) ** (2 * b3) - 2 * (b4 / d) ** b3)
    expected = np.sum((literal * envelope_of(d))[graph.receivers < graph.senders])
    assert abs(expected) > 1e-2
    np.testing.assert_allclose(jax.jit(potential.energy)(params, graph), [expected], rtol=1e-9)
    there = {(i, j): column for i, j, column in zip(graph.receivers, graph.senders, beta.T)}
    for (i, j), column in there.items():
        np.testing.assert_allclose(column, there[j, i], rtol=1e-12)
    assert np.ptp(b0) > 1e-3


def test_repulsion_is_a_switch(rng):
    close = make_graph([6, 8], [[0.0, 0, 0], [0.5, 0, 0]])
    with_it, without = (make_potential(dataclasses.replace(CONFIG, repulsion=on)) for on in (True, False))
    params = parameters(with_it, close, rng)
    assert float(jax.jit(with_it.energy)(params, close)[0] - jax.jit(without.energy)(params, close)[0]) > 1.0


@pytest.mark.parametrize("readout", ["atoms", "pairs", "cls"])
def test_heads_that_a_readout_has(molecule, rng, readout):
    potential = make_potential(dataclasses.replace(CONFIG, readout=readout, cls_token="full"))
    params = parameters(potential, molecule, rng)
    assert ("f_bond" in params) == (readout == "pairs") == ("pair_parameters" in potential.heads)
    assert ("f_mol" in params) == (readout == "cls")


def test_unknown_element_is_nan_in_its_own_structure(molecule, rng):
    """A potential fitted to H, C, O: the molecule with N and F has no energy, its neighbour has one."""
    fitted = dataclasses.replace(CONFIG, reference_energies=((1, -13.0), (6, -1030.0), (8, -2040.0)))
    potential = make_potential(fitted)
    water = make_graph([8, 1, 1], np.array([[0, 0, 0], [0.96, 0, 0], [-0.2, 0.94, 0]]))
    params = parameters(potential, water, rng)
    padded = pad(batch([water, molecule]), 10, 40, 4)
    energy = np.asarray(jax.jit(potential.energy)(params, padded))
    assert np.isfinite(energy[0]) and np.isnan(energy[1]) and np.all(energy[2:] == 0)
    assert reference_energies(potential) == {1: -13.0, 6: -1030.0, 8: -2040.0}
    assert reference_energy(potential, [8, 1, 1, 0]) == -2066.0
    for check in (check_elements, reference_energy):
        with pytest.raises(ValueError, match=r"among the potential's elements H, C, O, got N, F"):
            check(potential, molecule.nodes.species)


def test_an_unfitted_potential_knows_elements_up_to_max_z(molecule, rng):
    potential = make_potential(dataclasses.replace(CONFIG, max_z=8))
    params = parameters(potential, molecule, rng)
    check_elements(potential, [1, 8, 0])
    with pytest.raises(ValueError, match="got F"):
        check_elements(potential, [9])
    assert np.isnan(jax.jit(potential.energy)(params, molecule)[0])


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"channels": 0}, "channels must be positive and finite, got 0"),
        ({"cutoff": float("nan")}, "cutoff must be positive and finite, got nan"),
        ({"heads": 3}, "heads must divide channels 64, got 3"),
        ({"readout": "cls"}, "cls_token must be 'full' for readout 'cls', got 'none'"),
        ({"max_z": 95}, "max_z must be from 1 to 94, got 95"),
    ],
)
def test_impossible_configs(wrong, message):
    with pytest.raises(ValueError, match=message):
        TransformerConfig(**wrong)


def test_electronegativity_enters(molecule, monkeypatch):
    """Eq. 1: with the table changed, the energy is another one."""
    potential = make_potential(CONFIG)
    params = parameters(potential, molecule, np.random.default_rng(1))

    def energy():
        """Not compiled before: the table is a constant of a compiled function, a potential's too."""
        return float(jax.jit(make_transformer(CONFIG).energy)(params, molecule)[0])

    before = energy()
    table = elements.ELECTRONEGATIVITY.copy()
    table[6] += 0.5
    monkeypatch.setattr(elements, "ELECTRONEGATIVITY", table)
    assert np.isfinite(before) and abs(energy() - before) > 1e-3
