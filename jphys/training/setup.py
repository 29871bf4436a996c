"""From a config to everything that a run needs: data on the device, model, plan of batches, step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.data import references, sources
from jphys.data.loader import Budget, Dataset, budget_for, make_dataset, plan_epoch, take_batch
from jphys.data.splits import split
from jphys.data.structures import Structures, take
from jphys.models import Potential, make_potential
from jphys.training.config import TrainConfig, check_losses
from jphys.training.optimizer import make_optimizer
from jphys.training.step import TrainState, data_mesh, make_step, start_state


@dataclasses.dataclass(frozen=True)
class Part:
    """Structures of one part of the split, with their energies relative to the references."""

    structures: Structures
    energy: np.ndarray  # (m,) float64 eV


@dataclasses.dataclass(frozen=True)
class Data:
    """The three parts and the per-element energies fitted on the training part."""

    train: Part
    valid: Part
    test: Part
    references: dict[int, float]


@dataclasses.dataclass(frozen=True)
class Run:
    """All that the training loop works on."""

    config: TrainConfig
    data: Data
    potential: Potential
    dataset: Dataset
    plan: np.ndarray  # (epochs · batches, n_shards, batch_size / n_shards) structure numbers
    steps_per_epoch: int
    state: TrainState
    step: Callable[..., Any]
    key: jax.Array
    mesh: Mesh


def split_data(structures: Structures, seed: int) -> Data:
    """80/5/15 by seeded permutation; references by least squares on the training part alone."""
    train, valid, test = (take(structures, chosen) for chosen in split(len(structures), seed=seed))
    fitted = references.fit(train)

    def part(chosen: Structures) -> Part:
        return Part(chosen, references.residual_energies(chosen, fitted))

    return Data(part(train), part(valid), part(test), fitted)


def prepare(config: TrainConfig, structures: Structures | None = None) -> Run:
    """Data, model, plan and compiled-once step of a run.

    Args:
        config: the run; its `losses` must fit the data.
        structures: the data, where it is already at hand.
    """
    structures = sources.load(config.data, config.source) if structures is None else structures
    check_losses(
        config.losses, has_forces=structures.forces is not None, periodic=bool(structures.cell.any())
    )
    if config.structures:
        chosen = np.random.default_rng(config.seed).permutation(len(structures))[: config.structures]
        structures = take(structures, np.sort(chosen))
    data = split_data(structures, config.seed)
    model = dataclasses.replace(config.model, reference_energies=tuple(sorted(data.references.items())))
    potential, mesh = make_potential(model), data_mesh()
    dataset = make_dataset(
        data.train.structures,
        data.train.energy,
        cutoff=model.cutoff,
        margin=config.losses.margin,
        with_prior=config.losses.uses_prior,
    )
    sizes, shards = data.train.structures.n_atoms, mesh.size
    epochs = [plan_epoch(sizes, config.batch_size, shards, config.seed, e) for e in range(config.epochs)]
    plan, everywhere = np.concatenate(epochs), NamedSharding(mesh, PartitionSpec())
    budget = budget_for(dataset, plan)
    params = start_parameters(potential, dataset, plan[0, 0], budget, config.seed)
    optimizer = make_optimizer(config.learning_rate, config.weight_decay, config.clip, len(plan))
    step = make_step(potential, config.losses, optimizer, budget, int(sizes.max()), config.average, mesh)
    return Run(
        config=config,
        data=data,
        potential=potential,
        dataset=jax.device_put(dataset, everywhere),
        plan=plan,
        steps_per_epoch=len(epochs[0]),
        state=jax.device_put(start_state(params, optimizer), everywhere),
        step=step,
        key=jax.random.key(config.seed),
        mesh=mesh,
    )


def start_parameters(potential: Potential, dataset: Dataset, chosen: np.ndarray, budget: Budget, seed: int):
    """Initial parameters, drawn with the run's seed."""
    graph, _ = jax.jit(lambda rows: take_batch(dataset, rows, budget))(chosen)
    return jax.jit(potential.init)(jax.random.fold_in(jax.random.key(seed), 1), graph)
