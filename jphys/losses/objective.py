"""The weighted sum of losses (eq. 9), and the objectives that have a name."""

import dataclasses
from typing import Any

from jphys.graph import Graph
from jphys.losses.auxiliary import AuxiliaryLoss
from jphys.losses.base import DISPLACING, Labels, Loss, Need
from jphys.losses.bound import BoundLoss
from jphys.losses.diatomic import DiatomicsLoss
from jphys.losses.displacements import Displacements
from jphys.losses.energy import EnergyLoss, ForceLoss, ZeroForceLoss
from jphys.losses.evaluate import evaluate
from jphys.losses.mask import MaskLoss
from jphys.losses.restore import CurvatureLoss, RestoreLoss


@dataclasses.dataclass(frozen=True)
class Objective:
    """Losses with their weights, and how structures are displaced. A weight of 0 leaves a loss out.

    Another loss is one more field: here, or in a class derived from this one.

    Raises:
        ValueError: where no loss has a weight.
    """

    energy: EnergyLoss = dataclasses.field(default_factory=lambda: EnergyLoss(1.0))
    """Squared energy error, eV²."""
    mask: MaskLoss = dataclasses.field(default_factory=MaskLoss)
    """Masked-atom modelling (eq. 7)."""
    zero_force: ZeroForceLoss = dataclasses.field(default_factory=ZeroForceLoss)
    """Mean squared force at the stable structure, (eV/Å)²."""
    bound: BoundLoss = dataclasses.field(default_factory=BoundLoss)
    """The energy bound, relu(E(p) − E(p + δ)) (eq. 8), eV."""
    restore: RestoreLoss = dataclasses.field(default_factory=RestoreLoss)
    """Relative deviation from the classical prior's forces at p + δ, without unit."""
    curvature: CurvatureLoss = dataclasses.field(default_factory=CurvatureLoss)
    """Relative deviation from the prior's curvature at p, without unit."""
    diatomics: DiatomicsLoss = dataclasses.field(default_factory=DiatomicsLoss)
    """Relative deviation from the Morse curves of two atoms alone, without unit."""
    forces: ForceLoss = dataclasses.field(default_factory=ForceLoss)
    """Squared error against force labels, (eV/Å)²; for data that has them."""
    auxiliary: AuxiliaryLoss = dataclasses.field(default_factory=AuxiliaryLoss)
    """Each auxiliary estimate (VIMPNN, sec. 4.3), without unit; for models that make them."""
    displacements: Displacements = dataclasses.field(default_factory=Displacements)
    """How structures are displaced for the losses that need it."""

    def __post_init__(self):
        if not self.losses:
            raise ValueError("losses must have at least one with a weight, got 0 for all of them")

    @property
    def losses(self) -> dict[str, Loss]:
        """The losses that have a weight, by the names of their fields."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: loss for name, loss in values.items() if isinstance(loss, Loss) and loss.weight > 0}

    @property
    def needs(self) -> frozenset[Need]:
        """Of all its losses together."""
        return frozenset().union(*(loss.needs for loss in self.losses.values()))

    @property
    def margin(self) -> float:
        """Å by which two atoms of a displaced structure may come closer; 0 where none is displaced."""
        return self.displacements.margin if self.needs & DISPLACING else 0.0

    def weighted(self, **weights: float) -> "Objective":
        """The same with other weights, by the names of the losses."""
        changed = {name: dataclasses.replace(getattr(self, name), weight=w) for name, w in weights.items()}
        return dataclasses.replace(self, **changed)

    def __call__(
        self, potential, params, graph: Graph, labels: Labels, *, n_atom: int, key
    ) -> dict[str, Any]:
        """Every loss that has a weight, unweighted: {name: (n_graph,)}; arguments as those of `evaluate`."""
        evaluation = evaluate(
            potential, params, graph, labels, self.needs, self.displacements, n_atom=n_atom, key=key
        )
        return {name: loss(evaluation, labels, graph) for name, loss in self.losses.items()}

    def total(self, values: dict[str, Any]):
        """Σ λ·value (eq. 9) of values by the names of the losses."""
        return sum(self.losses[name].weight * value for name, value in values.items())


ENERGY_ONLY = Objective()
PAPER = Objective().weighted(mask=0.1, zero_force=1.0, bound=1.0)
# Displacements at least as large as what a network cannot know of the minimum, some 0.03 Å, in every mode;
# errors count absolutely below it: what looks closer flattens the well (docs/log.md, 2026-11-27).
PHYSICS = Objective(
    energy=EnergyLoss(2.0),
    mask=MaskLoss(0.02),
    bound=BoundLoss(0.1),
    restore=RestoreLoss(1.0, floor=2e-3),
    curvature=CurvatureLoss(2.0),
    diatomics=DiatomicsLoss(0.2),
    displacements=Displacements(noise=0.25, noise_varies=True, thermal=0.8, apart=0.4, turned=0.2),
)
LABELS = Objective().weighted(forces=10.0)
OBJECTIVES = {"physics": PHYSICS, "paper": PAPER, "energy-only": ENERGY_ONLY, "labels": LABELS}
