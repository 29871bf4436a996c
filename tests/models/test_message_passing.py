"""MPNN and VIMPNN against numpy, equation by equation."""

import dataclasses

import jax
import numpy as np
import pytest

from jphys.elements import ELECTRONEGATIVITY
from jphys.graph import batch, make_graph, pad
from jphys.models import MessagePassingConfig, make_potential
from jphys.models.message_passing import bond_types
from jphys.models.potential import felt_only

STRATEGIES = ("distance", "edge", "a.i", "a.ii", "b.i", "b.ii", "c")
ALL = ("atoms", "orbitals", "scale")
SMALL = MessagePassingConfig(channels=5, n_basis=6, steps=1, cutoff=4.0, max_z=9)


@pytest.fixture
def acid(x64):
    """H–C(=O)–N≡C, made up: all three bond types, one pair of atoms without a bond type."""
    positions = np.array([[0.0, 0, 0], [1.1, 0.1, 0], [1.7, 1.1, 0.2], [1.9, -1.1, 0.1], [2.4, -2.0, -0.3]])
    return make_graph([1, 6, 8, 7, 6], positions, bonds=[(0, 1, 1), (1, 2, 2), (1, 3, 1), (3, 4, 3)])


def drawn(potential, graph, rng):
    """Parameters far from the start values, in float64."""
    shapes = jax.eval_shape(potential.init, jax.random.key(0), graph)
    return jax.tree.map(lambda leaf: 0.5 * rng.normal(size=leaf.shape), shapes)


def dense(params, x):
    return x @ params["kernel"] + params.get("bias", 0.0)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def silu(x):
    return x * sigmoid(x)


def gru(params, h, m):
    """r = σ(W_ir m + b + W_hr h), z likewise, n = tanh(W_in m + b + r(W_hn h + b)), h' = (1−z)n + zh."""
    reset, gate = (sigmoid(dense(params[f"i{k}"], m) + dense(params[f"h{k}"], h)) for k in "rz")
    new = np.tanh(dense(params["in"], m) + reset * dense(params["hn"], h))
    return (1 - gate) * new + gate * h


def by_hand(config, params, graph):
    """The energy, atom by atom and neighbour by neighbour."""
    species, positions = graph.nodes.species, graph.nodes.positions
    numbers = [("nonbonded", "single", "double", "triple").index(name) for name in config.bond_types]
    given = np.column_stack([params["embedding"]["embedding"][species], ELECTRONEGATIVITY[species]])
    start = state = dense(params["start"], given)
    centers = np.linspace(np.exp(-config.cutoff), 1, config.n_basis)
    width = (2 / config.n_basis * (1 - np.exp(-config.cutoff))) ** -2
    for _ in range(config.steps):
        messages = np.zeros((len(species), len(numbers), config.channels))
        for v, w, kind in zip(graph.receivers, graph.senders, graph.edges.bond_type):
            if kind not in numbers:
                continue
            d = np.linalg.norm(positions[v] - positions[w])
            features = np.exp(-width * (np.exp(-d) - centers) ** 2)
            if config.strategy == "edge" or config.bond_feature:
                features = np.concatenate([features, np.eye(len(numbers))[numbers.index(kind)]])
            content = silu(
                dense(params["message_sender"], state[w]) + dense(params["message_edge"], features)
            )
            messages[v, numbers.index(kind)] += content * 0.5 * (np.cos(np.pi * d / config.cutoff) + 1)
        state = update(config, params, state, messages)
    hidden = silu(dense(params["f_atom"]["Dense_0"], np.column_stack([start, state])))
    return dense(params["f_atom"]["Dense_1"], hidden).sum() * config.energy_scale


def update(config, params, state, messages):
    units, types = params["update"], config.bond_types
    if config.strategy in ("distance", "edge"):
        return gru(units["gru"], state, messages.sum(axis=1))
    if config.strategy in ("a.i", "a.ii"):
        return gru(units["gru"], state, np.einsum("vkc,kc->vc", messages, params["weight"] * np.ones((1, 5))))
    if config.strategy == "b.i":
        return gru(units["gru"], state, messages.reshape(len(state), -1))
    parts = np.split(state, len(types), axis=1) if config.strategy == "b.ii" else [state] * len(types)
    if config.strategy == "b.ii":
        made = [
            gru(units["gru"], p, s * messages[:, k]) for k, (p, s) in enumerate(zip(parts, units["scale"]))
        ]
        return np.concatenate(made, axis=1)
    made = [gru(units[f"gru_{name}"], state, messages[:, k]) for k, name in enumerate(types)]
    return np.sum(made, axis=0)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_energy_is_equations_1_to_5(acid, rng, strategy):
    """One round of messages; with channels for two of the types the rest sends nothing."""
    for types in (("single", "double", "triple"), ("nonbonded", "triple")):
        config = dataclasses.replace(SMALL, strategy=strategy, bond_types=types, energy_scale=2.5)
        potential = make_potential(config)
        params = drawn(potential, acid, rng)
        found = jax.jit(potential.energy)(params, acid)
        np.testing.assert_allclose(found, [by_hand(config, params, acid)], rtol=1e-10)


