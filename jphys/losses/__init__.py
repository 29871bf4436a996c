"""The training losses, one dataclass each, and the objectives that weight them."""

from jphys.losses.base import Evaluation, Labels, Loss, Need, Point
from jphys.losses.objective import ENERGY_ONLY, LABELS, OBJECTIVES, PAPER, PHYSICS, Objective

__all__ = [
    "ENERGY_ONLY",
    "LABELS",
    "OBJECTIVES",
    "PAPER",
    "PHYSICS",
    "Evaluation",
    "Labels",
    "Loss",
    "Need",
    "Objective",
    "Point",
]
