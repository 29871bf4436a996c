"""The training step: compiled once, safe against non-finite losses, the same on any number of devices."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from jphys.compiling import quick_environment
from jphys.data.loader import make_dataset, plan_epoch, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.losses import OBJECTIVES, Need, Objective
from jphys.losses.displacements import Displacements
from jphys.models import TransformerConfig, make_potential
from jphys.training.batches import resident
from jphys.training.step import data_mesh, make_step, start_state

CONFIG = TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=4.0, max_z=9)
OBJECTIVE = Objective(displacements=Displacements(noise=0.2)).weighted(mask=0.1, bound=1.0)
N_ATOM, BATCH = 8, 4


@pytest.fixture(scope="module")
def parts():
    """Batches of two epochs over eleven molecules, and fresh parameters."""
    small = load_small()
    chosen = take(small, np.flatnonzero(small.n_atoms <= N_ATOM)[:11])
    dataset = make_dataset(chosen, np.linspace(-1, 1, 11), cutoff=4.0, margin=1.0, with_prior=False)
    plan = np.concatenate([plan_epoch(chosen.n_atoms, BATCH, 1, 0, epoch) for epoch in range(2)])
    batches = resident(dataset, plan, data_mesh())
    graph = jax.tree.map(lambda rows: rows[0], batches[0].graph)
    return batches, make_potential(CONFIG).init(jax.random.key(0), graph)


def as_numpy(tree):
    return jax.tree.map(lambda leaf: np.array(leaf), tree)


EVERYWHERE = NamedSharding(data_mesh(), PartitionSpec())


def fresh(params, optimizer):
    """A state of its own buffers, placed as a run places it: the step takes over those it is given."""
    return jax.device_put(start_state(as_numpy(params), optimizer), EVERYWHERE)


@pytest.fixture(scope="module")
def sgd():
    return optax.sgd(1e-3)


@pytest.fixture(scope="module")
def step(sgd):
    """One step with plain gradient descent, and how often its energy was traced."""
    potential, traces = make_potential(CONFIG), []

    def energy(params, graph):
        traces.append(1)
        return potential.energy(params, graph)

    counted = dataclasses.replace(potential, energy=energy)
    return make_step(counted, OBJECTIVE, sgd, N_ATOM, 0.9, data_mesh()), traces


def test_one_compilation_serves_all_batches(parts, step, sgd):
    batches, params = parts
    run, traces = step
    state, counts = fresh(params, sgd), []
    for number in range(4):
        state, report = run(state, batches[number], jax.random.key(1))
        assert np.isfinite(report.losses["total"]) and np.asarray(report.finite).all()
        counts.append(len(traces))
    assert (batches.plan[:4] < 0).any()  # an incomplete batch was among them
    assert counts[0] > 0 and counts == [counts[0]] * 4 and int(state.step) == 4


def test_losses_gradient_and_averages(parts, step, sgd):
    """λ-weighted means over the real structures; p − 0.001 g; average r·a + (1 − r)·p with
    r = min(0.9, (1 + n)/(10 + n)).
    """
    batches, params = parts
    state = fresh(params, sgd)
    average, now, potential = as_numpy(params), params, make_potential(CONFIG)
    chosen = jnp.asarray(batches.plan[2, 0])
    assert np.sum(chosen >= 0) == 3

    def total(params, n):
        graph, labels = take_batch(batches.dataset, chosen, batches.budget)
        key = jax.random.fold_in(jax.random.key(1), n)
        found = OBJECTIVE(potential, params, graph, labels, n_atom=N_ATOM, key=key)
        means = {name: values.sum() / 3 for name, values in found.items()}
        return means["energy"] + 0.1 * means["mask"] + 1.0 * means["bound"], means

    gradient_of = jax.jit(jax.value_and_grad(total, has_aux=True))
    for n in range(3):
        (expected, means), gradient = gradient_of(now, n)
        state, report = step[0](state, batches[2], jax.random.key(1))
        assert float(report.losses["total"]) == pytest.approx(float(expected), rel=1e-4)
        for name, value in means.items():
            assert float(report.losses[name]) == pytest.approx(float(value), rel=1e-4, abs=1e-7)
        norm = np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(gradient)))
        assert float(report.gradient_norm) == pytest.approx(norm, rel=1e-3)
        before, now, rate = as_numpy(now), as_numpy(state.params), min(0.9, (1 + n) / (10 + n))
        descended = jax.tree.map(lambda b, a: (b - a) / 1e-3, before, now)
        jax.tree.map(
            lambda ours, g: np.testing.assert_allclose(ours, g, rtol=1e-2, atol=2e-3), descended, gradient
        )
        average = jax.tree.map(lambda a, p, r=rate: r * a + (1 - r) * p, average, now)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6),
            as_numpy(state.average),
            average,
        )


def test_a_broken_structure_leaves_the_state_alone_and_is_named(parts, step, sgd):
    batches, params = parts
    broken = int(batches.members(0)[2])
    energy = batches.dataset.energy.at[broken].set(np.nan)
    bad = dataclasses.replace(batches, dataset=batches.dataset._replace(energy=energy))
    state = fresh(params, sgd)
    before = as_numpy(state)
    state, report = step[0](state, bad[0], jax.random.key(1))
    assert np.isnan(report.losses["total"])
    np.testing.assert_array_equal(report.finite, np.arange(BATCH) != 2)
    jax.tree.map(np.testing.assert_array_equal, as_numpy(state), before)
    state, report = step[0](state, batches[0], jax.random.key(1))
    assert np.asarray(report.finite).all() and int(state.step) == 1


SCRIPT = """
import json, sys
import jax, numpy as np
from jax.sharding import Mesh
from jphys.data.loader import make_dataset, plan_epoch, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.models import TransformerConfig, make_potential
from jphys.losses import OBJECTIVES
from jphys.training.config import TrainConfig
from jphys.training.optimizer import make_optimizer
from jphys.training.batches import resident
from jphys.training.step import make_step, start_state

