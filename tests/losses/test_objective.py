"""Objectives: gradients, points at which their losses look, what they need."""

import dataclasses
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small_batches import N_ATOM, batch_of, of_each, small_dataset

import jphys
from jphys.losses import ENERGY_ONLY, OBJECTIVES, Loss, Need, Objective
from jphys.losses.displacements import Displacements
from jphys.losses.energy import ForceLoss
from jphys.losses.mask import MaskLoss
from jphys.models import TransformerConfig, make_potential
from jphys.prior import prior_energy

KEY = jax.random.key(5)
CONFIG = TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=4.0, max_z=9)


@pytest.mark.parametrize("trained", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", list(OBJECTIVES))
def test_gradients_of_each_objective(name, trained):
    """Finite in every parameter, not zero in any that is trained; padding and empty places count 0."""
    potential, params = jphys.load("qm9-small") if trained else (make_potential(CONFIG), None)
    dataset = small_dataset(potential.cutoff)
    graph, labels = batch_of(dataset, [7, -1, 4, 2], room=16)
    labels = labels._replace(forces=jnp.ones_like(graph.nodes.positions))
    objective = OBJECTIVES[name]
    if params is None:
        params = jax.jit(potential.init)(jax.random.key(0), graph)

    def total(params):
        found = objective(potential, params, graph, labels, n_atom=N_ATOM, key=KEY)
        return objective.total({key: jnp.sum(value) for key, value in found.items()}), found

    gradient, found = jax.jit(jax.grad(total, has_aux=True))(params)
    assert set(found) == set(objective.losses)
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
    objective = Objective(displacements=Displacements(noise=0.2))
    objective = objective.weighted(energy=2.0, zero_force=1.0, bound=1.0, forces=1.0)
    labels = labels._replace(forces=target)
    compute = partial(objective, potential, n_atom=N_ATOM, key=KEY)
    found = jax.jit(compute)(params, graph, labels)

    @jax.jit
    def energy(positions):
        return potential.energy(params, graph._replace(nodes=graph.nodes._replace(positions=positions)))

    forces = -jax.jit(jax.grad(lambda p: energy(p).sum()))(graph.nodes.positions)
    at_rest = energy(graph.nodes.positions)
    np.testing.assert_allclose(
        found["energy"], (at_rest - labels.energy) ** 2 * graph.globals.mask, rtol=1e-4
    )
    delta = objective.displacements.draw(jax.random.split(KEY)[0], labels, graph, N_ATOM)
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
    """A surface 1.2 times the prior, tilted by 1 eV/Å: relative deviation 0.2, whatever fraction of the
    structures stays where it is for other losses."""
    graph, labels = batch_of(dataset, [2, 7, -1, 6, 7], room=16)
    stable, model, prior = graph.nodes.positions, make_potential(CONFIG), labels.prior
    assert prior is not None

    def energy(params, joined):
        """Displaced structures come first; behind them the same or fewer, displaced the other way."""
        place = joined.nodes.positions
        total = jnp.sum(place[:, 0] * joined.nodes.mask)
        for own in (place[: len(stable)], place[len(stable) :]):
            total += 1.2 * prior_energy(stable.at[: len(own)].set(own), stable, prior)
        return jnp.zeros(len(joined.n_node)).at[0].set(total)

    tilted = dataclasses.replace(model, energy=energy)
    moved = Displacements(noise=0.1, still=0.5, both_ways=1)
    objective = Objective(displacements=moved).weighted(curvature=1.0)

    def curvatures(objective):
        compute = partial(objective, tilted, {}, graph, labels, n_atom=N_ATOM)
        return jax.jit(jax.vmap(lambda key: compute(key=key)["curvature"]))(jax.random.split(KEY, 20))

    found = np.asarray(curvatures(objective))
    expected = 2 * 0.09 * (np.sqrt(1 + 0.04 / 0.09) - 1)
    np.testing.assert_allclose(found[:, [0, 1, 3, 4]], expected, rtol=1e-2)
    assert not found[:, [2, 5]].any()


def test_one_of_eight_structures_is_displaced_both_ways_wherever_it_is(dataset):
    """As on one device; on the second of two, whose first place is the fifth of the batch: at its fourth."""
    potential, objective = make_potential(CONFIG), Objective().weighted(curvature=1.0)
    graph, labels = batch_of(dataset, [7, 4, 6, 2, 3], room=16)
    params = jax.jit(potential.init)(jax.random.key(0), graph)
    compute = jax.jit(partial(objective, potential, n_atom=N_ATOM, key=KEY))
    first = np.asarray(compute(params, graph, labels)["curvature"])
    assert first[0] > 0 and not first[1:].any()
    second = labels._replace(place=jnp.where(labels.place < 0, -1, labels.place + 5))
    other = np.asarray(compute(params, graph, second)["curvature"])
    assert other[3] > 0 and not other[[0, 1, 2, 4, 5]].any()
    moved, own = batch_of(dataset, [2, 4, 6, 7, 3], room=16)
    assert float(compute(params, moved, own)["curvature"][0]) == pytest.approx(other[3], rel=1e-4)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ENERGY_ONLY.weighted(bound=-1.0), "weight must be finite and not negative, got -1.0"),
        (lambda: ForceLoss(float("nan")), "weight must be finite and not negative, got nan"),
        (lambda: MaskLoss(rate=1.5), "rate must be from 0 to 1, got 1.5"),
        (lambda: ENERGY_ONLY.weighted(energy=0.0), "losses must have at least one with a weight"),
    ],
)
def test_impossible_losses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_loss_without_a_call_is_none():
    with pytest.raises(TypeError, match="abstract"):
        type("Nothing", (Loss,), {})()


def test_what_an_objective_needs():
    assert not ENERGY_ONLY.needs and ENERGY_ONLY.margin == 0
    assert OBJECTIVES["paper"].needs == {Need.FORCES_AT_REST, Need.DISPLACED, Need.STABLE}
    assert OBJECTIVES["physics"].needs > {Need.PRIOR, Need.BOTH_WAYS, Need.DIATOMICS}


@dataclasses.dataclass(frozen=True)
class MeanEnergy(Loss):
    """(E / E_scale)², of a user."""

    scale: float = 2.0

    def __call__(self, evaluation, labels, graph):
        return (evaluation.rest.energy / self.scale) ** 2 * graph.globals.mask


@dataclasses.dataclass(frozen=True)
class OwnObjective(Objective):
    """With one loss more."""

    mean: MeanEnergy = dataclasses.field(default_factory=lambda: MeanEnergy(3.0))


def test_a_loss_of_a_user_is_one_more_field(both):
    graph, labels = both
    potential = make_potential(CONFIG)
    params = jax.jit(potential.init)(jax.random.key(0), graph)
    objective = OwnObjective()
    found = jax.jit(partial(objective, potential, n_atom=N_ATOM, key=KEY))(params, graph, labels)
    energy = np.asarray(potential.energy(params, graph))
    np.testing.assert_allclose(found["mean"], (energy / 2) ** 2, rtol=1e-5)
    assert float(objective.total({"energy": 1.0, "mean": 2.0})) == 7.0
