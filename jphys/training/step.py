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

from jphys.data.loader import Budget, Dataset, take_batch
from jphys.losses import Objective

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
    finite: jax.Array  # (batch_size,) bool, per structure in the order of the plan


@dataclasses.dataclass
class Step:
    """A compiled step: (state, dataset, chosen, key) -> (state, StepReport)."""

    compiled: Callable[..., tuple[TrainState, StepReport]]
    n_compilations: int = 0  # programs that it was compiled into so far

    def __call__(self, state: TrainState, dataset: Dataset, chosen, key) -> tuple[TrainState, StepReport]:
        return self.compiled(state, dataset, chosen, key)


def data_mesh() -> Mesh:
    """All devices along one axis `data`."""
    return Mesh(np.array(jax.devices()), ("data",))


def start_state(params, optimizer) -> TrainState:
    """State before the first step."""
    copy = jax.tree.map(jnp.copy, params)
    return TrainState(jnp.zeros((), jnp.int32), params, copy, optimizer.init(params), jnp.ones(()))


def make_step(
    potential, objective: Objective, optimizer, budget: Budget, n_atom: int, decay: float, mesh: Mesh
) -> Step:
    """The step of a run, to be compiled once.

    Args:
        potential: the model.
        objective: the losses.
        optimizer: an optax transformation.
        budget: static sizes of one shard.
        n_atom: atoms of the largest structure.
        decay: of the parameter average, at most; it starts faster.
        mesh: the shards of `chosen` (n_shards, k) are spread over its data axis.

    A step with a non-finite loss or gradient leaves the state as it was.
    """
    everywhere, spread = PartitionSpec(), PartitionSpec("data")
    on_all = NamedSharding(mesh, everywhere)  # every host can read it

    @partial(
        jax.shard_map,
        mesh=mesh,
        in_specs=(everywhere, everywhere, spread, everywhere),
        out_specs=(everywhere, spread),
    )
    def sums(params, dataset, chosen, key):
        graph, labels = take_batch(dataset, chosen[0], budget)
        before = jax.lax.axis_index("data") * len(chosen[0])  # places of the batch on other devices
        labels = labels._replace(place=jnp.where(labels.place < 0, -1, labels.place + before))
        found = objective(potential, params, graph, labels, n_atom=n_atom, key=key)
        finite = jnp.stack([jnp.isfinite(values) for values in found.values()]).all(axis=0)
        return jax.lax.psum({name: jnp.sum(v) for name, v in found.items()}, "data"), finite[:-1]

    def loss(params, dataset, chosen, key):
        totals, finite = sums(params, dataset, chosen, key)
        count = jnp.maximum(jnp.sum(chosen >= 0), 1)
        means = {name: value / count for name, value in totals.items()}
        total = objective.total(means)
        return total, (means | {"total": total}, finite)

    @partial(jax.jit, donate_argnums=0)
    def step(state: TrainState, dataset: Dataset, chosen, key):
        made.n_compilations += 1  # this line runs once per trace
        step_key = jax.random.fold_in(key, state.step)
        (total, (means, finite)), gradient = jax.value_and_grad(loss, has_aux=True)(
            state.params, dataset, chosen, step_key
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
