"""The optimiser's updates: orthogonal for matrices, of AdamW for the rest, the same stacked as one by one."""

from typing import Any

import jax
import numpy as np
import optax
import optax.contrib
import pytest

from jphys.training.config import TrainConfig
from jphys.training.optimizer import make_optimizer, stacked

RNG = np.random.default_rng(3)
SHAPES = {
    "a": (6, 4),
    "b": {"kernel": (6, 4), "bias": (4,)},
    "c": (4, 6),
    "d": (),
    "e": (1, 4),
    "f": (2, 3, 2),
}


def arrays():
    """Parameters of several shapes, two of them matrices of one shape, at most one of a kind otherwise."""
    return jax.tree.map(
        lambda shape: RNG.normal(size=shape).astype(np.float32),
        SHAPES,
        is_leaf=lambda s: isinstance(s, tuple),
    )


def config(learning_rate: float, weight_decay: float, clip: float) -> TrainConfig:
    return TrainConfig(learning_rate=learning_rate, weight_decay=weight_decay, clip=clip)


def as_dict(tree) -> Any:
    """A tree of updates, which optax types as anything, as the dict that it is."""
    return dict(tree)


def test_stacked_gives_the_updates_of_each_array_alone():
    """AdamW treats every number alone, so that any stacking must give what the tree itself gives."""
    params, adam = arrays(), optax.adamw(1e-2, weight_decay=0.1)
    ours, theirs = stacked(adam), adam
    our_state, their_state = ours.init(params), theirs.init(params)
    for _ in range(3):
        gradient = arrays()
        found, our_state = ours.update(gradient, our_state, params)
        expected, their_state = theirs.update(gradient, their_state, params)
        assert jax.tree.structure(found) == jax.tree.structure(params)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9), found, expected)


def test_matrices_of_a_stack_are_orthogonalised_one_by_one():
    """The same updates as optax's Muon on the unstacked tree, without clipping and in the first steps."""
    params = {name: value for name, value in arrays().items() if name != "f"}
    ours, found, expected = make_optimizer(config(1e-2, 0.1, 1e9), 100), None, None
    schedule = optax.warmup_cosine_decay_schedule(0.0, 1e-2, 2, 100, 5e-5)
    theirs = optax.contrib.muon(schedule, weight_decay=0.1, adam_weight_decay=0.1)
    state, their_state = ours.init(params), theirs.init(params)
    for _ in range(3):
        gradient = {name: value for name, value in arrays().items() if name != "f"}
        found, state = ours.update(gradient, state, params)
        expected, their_state = theirs.update(gradient, their_state, params)
    found_, expected_ = as_dict(found), as_dict(expected)
    for name in ("a", "c", "d", "e"):
        np.testing.assert_allclose(found_[name], expected_[name], rtol=2e-4, atol=1e-7)
    np.testing.assert_allclose(found_["b"]["kernel"], expected_["b"]["kernel"], rtol=2e-4, atol=1e-7)


def test_matrices_get_orthogonal_updates():
    """Muon: the singular values of an update are alike, whatever those of the gradient."""
    optimizer = make_optimizer(config(1e-3, 0.0, 10.0), 100)
    rng = np.random.default_rng(0)
    left, right = (np.linalg.qr(rng.normal(size=(8, 8)))[0] for _ in range(2))
    gradient = ((left * np.geomspace(1.0, 0.1, 8)) @ right).astype(np.float32)
    params = {"kernel": np.zeros((8, 8), np.float32), "bias": np.zeros(8, np.float32)}
    state, update = optimizer.init(params), {}
    for _ in range(3):
        updates, state = optimizer.update({"kernel": gradient, "bias": gradient[0]}, state, params)
        update = jax.device_get(dict(updates))  # pyright: ignore[reportCallIssue, reportArgumentType]
    values = np.linalg.svd(np.asarray(update["kernel"]), compute_uv=False)
    assert values.max() / values.min() < 2.5 and values.mean() == pytest.approx(1e-3, rel=0.3)
    np.testing.assert_array_equal(np.sign(update["bias"]), -np.sign(gradient[0]))


def test_the_schedule_warms_up_and_falls():
    """From the sizes of Nesterov-AdamW's steps of a bias on a constant gradient: about the learning rate."""
    optimizer = make_optimizer(config(1e-3, 0.0, 1.0), 100)
    params = np.zeros(1, np.float32)
    state, sizes = optimizer.init(params), []
    for _ in range(100):
        update, state = optimizer.update(np.full(1, 0.5, np.float32), state, params)
        sizes.append(-np.asarray(update).item())
    assert sizes[0] == 0 and np.argmax(sizes) == 2
    assert max(sizes) == pytest.approx(1e-3, rel=0.1)
    assert sizes[50] == pytest.approx(5e-4, rel=0.1) and sizes[-1] < 2e-5