small = load_small()
chosen = take(small, np.flatnonzero(small.n_atoms <= 8)[:21])
dataset = make_dataset(chosen, np.linspace(-1, 1, 21), cutoff=4.0, margin=1.0, with_prior=True)
potential = make_potential(TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=4.0, max_z=9))
found = {}
for count in (1, 4):
    mesh = Mesh(np.array(jax.devices()[:count]), ("data",))
    plan = np.concatenate([plan_epoch(chosen.n_atoms, 8, count, 0, epoch) for epoch in range(2)])
    batches = resident(dataset, plan, mesh)
    graph = jax.tree.map(lambda rows: np.asarray(rows)[0], batches[0].graph)
    params = potential.init(jax.random.key(0), graph)
    optimizer = make_optimizer(TrainConfig(learning_rate=1e-3, weight_decay=1e-4, clip=1.0), 50)
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    state = jax.device_put(jax.device_get(start_state(params, optimizer)), everywhere)
    step = make_step(potential, OBJECTIVES["physics"], optimizer, 8, 0.9, mesh)
    rows = []
    for number in range(5):
        state, report = step(state, batches[number], jax.random.key(3))
        rows.append({name: float(value) for name, value in report.losses.items()})
        rows[-1]["norm"] = float(report.gradient_norm)
    found[count] = rows
print(json.dumps({"devices": jax.device_count(), "losses": found}))
"""


@pytest.mark.smoke
@pytest.mark.slow
def test_four_devices_give_the_losses_of_one():
    """In a process of its own, with four virtual devices; the incomplete batch is among the five."""
    quick = os.environ | quick_environment()
    environment = quick | {
        "XLA_FLAGS": f"{quick.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": str(Path(__file__).parents[2]),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    record = json.loads(done.stdout)
    assert record["devices"] == 4
    one, four = record["losses"]["1"], record["losses"]["4"]
    assert len(one) == len(four) == 5
    assert set(one[0]) == {"energy", "mask", "bound", "restore", "curvature", "diatomics", "total", "norm"}
    for ours, theirs in zip(four, one, strict=True):
        for name, value in theirs.items():
            # The bound is a difference of energies of about 1 eV, whose spacing in float32 is 1.2e-7 eV.
            absolute = 1.2e-7 if name == "bound" else 1e-9
            assert ours[name] == pytest.approx(value, rel=2e-4, abs=absolute), name
    assert one[0]["total"] != one[1]["total"]
    assert Need.PRIOR in OBJECTIVES["physics"].needs
