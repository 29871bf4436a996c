"""From a config to everything that a run needs: data on the device, model, plan of batches, step."""

import dataclasses

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.data import references, sources
from jphys.data.loader import Dataset, budget_for, make_dataset, plan_epoch
from jphys.data.scaled import ScaledSet
from jphys.data.splits import split
from jphys.data.structures import Structures, graphs, take
from jphys.models import MessagePassingConfig, Potential, make_potential
from jphys.objectives import members_twice
from jphys.training.config import TrainConfig, check_losses
from jphys.training.optimizer import make_optimizer
from jphys.training.step import Step, TrainState, data_mesh, make_step, start_state


@dataclasses.dataclass(frozen=True)
class Part:
    """Structures of one part of the split, with their energies relative to the references."""

    structures: Structures
    energy: np.ndarray  # (m,) float64 eV
    scale: np.ndarray | None = (
        None  # (m,) relative to the stable distances; None: all are stable, or forces known
    )


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
    step: Step
    key: jax.Array
    mesh: Mesh

    @property
    def n_compilations(self) -> int:
        """Programs that the step was compiled into so far; a whole run needs one."""
        return self.step.n_compilations


def split_data(structures: Structures, seed: int) -> Data:
    """80/5/15 by seeded permutation; references by least squares on the training part alone."""
    train, valid, test = (take(structures, chosen) for chosen in split(len(structures), seed=seed))
    return referenced(train, valid, test)


def scaled_data(train: ScaledSet, valid: ScaledSet, test: ScaledSet) -> Data:
    """The parts of a set of scaled structures, split by whoever made it."""
    parts = train, valid, test
    return referenced(*(part.structures for part in parts), scales=[part.scale for part in parts])


def referenced(train: Structures, valid: Structures, test: Structures, scales=(None, None, None)) -> Data:
    """The parts with energies relative to references fitted by least squares on the training part alone."""
    fitted = references.fit(train)
    parts = [
        Part(part, references.residual_energies(part, fitted), scale)
        for part, scale in zip((train, valid, test), scales)
    ]
    return Data(parts[0], parts[1], parts[2], fitted)


def trained_on(config: TrainConfig, structures: Structures | None) -> Structures:
    """The structures, or those that the config names; as many as the config wants."""
    structures = sources.load(config.data, config.source) if structures is None else structures
    if not config.structures:
        return structures
    chosen = np.random.default_rng(config.seed).permutation(len(structures))[: config.structures]
    return take(structures, np.sort(chosen))


def fitted_model(config: TrainConfig, data: Data):
    """The model's config with the references of the data and, where it has one, their spread per atom.

    Raises:
        ValueError: for a model that the data cannot serve.
    """
    if config.model.reference_energies:
        raise ValueError(
            "model.reference_energies must be empty, they are fitted on the training part, "
            f"got {config.model.reference_energies}"
        )
    heaviest = max(int(part.structures.species.max()) for part in (data.train, data.valid, data.test))
    if heaviest > config.model.max_z:
        raise ValueError(f"model.max_z must be at least {heaviest}, as in the data, got {config.model.max_z}")
    if getattr(config.model, "bond_mask", False) and not data.train.structures.n_bonds.any():
        raise ValueError("model.bond_mask must be False for data without bonds, got True")
    if isinstance(config.model, MessagePassingConfig):
        check_estimates(config.model, data)
    model = dataclasses.replace(config.model, reference_energies=tuple(sorted(data.references.items())))
    if not isinstance(model, MessagePassingConfig):
        return model
    spread = np.sqrt(np.mean((data.train.energy / data.train.structures.n_atoms) ** 2))
    return dataclasses.replace(model, energy_scale=float(max(spread, 1e-3)))


def check_estimates(model: MessagePassingConfig, data: Data) -> None:
    """Refuse estimates of atoms or orbitals that would learn zeros: of elements that they do not count.

    Raises:
        ValueError: naming the elements of the data.
    """
    parts = (data.train, data.valid, data.test)
    present = {int(z) for part in parts for z in np.unique(part.structures.species)}
    if {"atoms", "orbitals"} & set(model.auxiliary) and present - set(model.auxiliary_elements):
        raise ValueError(
            f"model.auxiliary_elements must hold all elements of the data, {sorted(present)}, "
            f"got {model.auxiliary_elements}"
        )


def check_heads(config: TrainConfig, potential: Potential) -> None:
    """Refuse losses of heads that the model does not have.

    Raises:
        ValueError: naming the loss.
    """
    if config.losses.mask and potential.element_logits is None:
        raise ValueError(
            f"mask must be 0 for a model that predicts no hidden atoms, got {config.losses.mask}"
        )
    if config.losses.auxiliary and potential.auxiliary is None:
        raise ValueError(
            f"auxiliary must be 0 for a model that makes no such estimates, got {config.losses.auxiliary}"
        )


def prepare(config: TrainConfig, given: Structures | Data | None = None) -> Run:
    """Data, model, plan and compiled-once step of a run.

    Args:
        config: the run; its `losses` must fit the data.
        given: the data where it is already at hand; split where that is done.
    """
    data = given if isinstance(given, Data) else split_data(trained_on(config, given), config.seed)
    check_losses(
        config.losses,
        has_forces=data.train.structures.forces is not None,
        periodic=bool(data.train.structures.cell.any()),
        stable=data.train.scale is None,
    )
    model = fitted_model(config, data)
    potential, mesh = make_potential(model), data_mesh()
    check_heads(config, potential)
    dataset = make_dataset(
        data.train.structures,
        data.train.energy,
        cutoff=potential.cutoff,
        felt_edges=potential.felt_edges,
        scale=data.train.scale,
        margin=config.losses.margin,
        with_prior=config.losses.uses_prior,
    )
    sizes, shards = data.train.structures.n_atoms, mesh.size
    twice = members_twice(config.losses, config.batch_size)
    epochs = [
        plan_epoch(sizes, config.batch_size, shards, config.seed, epoch, twice=twice)
        for epoch in range(config.epochs)
    ]
    plan, everywhere = np.concatenate(epochs), NamedSharding(mesh, PartitionSpec())
    budget = budget_for(dataset, plan)
    params = start_parameters(potential, data.train.structures, config.seed)
    optimizer = make_optimizer(config, len(plan))
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


def start_parameters(potential: Potential, structures: Structures, seed: int):
    """Initial parameters, drawn with the run's seed; one structure tells their shapes."""
    (graph,) = graphs(take(structures, np.arange(1)), cutoff=potential.cutoff)
    # Runs once: what XLA's optimisations take is longer than what they save.
    init = jax.jit(potential.init, compiler_options={"xla_backend_optimization_level": 0})
    return init(jax.random.fold_in(jax.random.key(seed), 1), graph)
