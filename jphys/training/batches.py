"""Where the steps of a run get their batches from: the same from a resident and a streamed source."""

import abc
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, SupportsIndex

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.data.loader import Budget, Dataset, budget_for, gather, rooms, take_batch
from jphys.graph import Graph
from jphys.losses import Labels

__all__ = ["Batch", "Batches", "Resident", "Streamed", "resident", "streamed"]

THREADS, AHEAD = 2, 4
"""That read batches, and batches that they are ahead of the step."""


class Batch(NamedTuple):
    """The structures of a step. Every array has the shards of the batch, one a device, as its first axis."""

    graph: Graph
    labels: Labels


Assemble = Callable[[Dataset, jax.Array], Batch]  # (dataset, (n_shards, k) structure numbers) -> Batch


@dataclasses.dataclass(frozen=True)
class Batches(abc.ABC):
    """The batches of a run."""

    dataset: Dataset
    plan: np.ndarray  # (steps, n_shards, k) structure numbers, −1 for none
    budget: Budget
    mesh: Mesh
    assemble: Assemble

    def __len__(self) -> int:
        return len(self.plan)

    @abc.abstractmethod
    def __getitem__(self, step: int) -> Batch:
        """The batch of a step: the same one whenever it is asked for."""

    def iterate(self, start: int = 0) -> Iterator[Batch]:
        """The batches from a step on."""
        return (self[step] for step in range(start, len(self)))

    def members(self, step: int) -> np.ndarray:
        """Numbers (batch_size,) of the structures of a step, as `StepReport.finite` has them; −1 for none."""
        return self.plan[step].reshape(-1)


@dataclasses.dataclass(frozen=True)
class Resident(Batches):
    """Of a data set that lies on every device; batches are assembled there. Made by `resident`."""

    def __getitem__(self, step: int) -> Batch:
        spread = NamedSharding(self.mesh, PartitionSpec("data"))
        return self.assemble(self.dataset, jax.device_put(self.plan[step], spread))


@dataclasses.dataclass(frozen=True)
class Streamed(Batches):
    """Of a data set on the host, or on its disk: rows of the next structures are read while a step runs.

    Each process reads those of its own devices. Made by `streamed`.
    """

    room: Any  # rows of the largest shard

    def __getitem__(self, step: int) -> Batch:
        return self._place(self.read(step))

    def iterate(self, start: int = 0) -> Iterator[Batch]:
        if start < len(self):
            grain = require_grain()
            options = grain.ReadOptions(num_threads=THREADS, prefetch_buffer_size=AHEAD)
            steps = grain.MapDataset.source(_Steps(self))[start:]
            yield from map(self._place, steps.to_iter_dataset(options))

    def read(self, step: int) -> tuple[Dataset, np.ndarray]:
        """Rows and numbers of the structures of this process, a shard for each of its devices."""
        here = [device.process_index == jax.process_index() for device in self.mesh.devices.flat]
        chosen = self.plan[step][np.array(here)]
        shards = [gather(self.dataset, numbers, self.room) for numbers in chosen]
        return jax.tree.map(lambda *rows: np.stack(rows), *shards), chosen

    def _place(self, read: tuple[Dataset, np.ndarray]) -> Batch:
        spread = NamedSharding(self.mesh, PartitionSpec("data"))
        if jax.process_count() == 1:  # all arrays at once, five times as fast
            return self.assemble(*jax.device_put(read, spread))
        put = jax.tree.map(lambda rows: jax.make_array_from_process_local_data(spread, rows), read)
        return self.assemble(*put)


@dataclasses.dataclass(frozen=True)
class _Steps:
    """What Grain reads from."""

    batches: Streamed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: SupportsIndex) -> tuple[Dataset, np.ndarray]:
        return self.batches.read(int(index))


def require_grain():
    """Grain, whose import takes a second, for those who stream.

    Raises:
        ImportError: where it is not installed.
    """
    try:
        import grain
    except ImportError as error:
        raise ImportError("stream needs Grain: pip install 'jphys[stream]'") from error
    return grain


def resident(dataset: Dataset, plan: np.ndarray, mesh: Mesh) -> Resident:
    """The batches of a plan, of a data set that is put on every device.

    Args:
        dataset: the structures.
        plan: (steps, n_shards, k) structure numbers, −1 for none.
        mesh: its data axis has the shards.
    """
    budget = budget_for(dataset, plan)
    on_all = NamedSharding(mesh, PartitionSpec())
    # One array after the other: the host never holds all of them.
    placed = jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), on_all), dataset)
    return Resident(placed, plan, budget, mesh, _assembler(budget, mesh, alone=False))


def streamed(dataset: Dataset, plan: np.ndarray, mesh: Mesh) -> Streamed:
    """The same batches as `resident` gives, of a data set that stays where it is."""
    budget = budget_for(dataset, plan)
    assemble = _assembler(budget, mesh, alone=True)
    return Streamed(dataset, plan, budget, mesh, assemble, rooms(dataset, plan))


def _assembler(budget: Budget, mesh: Mesh, *, alone: bool) -> Assemble:
    """Compiled assembly of batches.

    Args:
        budget: static sizes of a shard.
        mesh: its data axis has the shards.
        alone: whether each shard is given the rows of its own structures alone, in their order.
    """
    everywhere, spread = PartitionSpec(), PartitionSpec("data")

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=(spread if alone else everywhere, spread), out_specs=spread)
    def assemble(dataset: Dataset, chosen) -> Batch:
        numbers = places = chosen[0]
        if alone:
            dataset = jax.tree.map(lambda rows: rows[0], dataset)
            places = jnp.where(numbers >= 0, jnp.arange(len(numbers)), -1)
        graph, labels = take_batch(dataset, places, budget)
        before = jax.lax.axis_index("data") * len(numbers)  # places of the batch on other devices
        place = jnp.where(labels.place < 0, -1, labels.place + before)
        labels = labels._replace(index=jnp.append(numbers, -1), place=place)
        return jax.tree.map(lambda rows: rows[None], Batch(graph, labels))

    return assemble
