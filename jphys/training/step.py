"""One jitted training step over a device mesh with one data axis."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.losses import Objective
from jphys.training.batches import Batch

__all__ = ["make_step", "start_state"]


class TrainState(NamedTuple):
    """Everything that a run continues from."""

    step: jax.Array  # () int32
    params: Any
    average: Any  # exponential moving average of params: what is evaluated and saved
    opt_state: Any
    rate: jax.Array  # () factor on every update, which plateaus make smaller


class StepReport(NamedTuple):
    """What one step says; it stays on the device until the host asks."""

    losses: dict[str, jax.Array]  # () each, unweighted means, and their weighted sum "total"
    gradient_norm: jax.Array  # ()
    finite: jax.Array  # (batch_size,) bool, per structure in the order of the batch


@dataclasses.dataclass
class Step:
    """A compiled step: (state, batch, key) -> (state, StepReport)."""

    compiled: Callable[..., tuple[TrainState, StepReport]]
    n_compilations: int = 0  # programs that it was compiled into so far

    def __call__(self, state: TrainState, batch: Batch, key) -> tuple[TrainState, StepReport]:
        return self.compiled(state, batch, key)


def data_mesh() -> Mesh:
    """All devices along one axis `data`."""
    return Mesh(np.array(jax.devices()), ("data",))


def start_state(params, optimizer) -> TrainState:
    """State before the first step."""
    copy = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, optimizer.init(params), jnp.ones(()))


def make_step(potential, objective: Objective, optimizer, n_atom: int, decay: float, mesh: Mesh) -> Step:
    """The step of a run, to be compiled once.

    Args:
        potential: the model.
        objective: the losses.
        optimizer: an optax transformation.
        n_atom: atoms of the largest structure.
        decay: of the parameter average, at most; it starts faster.
        mesh: the shards of a batch are spread over its data axis.

    A step with a non-finite loss or gradient leaves the state as it was.
    """
    everywhere, spread = PartitionSpec(), PartitionSpec("data")
    on_all = NamedSharding(mesh, everywhere)  # every host can read it

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(everywhere, spread, everywhere),
        out_specs=(everywhere, everywhere, spread),
    )
    def sums(params, batch: Batch, key):
        graph, labels = jax.tree.map(lambda rows: rows[0], batch)  # of this device
        found = objective(potential, params, graph, labels, n_atom=n_atom, key=key)
        finite = jnp.stack([jnp.isfinite(values) for values in found.values()]).all(axis=0)
        totals = {name: jnp.sum(values) for name, values in found.items()}
        return *jax.lax.psum((totals, jnp.sum(labels.index >= 0)), "data"), finite[:-1]

    def loss(params, batch: Batch, key):
        totals, count, finite = sums(params, batch, key)
        means = {name: value / jnp.maximum(count, 1) for name, value in totals.items()}
        total = objective.total(means)
        return total, (means | {"total": total}, finite)

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, batch: Batch, key):
        made.n_compilations += 1  # this line runs once per trace
        step_key = jax.random.fold_in(key, state.step)
        (total, (means, finite)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, batch, step_key
        )
        norm = optax.tree.norm(gradient)
        updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
        params = optax.apply_updates(state.params, optax.tree.scale(state.rate, updates))
        keep = jnp.minimum(decay, (1.0 + state.step) / (10.0 + state.step))
        average = jax.tree.map(lambda a, p: keep * a + (1 - keep) * p, state.average, params)
        new = TrainState(state.step + 1, params, average, opt_state, state.rate)
        good = jnp.isfinite(total) & jnp.isfinite(norm)
        kept = jax.tree.map(lambda n, o: jnp.where(good, n, o), new, state)
        return kept, StepReport(means, norm, jax.lax.with_sharding_constraint(finite, on_all))

    made = Step(step)
    return made
