"""The optimiser: Muon for matrices, AdamW for all else, on a few large arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib

from jphys.training.config import TrainConfig

__all__ = ["make_optimizer", "stacked"]

# Newton-Schulz coefficients of Muon, a row per iteration: given but once, optax unrolls the iterations,
# five times as many kernels to compile.
ITERATIONS = ((3.4445, -4.7750, 2.0315),) * 5


def make_optimizer(config: TrainConfig, n_steps: int):
    """Muon for matrices, AdamW for all else, or AdamW alone; gradients clipped; the config's schedule.

    Muon (K. Jordan et al. 2024) makes the update of a matrix orthogonal: every direction is learnt at the
    same pace. At equal epochs it leaves a third less restoring loss than AdamW (docs/log.md).
    """
    warmup = min(max(n_steps // 50, 1), 500)
    schedule: Any = config.learning_rate
    if config.schedule == "cosine":
        end = 0.005 * config.learning_rate
        schedule = optax.warmup_cosine_decay_schedule(
            0.0, config.learning_rate, warmup, max(n_steps, warmup + 1), end
        )
    if config.optimizer == "adam":
        rule = optax.adamw(schedule, weight_decay=config.weight_decay)
    else:
        rule = optax.contrib.muon(
            schedule,
            ns_coeffs=ITERATIONS,
            weight_decay=config.weight_decay,
            adam_weight_decay=config.weight_decay,
            muon_weight_dimension_numbers=_last_two_axes,
        )
    return stacked(optax.chain(optax.clip_by_global_norm(config.clip), rule))


def _last_two_axes(tree):
    matrix = optax.contrib.MuonDimensionNumbers(reduction_axis=1, output_axis=2)
    return jax.tree.map(lambda array: matrix if array.ndim == 3 else None, tree)


def stacked(inner: optax.GradientTransformation) -> optax.GradientTransformation:
    """`inner`, seeing matrices of one shape as one stack (k, n, m) and all other parameters as one vector.

    A model has a hundred small parameters; updating them one by one takes longer than the arithmetic.
    """

    def init(params):
        return inner.init(_stack(params))

    def update(updates, state, params=None):
        kept = None if params is None else _stack(params)
        made, state = inner.update(_stack(updates), state, kept)
        return _unstack(made, updates), state

    return optax.GradientTransformation(init, update)


def _places(tree) -> dict[str, list[int]]:
    """Numbers of the leaves that go into each stack; the shape names it."""
    places: dict[str, list[int]] = {}
    for number, leaf in enumerate(jax.tree.leaves(tree)):
        places.setdefault("x".join(map(str, leaf.shape)) if leaf.ndim == 2 else "vector", []).append(number)
    return places


def _stack(tree) -> dict[str, jax.Array]:
    leaves = jax.tree.leaves(tree)

    def join(name, numbers):
        chosen = [leaves[number] for number in numbers]
        return jnp.concatenate([jnp.ravel(a) for a in chosen]) if name == "vector" else jnp.stack(chosen)

    return {name: join(name, numbers) for name, numbers in _places(tree).items()}


def _unstack(stacks: Any, like):
    """The tree of the shape of `like` whose stacks these are."""
    leaves, structure = jax.tree.flatten(like)
    found = list(leaves)
    for name, numbers in _places(like).items():
        parts = stacks[name]
        if name == "vector":
            parts = jnp.split(parts, np.cumsum([leaves[number].size for number in numbers])[:-1])
        for number, part in zip(numbers, parts):
            found[number] = jnp.reshape(part, leaves[number].shape)
    return jax.tree.unflatten(structure, found)
