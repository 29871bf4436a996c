"""The energy bound (eq. 8)."""

import dataclasses

import jax
import jax.numpy as jnp

from jphys.graph import Graph
from jphys.losses.base import Evaluation, Labels, Loss, Need, known


@dataclasses.dataclass(frozen=True)
class BoundLoss(Loss):
    """relu(E(p) − E(p + δ)) (eq. 8), eV: a displaced structure is never lower than the stable one."""

    needs = frozenset({Need.DISPLACED, Need.STABLE})

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        displaced = known(evaluation.displaced, "displaced structures")
        return jnp.where(graph.globals.mask, jax.nn.relu(evaluation.rest.energy - displaced.energy), 0.0)
