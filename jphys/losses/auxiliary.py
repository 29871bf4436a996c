"""The auxiliary estimates of VIMPNN (sec. 4.3)."""

import dataclasses

from jphys.auxiliary import auxiliary_loss
from jphys.graph import Graph
from jphys.losses.base import Evaluation, Labels, Loss


@dataclasses.dataclass(frozen=True)
class AuxiliaryLoss(Loss):
    """Squared errors of each auxiliary estimate (`jphys.auxiliary`), without unit; the weight is α."""

    head = "auxiliary"

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        estimates = evaluation.head("auxiliary", graph)
        return auxiliary_loss(estimates, evaluation.config.auxiliary_elements, labels.scale, graph)
