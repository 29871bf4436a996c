"""Displacements belong to their structures and are distributed as they say."""

import dataclasses
from functools import partial

import jax
import numpy as np
import pytest
from jax.typing import ArrayLike
from small_batches import N_ATOM, batch_of, of_each

from jphys.losses import PHYSICS
from jphys.losses.displacements import Displacements

KEY = jax.random.key(5)
NOISY = Displacements(noise=0.2, noise_varies=True, still=0.2)


@partial(jax.jit, static_argnums=0)
def draw(config, key, labels, graph, small):
    return config.draw(key, labels, graph, N_ATOM, small=small)


def drawn(config, labels, graph, *, key=KEY, small: ArrayLike = False):
    return np.asarray(draw(config, key, labels, graph, small))


@pytest.mark.parametrize("config", [NOISY, PHYSICS.displacements], ids=["noise", "physics"])
def test_noise_belongs_to_the_structure(dataset, config):
    """Another place, other neighbours, another amount of padding: the same displacement."""
    config, found = dataclasses.replace(config, still=0.0), {}
    for chosen, room in (([4, -1, 7, 2], 4), ([2, 0, 4], 9)):
        graph, labels = batch_of(dataset, chosen, room)
        delta = drawn(config, labels, graph)
        assert not delta[~np.asarray(graph.nodes.mask)].any()
        for place, nodes in zip([*chosen, -1], of_each(graph)):
            if place in found:
                np.testing.assert_allclose(delta[nodes], found[place], atol=1e-6)
            elif place >= 0:
                found[place] = delta[nodes]
    moved = [np.abs(delta).max() > 1e-3 for delta in found.values()]  # thermal: at times along no mode
    assert len(found) == 4 and sum(moved) >= 2
    other = drawn(config, labels, graph, key=jax.random.key(6))
    assert np.abs(np.asarray(other) - delta).max() > 1e-2


def many_displacements(dataset, config, n=400):
    """Displacements (n, atoms, 3) of molecule 7 under n keys."""
    graph, labels = batch_of(dataset, [7])
    draw = jax.jit(jax.vmap(lambda key: config.draw(key, labels, graph, N_ATOM)))
    return np.asarray(draw(jax.random.split(KEY, n)))[:, of_each(graph)[0]], labels


def test_fixed_noise_has_its_standard_deviation(dataset):
    delta, _ = many_displacements(dataset, Displacements(noise=0.3))
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
    config = Displacements(thermal=1.0, temperature=0.6, soft=0.5)
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


def test_a_small_displacement_is_a_fifth_and_never_none(dataset):
    graph, labels = batch_of(dataset, [4, 7, 2])
    config = dataclasses.replace(NOISY, still=0.0)
    whole = drawn(config, labels, graph)
    flags = np.array([True, False, False, False])
    nodes = of_each(graph)
    some = drawn(config, labels, graph, small=flags)
    np.testing.assert_allclose(some[nodes[0]], 0.2 * whole[nodes[0]], atol=1e-6)
    np.testing.assert_array_equal(some[nodes[1]], whole[nodes[1]])
    still = dataclasses.replace(config, still=1.0)
    some = drawn(still, labels, graph, small=flags)
    assert [bool(np.any(some[own])) for own in nodes] == [True, False, False, False]


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"turned": 1.5}, "turned must be from 0 to 1, got 1.5"),
        ({"noise": 0.0}, "noise must be positive and finite, got 0.0"),
        ({"both_ways": 0}, "both_ways must be at least 1, got 0"),
    ],
)
def test_impossible_displacements(wrong, message):
    with pytest.raises(ValueError, match=message):
        Displacements(**wrong)
