"""Every loss against its formula in numpy; noise that belongs to the structure; finite gradients."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jphys
from jphys import objectives
from jphys.data.loader import budget_for, make_dataset, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.models import TransformerConfig, make_potential
from jphys.objectives import OBJECTIVES, ObjectiveConfig
from jphys.prior import prior_energy
from jphys.training.config import LABELS

N_ATOM = 8


@pytest.fixture(scope="module")
def dataset():
    return small_dataset(cutoff=4.0)


def small_dataset(cutoff):
    """Eight of the smallest molecules, CO2-like straight ones among them."""
    small = load_small()
    chosen = take(small, np.flatnonzero(small.n_atoms <= N_ATOM)[:8])
    return make_dataset(chosen, np.linspace(-1, 1, 8), cutoff=cutoff, margin=1.0, with_prior=True)


def batch_of(dataset, chosen, room=4):
    budget = budget_for(dataset, np.arange(8)[None])
    budget = dataclasses.replace(budget, n_node=budget.n_node + room, n_graph=len(chosen) + 1)
    return jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.asarray(chosen))


@pytest.fixture(scope="module")
def both(dataset):
    """Three molecules, an empty place in the middle, and padding."""
    return batch_of(dataset, [4, -1, 7, 2])


def of_each(graph):
    """Node numbers of every graph of a batch, padding left out."""
    owner = np.repeat(np.arange(len(graph.n_node)), graph.n_node)
    return [np.flatnonzero((owner == g) & np.asarray(graph.nodes.mask)) for g in range(len(graph.n_node))]


@pytest.fixture
def forces(both, rng):
    """Random forces, also on padding, where they must not count."""
    return jnp.asarray(rng.normal(size=(len(both[0].nodes.species), 3)), jnp.float32)


def test_energy_and_bound_losses(both):
    graph, _ = both
    energy, target = np.array([1.0, 9, 2, 3, 9]), np.array([0.5, 0, 4, 3.5, 0])
    found = objectives.energy_loss(jnp.asarray(energy), jnp.asarray(target), graph)
    np.testing.assert_allclose(found, [0.25, 0, 4, 0.25, 0])
    found = objectives.bound_loss(jnp.asarray(energy), jnp.asarray(target), graph)
    np.testing.assert_allclose(found, [0.5, 0, 0, 0, 0])


def test_force_loss(both, forces, rng):
    graph, _ = both
    target = rng.normal(size=forces.shape).astype(np.float32)
    squares = ((np.asarray(forces) - target) ** 2).sum(axis=1)
    expected = [squares[nodes].mean() if len(nodes) else 0.0 for nodes in of_each(graph)]
    assert [value > 0 for value in expected] == [True, False, True, True, False]
    np.testing.assert_allclose(objectives.force_loss(forces, target, graph), expected, rtol=1e-5)


def test_mask_loss_is_cross_entropy(both, rng):
    graph, _ = both
    n = len(graph.nodes.species)
    logits, hidden = rng.normal(size=(n, 10)).astype(np.float32), rng.random(n) < 0.5
    hidden &= np.asarray(graph.nodes.mask)
    found = objectives.mask_loss(jnp.asarray(logits), graph.nodes.species, jnp.asarray(hidden), graph)
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
    both_forces = size * forces + prior, jnp.asarray(prior)
    ours, theirs = (objectives.mode_amplitudes(values, labels, graph) for values in both_forces)
    found = objectives.restoring_loss(ours, theirs, labels, soft=0.5, floor=0.002)
    np.testing.assert_allclose(found, expected, rtol=2e-3)
    assert np.sum(np.asarray(found) > 1e-6) == 3


KEY = jax.random.key(5)
NOISY = ObjectiveConfig(bound=1.0, noise=0.2, noise_varies=True, still=0.2)


@pytest.mark.parametrize("config", [NOISY, OBJECTIVES["physics"]], ids=["noise", "physics"])
def test_noise_belongs_to_the_structure(dataset, config):
    """Another place, other neighbours, another amount of padding: the same displacement."""
    config, found = dataclasses.replace(config, still=0.0), {}
    for chosen, room in (([4, -1, 7, 2], 4), ([2, 0, 4], 9)):
        graph, labels = batch_of(dataset, chosen, room)
        delta = np.asarray(objectives.displacements(KEY, labels, graph, config, N_ATOM))
        assert not delta[~np.asarray(graph.nodes.mask)].any()
        for place, nodes in zip([*chosen, -1], of_each(graph)):
            if place in found:
                np.testing.assert_allclose(delta[nodes], found[place], atol=1e-6)
            elif place >= 0:
                found[place] = delta[nodes]
    moved = [np.abs(delta).max() > 1e-3 for delta in found.values()]  # thermal: at times along no mode
    assert len(found) == 4 and sum(moved) >= 2
    other = objectives.displacements(jax.random.key(6), labels, graph, config, N_ATOM)
    assert np.abs(np.asarray(other) - delta).max() > 1e-2


def many_displacements(dataset, config, n=400):
    """Displacements (n, atoms, 3) of molecule 7 under n keys."""
    graph, labels = batch_of(dataset, [7])
    draw = jax.jit(jax.vmap(lambda key: objectives.displacements(key, labels, graph, config, N_ATOM)))
    return np.asarray(draw(jax.random.split(KEY, n)))[:, of_each(graph)[0]], labels


def test_fixed_noise_has_its_standard_deviation(dataset):
    delta, _ = many_displacements(dataset, ObjectiveConfig(bound=1.0, noise=0.3))
    assert delta.std() == pytest.approx(0.3, rel=0.03)
    assert delta.mean() == pytest.approx(0, abs=0.01)


def test_varied_noise_is_uniform_in_its_width_and_some_stay(dataset):
    """σ of U(0, 0.3]: mean square 0.3²/3 among those that move; a fifth does not."""
    config = dataclasses.replace(NOISY, noise=0.3)
    delta, _ = many_displacements(dataset, config)
    widths = np.sqrt((delta**2).mean(axis=(1, 2)))
    assert np.mean(widths == 0) == pytest.approx(0.2, abs=0.06)
    assert np.mean(widths[widths > 0] ** 2) == pytest.approx(0.03, rel=0.15)
    assert np.quantile(widths[widths > 0], 0.5) == pytest.approx(0.15, rel=0.15)


@pytest.fixture(scope="module")
def thermal_amplitudes(dataset):
    """Amplitudes (draws, modes) along the modes of molecule 7, softest first, and their curvatures."""
    config = ObjectiveConfig(restore=1.0, thermal=1.0, temperature=0.6, soft=0.5)
    delta, labels = many_displacements(dataset, config, 4000)
    assert np.abs(delta.sum(axis=1)).max() < 1e-3
    assert labels.modes is not None
    vectors, curvatures, real = (np.asarray(leaf)[0] for leaf in labels.modes)
    amplitudes = np.einsum("kn,nc->kc", delta.reshape(len(delta), -1), vectors[: 3 * delta.shape[1]])
    assert np.abs(amplitudes[:, ~real]).max() < 1e-3
    return amplitudes[:, real], curvatures[real]


def test_thermal_displacements_share_energy_among_modes(thermal_amplitudes):
    """⟨a_c²⟩ = ⟨T⟩/(Λ_c + soft) where mode c moves, with ⟨T⟩ = 0.6 eV·⟨u³⟩ = 0.15 eV."""
    amplitudes, curvatures = thermal_amplitudes
    energies = amplitudes**2 * (curvatures + 0.5)
    moving = energies > 1e-9
    shares = energies.sum(axis=0) / moving.sum(axis=0)
    np.testing.assert_allclose(shares, 0.15, rtol=0.35)
    assert energies.sum() / moving.sum() == pytest.approx(0.15, rel=0.1)


def test_soft_modes_often_move_alone(thermal_amplitudes):
    """Half of the draws move what is below a limit, log-uniform from 0.3 to 300 eV/Å²; half ⟨u²⟩ = 1/3."""
    amplitudes, curvatures = thermal_amplitudes
    moving = amplitudes**2 * (curvatures + 0.5) > 1e-9
    below = 1 - np.clip(np.log(curvatures / 0.3) / np.log(1000), 0, 1)
    np.testing.assert_allclose(moving.mean(axis=0), 0.5 * below + 0.5 / 3, atol=0.04)
    softest, stiffest = moving[:, 0], moving[:, -1]
    assert np.mean(softest & ~stiffest) > 2 * np.mean(stiffest & ~softest)


CONFIG = TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=4.0, max_z=9)


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", [*OBJECTIVES, "labels"])
def test_gradients_of_each_objective(name, trained):
    """Finite in every parameter, not zero in any that is trained; padding and empty places count 0."""
    potential, params = jphys.load("qm9-small") if trained else (make_potential(CONFIG), None)
    dataset = small_dataset(potential.cutoff)
    graph, labels = batch_of(dataset, [4, -1, 4, 2], room=16)  # one comes twice, for its curvature
    labels = labels._replace(forces=jnp.ones_like(graph.nodes.positions))
    config = {**OBJECTIVES, "labels": LABELS}[name]
    if params is None:
        params = jax.jit(potential.init)(jax.random.key(0), graph)

    def total(params):
        found = objectives.losses(potential, params, graph, labels, config, n_atom=N_ATOM, key=KEY)
        return sum(getattr(config, key) * jnp.sum(value) for key, value in found.items()), found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(params)
    names = {"energy", "mask", "zero_force", "bound", "restore", "curvature", "diatomics", "forces"}
    assert set(found) == {key for key in names if getattr(config, key)}
    for values in found.values():
        assert np.isfinite(values).all() and np.all(np.asarray(values)[[1, 4]] == 0)
    trained = {"mask": "mask" in found}
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradient):
        assert np.isfinite(leaf).all(), path
        assert np.any(leaf != 0) == (trained["mask"] or path[0].key != "f_element"), path


def test_losses_are_put_together_from_their_parts(dataset, both):
    """Zero-force and force losses look at p, bound at p + δ of `displacements`."""
    graph, labels = both
    potential = make_potential(CONFIG)
    params = jax.jit(potential.init)(jax.random.key(0), graph)
    target = jnp.ones_like(graph.nodes.positions)
    config = ObjectiveConfig(energy=2.0, zero_force=1.0, bound=1.0, forces=1.0, noise=0.2)
    labels = labels._replace(forces=target)
    compute = partial(objectives.losses, potential, config=config, n_atom=N_ATOM, key=KEY)
    found = jax.jit(compute)(params, graph, labels)

    @jax.jit
    def energy(positions):
        return potential.energy(params, graph._replace(nodes=graph.nodes._replace(positions=positions)))

    forces = -jax.jit(jax.grad(lambda p: energy(p).sum()))(graph.nodes.positions)
    at_rest = energy(graph.nodes.positions)
    np.testing.assert_allclose(
        found["energy"], (at_rest - labels.energy) ** 2 * graph.globals.mask, rtol=1e-4
    )
    delta = objectives.displacements(jax.random.split(KEY)[0], labels, graph, config, N_ATOM)
    rise = energy(graph.nodes.positions + delta) - at_rest
    np.testing.assert_allclose(
        found["bound"], np.maximum(-rise, 0) * graph.globals.mask, rtol=1e-3, atol=1e-6
    )
    for g, nodes in enumerate(of_each(graph)):
        if len(nodes):
            there = np.asarray(forces)[nodes]
            assert found["zero_force"][g] == pytest.approx((there**2).sum(axis=1).mean(), rel=1e-4)
            assert found["forces"][g] == pytest.approx(((there - 1) ** 2).sum(axis=1).mean(), rel=1e-4)


def test_curvature_is_judged_whatever_the_force_at_the_bottom(dataset):
    """A surface 1.2 times the prior, tilted by 1 eV/Å: relative deviation 0.2 where a structure comes twice,
    whatever fraction of the others stays where it is."""
    graph, labels = batch_of(dataset, [4, 7, -1, 4], room=16)
    stable, model = graph.nodes.positions, make_potential(CONFIG)
    prior = labels.prior
    assert prior is not None

    def energy(params, graph):
        place = graph.nodes.positions
        total = 1.2 * prior_energy(place, stable, prior) + jnp.sum(place[:, 0] * graph.nodes.mask)
        return jnp.zeros(len(graph.n_node)).at[0].set(total)

    tilted = dataclasses.replace(model, energy=energy)
    config = ObjectiveConfig(curvature=1.0, noise=0.1, still=0.5)
    compute = partial(objectives.losses, tilted, {}, graph, labels, config, n_atom=N_ATOM)
    drawn = jax.jit(jax.vmap(lambda key: compute(key=key)["curvature"]))
    found = np.asarray(drawn(jax.random.split(KEY, 20)))
    expected = 2 * 0.09 * (np.sqrt(1 + 0.04 / 0.09) - 1)
    np.testing.assert_allclose(found[:, [0, 3]], expected, rtol=1e-2)
    assert not found[:, [1, 2, 4]].any()


def test_what_comes_twice_is_displaced_both_ways(dataset):
    """By a fifth of what it would be displaced by alone, one way and the other; never left where it is."""
    config = dataclasses.replace(NOISY, curvature=1.0, still=0.0)
    graph, labels = batch_of(dataset, [4, 7, 4], room=16)
    delta = np.asarray(objectives.displacements(KEY, labels, graph, config, N_ATOM))
    alone, own = batch_of(dataset, [4])
    expected = np.asarray(objectives.displacements(KEY, own, alone, config, N_ATOM))[of_each(alone)[0]]
    there, _, back, _ = (delta[nodes] for nodes in of_each(graph))
    np.testing.assert_allclose(there, 0.2 * expected, atol=1e-6)
    np.testing.assert_allclose(back, -there, atol=1e-6)
    still = dataclasses.replace(config, still=1.0)
    delta = np.asarray(objectives.displacements(KEY, labels, graph, still, N_ATOM))
    assert [bool(np.any(delta[nodes])) for nodes in of_each(graph)] == [True, False, True, False]


@pytest.mark.parametrize(("batch_size", "expected"), [(16, 2), (32, 4), (512, 64), (2, 1), (6, 1)])
def test_a_quarter_of_the_places_holds_structures_twice(batch_size, expected):
    assert objectives.members_twice(OBJECTIVES["physics"], batch_size) == expected
    assert objectives.members_twice(OBJECTIVES["paper"], batch_size) == 0


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"bound": -1.0}, "bound must be finite and not negative, got -1.0"),
        ({"mask": float("nan")}, "mask must be finite and not negative, got nan"),
        ({"mask_rate": 1.5}, "mask_rate must be from 0 to 1, got 1.5"),
        ({"noise": 0.0}, "noise must be positive and finite, got 0.0"),
    ],
)
def test_impossible_objectives(wrong, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveConfig(**wrong)


def test_what_a_config_needs():
    assert not OBJECTIVES["energy-only"].displaces and not OBJECTIVES["paper"].uses_prior
    assert OBJECTIVES["paper"].displaces and OBJECTIVES["physics"].uses_prior