def test_channels_whose_messages_know_the_bond_type(acid, rng):
    config = dataclasses.replace(SMALL, strategy="a.ii", bond_feature=True)
    potential = make_potential(config)
    params = drawn(potential, acid, rng)
    assert params["message_edge"]["kernel"].shape == (9, 5)
    np.testing.assert_allclose(
        jax.jit(potential.energy)(params, acid), [by_hand(config, params, acid)], rtol=1e-10
    )


def test_rounds_share_their_parameters(acid, rng):
    """T = 3: the same parameters applied three times."""
    config = dataclasses.replace(SMALL, steps=3)
    potential = make_potential(config)
    params = drawn(potential, acid, rng)
    found = jax.jit(potential.energy)(params, acid)
    np.testing.assert_allclose(found, [by_hand(config, params, acid)], rtol=1e-10)
    again = jax.eval_shape(make_potential(SMALL).init, jax.random.key(0), acid)
    assert jax.tree.map(np.shape, params) == jax.tree.map(lambda leaf: leaf.shape, again)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_parameter_count(acid, strategy):
    """By the formulas of sec. 4.2 with the sizes of A.3: messages of 73, states of 73 or 219."""
    config = MessagePassingConfig(strategy=strategy, n_basis=32, max_z=9, auxiliary=ALL)
    params = jax.eval_shape(make_potential(config).init, jax.random.key(0), acid)
    state, unit = (219, 1) if strategy.startswith("b") else (73, 1)
    size, gets = (73, 73) if strategy != "b.i" else (219, 219)
    unit = 3 * (gets * size + size) + 3 * size * size + size  # flax: the hidden part has one bias
    updates = {"b.ii": unit + 3, "c": 3 * unit}.get(strategy, unit)
    weights = {"a.i": 3 * 73, "a.ii": 3}.get(strategy, 0)
    edge = (32 + 3 * (strategy == "edge")) * 73 + 73
    readouts = sum(2 * state * 73 + 73 + 73 * k + k for k in (1, 5, 5, 10))
    expected = 10 * 72 + (73 * state + state) + state * 73 + edge + updates + weights + readouts
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_other_bond_types_change_the_energy_only_where_they_are_seen(acid, rng, strategy):
    """The double and the single bond of the middle carbon change places."""
    potential = make_potential(dataclasses.replace(SMALL, strategy=strategy))
    params = drawn(potential, acid, rng)
    other = np.array([0, 2, 1, 3])[acid.edges.bond_type]
    changed = acid._replace(edges=acid.edges._replace(bond_type=other))
    energy = jax.jit(potential.energy)
    same = abs(energy(params, changed) - energy(params, acid)) < 1e-12
    assert same == (strategy == "distance")


def test_metals_are_bonded_by_being_metals():
    """Also to images of themselves; a bond order that is given stays, and metal and nonmetal are not."""
    cell = 2.025 * np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]])
    aluminium = make_graph([13], np.zeros((1, 3)), cell=cell, cutoff=3.0)
    assert np.asarray(bond_types(aluminium)).tolist() == [4] * 12
    mixed = make_graph([29, 13, 8], [[0.0, 0, 0], [2.5, 0, 0], [0, 1.8, 0]], bonds=[(0, 2, 1)])
    found = {frozenset(pair): kind for *pair, kind in zip(mixed.senders, mixed.receivers, bond_types(mixed))}
    assert found == {frozenset((0, 1)): 4, frozenset((0, 2)): 1, frozenset((1, 2)): 0}


