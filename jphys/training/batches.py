"""Where the steps of a run get their batches from."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jphys.data.loader import Budget, Dataset, budget_for, take_batch
from jphys.graph import Graph
from jphys.losses import Labels

__all__ = ["Batch", "Resident", "resident"]


class Batch(NamedTuple):
    """The structures of a step. Every array has the shards of the batch, one a device, as its first axis."""

    graph: Graph
    labels: Labels


@dataclasses.dataclass(frozen=True)
class Resident:
    """Batches of a data set that lies on every device; they are assembled there. Made by `resident`."""

    dataset: Dataset
    plan: np.ndarray  # (steps, n_shards, k) structure numbers, −1 for none
    budget: Budget
    mesh: Mesh
    assemble: Callable[[Dataset, jax.Array], Batch]  # (dataset, (n_shards, k)) -> Batch

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step: the same one whenever it is asked for."""
        spread = NamedSharding(self.mesh, PartitionSpec("data"))
        return self.assemble(self.dataset, jax.device_put(self.plan[step], spread))

    def members(self, step: int) -> np.ndarray:
        """Numbers (batch_size,) of the structures of a step, as `StepReport.finite` has them; −1 for none."""
        return self.plan[step].reshape(-1)


def resident(dataset: Dataset, plan: np.ndarray, mesh: Mesh) -> Resident:
    """The batches of a plan, of a data set that is put on every device.

    Args:
        dataset: the structures.
        plan: (steps, n_shards, k) structure numbers, −1 for none.
        mesh: its data axis has the shards.
    """
    everywhere, spread = PartitionSpec(), PartitionSpec("data")
    budget, k = budget_for(dataset, plan), plan.shape[-1]

    @jax.jit
    @jax.shard_map(mesh=mesh, in_specs=(everywhere, spread), out_specs=spread)
    def assemble(dataset: Dataset, chosen):
        graph, labels = take_batch(dataset, chosen[0], budget)
        before = jax.lax.axis_index("data") * k  # places of the batch on other devices
        labels = labels._replace(place=jnp.where(labels.place < 0, -1, labels.place + before))
        return jax.tree.map(lambda rows: rows[None], Batch(graph, labels))

    on_all = NamedSharding(mesh, everywhere)
    # One array after the other: the host never holds all of them.
    placed = jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf), on_all), dataset)
    return Resident(placed, plan, budget, mesh, assemble)
