"""The functions of `jphys.alignment`, by the name that they had."""

from jphys.alignment import align, kabsch_distance

__all__ = ["align", "kabsch_distance"]
