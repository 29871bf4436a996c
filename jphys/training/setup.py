"""From a config to everything that a run needs: data on the device, model, plan of batches, step."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.data.loader import make_dataset, plan_epoch
from jphys.data.structures import Structures, graphs, take
from jphys.losses import Need, Objective
from jphys.models import ModelConfig, Potential, make_potential
from jphys.models.potential import Params
from jphys.training.batches import Batches, require_grain, resident, streamed
from jphys.training.config import TrainConfig, check_heads, check_losses, choose_objective
from jphys.training.optimizer import make_optimizer
from jphys.training.parts import Data, split_data, trained_on
from jphys.training.step import Step, TrainState, data_mesh, make_step, start_state

__all__ = ["Run", "prepare"]


@dataclasses.dataclass(frozen=True)
class Run:
    """All that the training loop works on."""

    config: TrainConfig  # with the losses of its objective where it named none
    losses: Objective
    data: Data
    potential: Potential
    batches: Batches  # of all epochs
    steps_per_epoch: int
    state: TrainState
    step: Step
    key: jax.Array
    mesh: Mesh

    @property
    def n_compilations(self) -> int:
        """Programs that the step was compiled into so far; a whole run needs one."""
        return self.step.n_compilations


def fitted_model(config: TrainConfig, data: Data) -> ModelConfig:
    """The model's config with the references of the data and, where it has one, their spread per atom.

    Raises:
        ValueError: for a model that has them already.
    """
    if config.model.reference_energies:
        raise ValueError(
            "model.reference_energies must be empty, they are fitted on the training part, "
            f"got {config.model.reference_energies}"
        )
    spread = np.sqrt(np.mean((data.train.energy / data.train.structures.n_atoms) ** 2))
    return config.model.fitted(data.references, float(spread))


def with_losses(config: TrainConfig, data: Data) -> tuple[TrainConfig, Objective]:
    """The config with its losses, those of its objective for the data where it has none; and they alone.

    Raises:
        ValueError: for an objective or losses that the data cannot serve.
    """
    kind = {
        "has_forces": data.train.structures.forces is not None,
        "periodic": bool(data.train.structures.cell.any()),
        "stable": data.train.scale is None,
    }
    name, losses = config.objective, config.losses
    if losses is None:
        name, losses = choose_objective(name, **kind)
    check_losses(losses, **kind)
    return dataclasses.replace(config, objective=name, losses=losses), losses


def refitted(init: Potential, data: Data) -> ModelConfig:
    """The config of a trained model with the references of other data; its scale belongs to its parameters.
    Whether those hold the zero-point energy nobody said.

    Raises:
        ValueError: for elements that the model was not trained on.
    """
    known, present = dict(init.config.reference_energies), set(data.references)
    if known and present - set(known):
        raise ValueError(
            f"init must know the elements of the data, {sorted(present)}, got those of {sorted(known)}"
        )
    references = tuple(sorted(data.references.items()))
    return dataclasses.replace(init.config, reference_energies=references, zero_point=None)


def prepare(
    config: TrainConfig,
    given: Structures | Data | None = None,
    init: tuple[Potential, Params] | None = None,
) -> Run:
    """Data, model, plan and compiled-once step of a run.

    Args:
        config: the run; its objective, or its `losses` where it names them, must fit the data.
        given: the data where it is already at hand; split where that is done.
        init: a potential and the parameters to start from, in place of a new one by `config.model`.

    Raises:
        ValueError: for an objective, losses or a model that the data cannot serve, or too little data.
        ImportError: for a stream where Grain is not installed.
    """
    if config.stream:
        require_grain()  # before anything long begins
    data = given if isinstance(given, Data) else split_data(trained_on(config, given), config.seed)
    config, losses = with_losses(config, data)
    model = fitted_model(config, data) if init is None else refitted(init[0], data)
    parts = (data.train, data.valid, data.test)
    present = {int(z) for part in parts for z in np.unique(part.structures.species)}
    model.check_data(present, has_bonds=bool(data.train.structures.n_bonds.any()))
    potential, mesh = make_potential(model), data_mesh()
    check_heads(losses, potential)
    dataset = make_dataset(
        data.train.structures,
        data.train.energy,
        cutoff=potential.cutoff,
        felt_edges=potential.felt_edges,
        scale=data.train.scale,
        margin=losses.margin,
        with_prior=Need.PRIOR in losses.needs,
    )
    sizes, shards = data.train.structures.n_atoms, mesh.size
    epochs = [
        plan_epoch(sizes, config.batch_size, shards, config.seed, epoch) for epoch in range(config.epochs)
    ]
    source = streamed if config.stream else resident
    batches = source(dataset, np.concatenate(epochs), mesh)
    if init is None:
        params = start_parameters(potential, data.train.structures, config.seed)
    else:
        params = jax.tree.map(np.array, init[1])  # copies: the step gives the memory of its state away
    optimizer = make_optimizer(config, len(batches))
    step = make_step(potential, losses, optimizer, int(sizes.max()), config.average, mesh)
    return Run(
        config=config,
        losses=losses,
        data=data,
        potential=potential,
        batches=batches,
        steps_per_epoch=len(epochs[0]),
        state=jax.device_put(start_state(params, optimizer), NamedSharding(mesh, PartitionSpec())),
        step=step,
        key=jax.random.key(config.seed),
        mesh=mesh,
    )


def start_parameters(potential: Potential, structures: Structures, seed: int):
    """Initial parameters, drawn with the run's seed; one structure tells their shapes."""
    (graph,) = graphs(take(structures, np.arange(1)), cutoff=potential.cutoff)
    # Runs once: what XLA's optimisations take is longer than what they save.
    init = jax.jit(potential.init, compiler_options={"xla_backend_optimization_level": 0})
    return init(jax.random.fold_in(jax.random.key(seed), 1), graph)
