"""The well of the classical prior: its forces at displaced structures, and its curvature at the bottom."""

import dataclasses

import jax.numpy as jnp

from jphys.graph import Graph
from jphys.losses.base import Evaluation, Labels, Loss, Need, Point, check, known, rows_of_structures
from jphys.modes import Modes
from jphys.ops import pseudo_huber

ROUNDING = 1e-8  # eV per mode; differences of forces below this are rounding in float32
OUTLIER = 0.3  # relative deviation beyond which it counts linearly


@dataclasses.dataclass(frozen=True)
class RestoreLoss(Loss):
    """Relative deviation from the prior's forces at p + δ (`deviation`), without unit."""

    soft: float = 0.5
    """eV/Å²; curvature added to every mode, so that the softest do not take over."""
    floor: float = 0.002
    """eV per mode; smaller prior energies than this count restoring forces absolutely."""

    needs = frozenset({Need.FORCES_DISPLACED, Need.PRIOR, Need.STABLE})

    def __post_init__(self):
        super().__post_init__()
        check(self, "positive and finite", "soft", "floor")

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        ours, theirs = amplitudes(evaluation.displaced, labels)
        return deviation(ours, theirs, known(labels.modes, "labels.modes"), self.soft, self.floor)


@dataclasses.dataclass(frozen=True)
class CurvatureLoss(Loss):
    """Relative deviation from the prior's curvature, from F(p + δ) − F(p − δ) = −2Hδ with small δ; no unit.

    It judges the well without the force at its bottom. A network knows that force, that is, where the
    minimum lies, to some 0.01 Å; where it is only asked for forces, it keeps its well flat over that width.
    Only some structures of a batch are displaced both ways: each counts for as many as it stands for.
    """

    soft: float = 0.5
    """As that of RestoreLoss."""

    needs = frozenset({Need.BOTH_WAYS, Need.PRIOR, Need.STABLE})

    def __post_init__(self):
        super().__post_init__()
        check(self, "positive and finite", "soft")

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        back = known(evaluation.backward, "structures displaced both ways")
        every = known(labels.modes, "labels.modes")
        modes = Modes(*(rows[back.chosen] for rows in every))
        ours, theirs = (values[back.chosen] for values in amplitudes(evaluation.displaced, labels))
        ours -= mode_amplitudes(back.forces, modes, back.local, back.graph)
        prior_forces = known(back.prior_forces, "prior's forces")
        theirs -= mode_amplitudes(prior_forces, every, labels.local, graph)[back.chosen]
        across = deviation(ours, theirs, modes, self.soft, ROUNDING)
        across = jnp.where(back.chosen >= 0, back.stands_for * across, 0.0)
        return jnp.zeros(len(graph.n_node), across.dtype).at[back.chosen].add(across)


def deviation(amplitudes, prior_amplitudes, modes: Modes, soft: float, floor: float):
    """Deviation from the prior's forces relative to them, in the norm of the prior's own energy.

    With ‖F‖² = (1/m) Σ_c (v_c·F)²/(Λ_c + soft) over the m modes c of the prior (twice the energy per mode
    that a harmonic well with that force holds, eV), from amplitudes v_c·F (n_graph, n) eV/Å:

        x² = ‖F − F_prior‖² / (floor + ‖F_prior‖²),   pseudo-Huber beyond x = 0.3.

    A mean of squared forces would see stiff modes alone, and the distance to the minimum soft ones alone.
    Here an error that costs the same energy costs the same, whatever its mode.
    """
    weights = jnp.where(modes.real, 1.0 / (modes.curvatures + soft), 0.0)

    def norm(values):
        return jnp.sum(weights * values**2, axis=-1) / jnp.maximum(modes.real.sum(axis=-1), 1)

    relative = norm(amplitudes - prior_amplitudes) / (floor + norm(prior_amplitudes))
    return pseudo_huber(relative, OUTLIER)


def amplitudes(point: Point | None, labels: Labels):
    """v_c·F along the modes of the prior, of the forces there and of the prior's: (n_graph, n) each."""
    there = known(point, "displaced structures")
    modes = known(labels.modes, "labels.modes")
    forces = (known(there.forces, "forces"), known(there.prior_forces, "prior's forces"))
    return tuple(mode_amplitudes(values, modes, labels.local, there.graph) for values in forces)


def mode_amplitudes(forces, modes: Modes, local, graph: Graph):
    """v_c·F of forces (n_node, 3) along modes: (k, n) of the first k structures, those that have modes.

    Args:
        forces: eV/Å.
        modes: of k structures.
        local: (n_node,) number of each atom within its structure.
        graph: the structures.
    """
    rows = rows_of_structures(forces, local, modes.curvatures.shape[1] // 3, graph)[: len(modes.curvatures)]
    return jnp.einsum("gic,gi->gc", modes.vectors, rows.reshape(modes.curvatures.shape))
