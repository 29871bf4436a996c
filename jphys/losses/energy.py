"""Errors of energies and of labelled forces, and the force that a stable structure must not feel."""

import dataclasses

import jax.numpy as jnp

from jphys.graph import Graph
from jphys.losses.base import Evaluation, Labels, Loss, Need, known, mean_over_atoms


@dataclasses.dataclass(frozen=True)
class EnergyLoss(Loss):
    """(E − E_target)² (eq. 9), eV²."""

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        return jnp.where(graph.globals.mask, (evaluation.rest.energy - labels.energy) ** 2, 0.0)


@dataclasses.dataclass(frozen=True)
class ForceLoss(Loss):
    """Mean over atoms of ‖F_i − F_target‖², (eV/Å)², for data that has force labels."""

    needs = frozenset({Need.FORCES_AT_REST, Need.FORCE_LABELS})

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        error = known(evaluation.rest.forces, "forces at rest") - known(labels.forces, "labels.forces")
        return mean_over_atoms(jnp.sum(error**2, axis=-1), graph)


@dataclasses.dataclass(frozen=True)
class ZeroForceLoss(Loss):
    """Mean over atoms of ‖F_i‖² at the stable structure, (eV/Å)²."""

    needs = frozenset({Need.FORCES_AT_REST, Need.STABLE})

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        forces = known(evaluation.rest.forces, "forces at rest")
        return mean_over_atoms(jnp.sum(forces**2, axis=-1), graph)