def test_a_crystal_whose_second_shell_passes_the_cutoff_has_one_slope_there(rng, x64):
    """Six neighbours leave at a = cutoff: the slopes on both sides differ by curvature times step."""
    potential = make_potential(dataclasses.replace(SMALL, max_z=13, bond_types=("metallic",)))

    def crystal(a):
        cell = a / 2 * (1 - np.eye(3))
        return make_graph([13], np.zeros((1, 3)), cell=cell, cutoff=SMALL.cutoff)

    params = drawn(potential, crystal(4.0), rng)
    assert len(crystal(3.99).senders) == 18 and len(crystal(4.01).senders) == 12

    compiled = jax.jit(potential.energy)

    def energy(a):
        return float(compiled(params, crystal(a))[0])

    steps = np.array([0.02, 0.002])
    kinks = [(energy(4 + h) - 2 * energy(4.0) + energy(4 - h)) / h for h in steps]
    assert abs(kinks[0]) > 1e-6
    np.testing.assert_allclose(kinks[1] / kinks[0], 0.1, atol=0.03)


def test_edges_that_are_not_felt_can_be_left_out(acid, rng):
    potential = make_potential(SMALL)
    params = drawn(potential, acid, rng)
    (trimmed,) = felt_only(potential, [acid])
    assert len(trimmed.senders) == 8 and len(acid.senders) == 20
    energy = jax.jit(potential.energy)
    np.testing.assert_allclose(energy(params, trimmed), energy(params, acid), rtol=1e-13)


def test_auxiliary_estimates(acid, rng):
    """Sums for atoms, means for the others, a density for the scale; padding does not count."""
    config = dataclasses.replace(SMALL, auxiliary=ALL, auxiliary_elements=(1, 6, 8))
    potential = make_potential(config)
    assert "auxiliary" in potential.heads
    params = drawn(potential, acid, rng)
    estimate = jax.jit(potential.head("auxiliary"))
    one = estimate(params, acid)
    two = estimate(params, pad(batch([acid, acid]), 14, 44, 4))
    assert {name: values.shape for name, values in one.items()} == {
        "atoms": (1, 3),
        "orbitals": (1, 3),
        "scale": (1, 10),
    }
    np.testing.assert_allclose(one["scale"].sum(), 1.0)
    for name, values in one.items():
        np.testing.assert_allclose(two[name][:2], np.repeat(values, 2, axis=0), rtol=1e-12)


def test_node_contributions_are_shares(acid, rng):
    potential = make_potential(SMALL)
    params = drawn(potential, acid, rng)
    energies = np.asarray(jax.jit(potential.atom_energies)(params, acid))
    padded = pad(batch([acid, acid]), 14, 44, 4)
    shares = np.asarray(jax.jit(potential.node_contributions)(params, padded))
    np.testing.assert_allclose(shares[:5], np.abs(energies) / np.abs(energies).sum(), rtol=1e-12)
    np.testing.assert_allclose(shares[5:10], shares[:5], rtol=1e-12)
    assert not shares[10:].any()


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"channels": 0}, "channels must be positive and finite, got 0"),
        ({"cutoff": float("inf")}, "cutoff must be positive and finite, got inf"),
        ({"energy_scale": float("nan")}, "energy_scale must be positive and finite, got nan"),
        ({"channels": 2.5}, "channels must be a whole number, got 2.5"),
        ({"steps": 1.5}, "steps must be a whole number, got 1.5"),
        ({"auxiliary_elements": (6.5,)}, "auxiliary_elements must be whole numbers from 1 to .*, got 6.5"),
        (
            {"strategy": "distance", "bond_feature": True},
            "bond_feature must be False for strategy",
        ),
        ({"strategy": "mpnn"}, r"strategy must be one of .*, got 'mpnn'"),
        ({"strategy": "a.iii"}, r"strategy must be one of .*, got 'a.iii'"),
        ({"bond_types": ()}, "bond_types must be one or more, got none"),
        ({"bond_types": ("single", "single")}, "bond_types must be different ones of .*, got"),
        ({"bond_types": ("singel",)}, r"bond_types must be different ones of .*, got \('singel',\)"),
        ({"auxiliary": ("atom",)}, r"auxiliary must be different ones of .*, got \('atom',\)"),
        ({"auxiliary": ("atoms", "atoms")}, "auxiliary must be different ones of"),
        ({"auxiliary_elements": (6, 6)}, "auxiliary_elements must be one or more different elements, got"),
        ({"auxiliary": ("atoms",), "auxiliary_elements": ()}, "auxiliary_elements must be one or more"),
        ({"auxiliary_elements": (6, 200)}, "auxiliary_elements must be whole numbers from 1 to .*, got 200"),
        ({"max_z": 0}, "max_z must be from 1 to"),
    ],
)
def test_impossible_configs_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        MessagePassingConfig(**changes)
