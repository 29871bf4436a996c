"""Training on scaled structures: bond-typed models, auxiliary losses, plateaus, early stopping."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys import checkpoint, runs
from jphys.auxiliary import auxiliary_loss, scale_density
from jphys.data.qm9 import load_small
from jphys.data.scaled import SCALES, ScaledSet, scale_structures, spacings, split_shapes
from jphys.data.scaled import take as take_points
from jphys.data.structures import take
from jphys.graph import batch, make_graph, pad
from jphys.losses import ENERGY_ONLY, OBJECTIVES
from jphys.models import MessagePassingConfig
from jphys.training.config import TrainConfig
from jphys.training.loop import learning_rate_factor, train
from jphys.training.parts import scaled_data
from jphys.training.setup import prepare

MODEL = MessagePassingConfig(channels=8, steps=2, n_basis=8, auxiliary=("atoms", "orbitals", "scale"))
CONFIG = TrainConfig(
    epochs=12,
    batch_size=8,
    learning_rate=0.03,
    average=0.5,
    validate_every=1,
    log_every=5,
    model=MODEL,
    losses=ENERGY_ONLY.weighted(auxiliary=0.3),
)


@pytest.fixture(scope="module")
def data():
    """30 molecules at five scales; the energy is −2 eV per bond at the stable distances, less elsewhere."""
    shapes = take(load_small(), np.arange(20, 50))
    shape, scale = np.repeat(np.arange(30), 5), np.tile(SCALES[::2], 30)
    made = scale_structures(take(shapes, shape), scale)
    made.energy[:] = -2.0 * made.n_bonds * (1 - (1 - np.exp(-2 * (scale - 1))) ** 2)
    points = ScaledSet(made, shape, scale, spacings(shapes)[shape], {}, 0)
    return scaled_data(*(take_points(points, part) for part in split_shapes(points, seed=0)))


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    """A whole run: its folder and what it was made of."""
    run, folder = prepare(CONFIG, data), tmp_path_factory.mktemp("run")
    assert train(run, folder)
    return run, folder


def test_a_run_learns_and_compiles_once(finished, data):
    run, folder = finished
    lines = runs.read_metrics(folder)
    first, last = lines[0]["losses"], lines[-1]["losses"]
    assert last["energy"] < 0.5 * first["energy"] and last["auxiliary"] < first["auxiliary"]
    assert set(lines[-1]["valid"]) == {"mae_energy_mev"}
    assert run.n_compilations == 1
    potential, _ = checkpoint.load(folder / "best")
    assert potential.config.energy_scale == pytest.approx(
        np.sqrt(np.mean((data.train.energy / data.train.structures.n_atoms) ** 2))
    )
    assert len(run.batches.dataset.rows.stored.edges.counts) == len(data.train.energy)
    np.testing.assert_array_equal(
        run.batches.dataset.rows.stored.edges.counts, 2 * data.train.structures.n_bonds
    )


def test_a_stopped_run_goes_on_as_if_nothing_had_happened(finished, data, tmp_path):
    assert not train(prepare(dataclasses.replace(CONFIG, stop_after_minutes=1e-9), data), tmp_path)
    assert train(prepare(CONFIG, data), tmp_path)
    ours, theirs = (runs.read_metrics(folder) for folder in (tmp_path, finished[1]))
    assert [line["losses"] for line in ours] == [line["losses"] for line in theirs]
    assert [line.get("valid") for line in ours] == [line.get("valid") for line in theirs]


def test_early_stopping(data, tmp_path):
    """A learning rate of almost nothing and no average: validation stands still, up to rounding."""
    config = dataclasses.replace(CONFIG, epochs=30, learning_rate=1e-30, early_stop=3, schedule="plateau")
    assert train(prepare(config, data), tmp_path)
    scores = [line["valid"]["mae_energy_mev"] for line in runs.read_metrics(tmp_path) if "valid" in line]
    assert len(scores) == int(np.argmin(scores)) + 4 < 30
    assert train(prepare(config, data), tmp_path)  # nothing is left to do
    assert len(runs.read_metrics(tmp_path)) == 3 * len(scores)


def test_plateaus_lower_the_learning_rate():
    config = dataclasses.replace(CONFIG, schedule="plateau", plateau_patience=2)
    factor, seen, scores = jnp.ones(()), [], []
    for score in (3.0, 2.0, 2.5, 2.5, 2.5, 2.5, 1.0, 1.5):
        scores.append(score)
        factor = learning_rate_factor(config, scores, factor)
        seen.append(float(factor))
    np.testing.assert_allclose(seen, [1, 1, 1, 0.6, 0.6, 0.36, 0.36, 0.36], rtol=1e-6)
    constant = learning_rate_factor(dataclasses.replace(config, schedule="cosine"), scores, factor)
    assert constant is factor


def test_the_factor_scales_the_updates(data):
    """Half the factor, half the first step of Adam."""
    run = prepare(dataclasses.replace(CONFIG, optimizer="adam", schedule="plateau"), data)
    start = jax.device_get(run.state.params)
    moved = []
    for factor in (1.0, 0.5):
        copy = jax.tree.map(jnp.copy, run.state)
        state, _ = run.step(copy._replace(rate=jnp.float32(factor)), run.batches[0], run.key)
        moved.append(jax.tree.map(lambda new, old: np.asarray(new) - old, state.params, start))
    whole, half = (np.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)]) for tree in moved)
    np.testing.assert_allclose(half, 0.5 * whole, rtol=2e-3, atol=2e-7)
    assert np.abs(whole).max() == pytest.approx(0.03, rel=1e-2)


def test_losses_for_stable_structures_are_refused(data):
    message = r"losses.zero_force.weight must be 0 for structures that are not all stable, got 1.0"
    with pytest.raises(ValueError, match=message):
        prepare(dataclasses.replace(CONFIG, losses=ENERGY_ONLY.weighted(zero_force=1.0)), data)


def test_estimates_of_elements_that_are_not_in_the_data_are_refused(data):
    """They would be trained on zeros, as those of H, C, N, O and F on a metal."""
    model = dataclasses.replace(MODEL, auxiliary_elements=(13, 29))
    message = r"auxiliary_elements must hold all elements of the data, \[1, 6, 7, 8.*\], got \(13, 29\)"
    with pytest.raises(ValueError, match=message):
        prepare(dataclasses.replace(CONFIG, model=model), data)


@pytest.mark.smoke
@pytest.mark.slow
def test_the_losses_of_stable_structures_train_it_too():
    """Energy, zero force, bound, restoring forces of displaced molecules; it cannot predict hidden atoms."""
    losses = OBJECTIVES["physics"].weighted(mask=0.0, zero_force=0.1)
    config = TrainConfig(epochs=1, batch_size=8, structures=40, model=MODEL, losses=losses)
    run = prepare(config, load_small())
    before = jax.device_get(run.state.params)
    state, _ = run.step(run.state, run.batches[0], run.key)  # the warm-up starts at zero
    state, report = run.step(state, run.batches[1], run.key)
    names = {"energy", "zero_force", "bound", "restore", "curvature", "diatomics", "total"}
    assert set(report.losses) == names
    assert np.isfinite(report.gradient_norm) and all(np.isfinite(v) for v in report.losses.values())
    moved = jax.tree.map(lambda new, old: np.any(np.asarray(new) != old), state.params, before)
    assert all(jax.tree.leaves({name: moved[name] for name in moved if not name.startswith("f_aux")}))
    with pytest.raises(ValueError, match=r"losses.mask.weight must be 0 for a model that has no head"):
        prepare(dataclasses.replace(config, losses=OBJECTIVES["physics"]), load_small())


def test_auxiliary_loss_by_hand():
    """Water and one padding graph: errors of one atom, of one element's orbitals, of a flat density."""
    water = make_graph([8, 1, 1], np.eye(3), bonds=[(0, 1, 1), (0, 2, 1)])
    graph = pad(batch([water]), 5, 10, 2)
    right = {
        "atoms": np.array([[2.0, 0, 1], [9, 9, 9]]),
        "orbitals": np.array([[1.0, 0, 5], [9, 9, 9]]),
        "scale": scale_density(np.array([1.1, 1.1])),
    }
    scale, columns = np.array([1.1, 0.0]), (1, 6, 8)
    np.testing.assert_allclose(auxiliary_loss(right, columns, scale, graph), [0, 0], atol=1e-12)
    wrong = dict(right, atoms=np.array([[3.0, 0, 1], [0, 0, 0]]))
    np.testing.assert_allclose(auxiliary_loss(wrong, columns, scale, graph), [1 / 9, 0], rtol=1e-6)
    wrong = dict(right, orbitals=np.array([[1.0, 5.0, 5], [0, 0, 0]]))
    np.testing.assert_allclose(auxiliary_loss(wrong, columns, scale, graph), [1.0, 0], rtol=1e-6)
    step = SCALES[1] - SCALES[0]
    density = np.exp(-0.5 * ((SCALES - 1.1) / step) ** 2)
    density /= density.sum()
    flat = {"scale": np.full((2, 10), 0.1)}
    np.testing.assert_allclose(
        auxiliary_loss(flat, columns, scale, graph)[0], ((0.1 - density) ** 2).sum(), rtol=1e-5
    )
    with pytest.raises(ValueError, match="scale must be given where it is estimated, got None"):
        auxiliary_loss(flat, columns, None, graph)
