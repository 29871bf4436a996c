"""Two atoms alone, held to their Morse curves (`jphys.diatomics`)."""

import dataclasses

import jax.numpy as jnp

from jphys.diatomics import diatomic_loss
from jphys.graph import Graph
from jphys.losses.base import Evaluation, Labels, Loss, Need


@dataclasses.dataclass(frozen=True)
class DiatomicsLoss(Loss):
    """Relative deviation of the pull between two atoms alone from their Morse curve, without unit.

    Elements that have no such curve are left out.
    """

    needs = frozenset({Need.DIATOMICS})

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        if evaluation.diatomics is None:  # no element of the model has a curve
            return jnp.zeros_like(evaluation.rest.energy)
        drawn, forces = evaluation.diatomics
        return jnp.where(graph.globals.mask, diatomic_loss(forces, drawn), 0.0)
