"""What a surface must do before it is trusted as physics; each module judges any energy function."""

from typing import TYPE_CHECKING

from jphys.lazy import attributes as _attributes
from jphys.reliability.masked_atom import Suggestion, suggest_elements

if TYPE_CHECKING:
    from jphys.reliability import (
        alignment,
        assembly,
        audit,
        conformer_energies,
        conformers,
        curvature,
        geometry,
        masked_atom,
        mmff94,
        recovery,
        report,
        stable_distance,
        surface,
        truth,
        vibrations,
        xtb,
    )

__all__ = [
    "Suggestion",
    "alignment",
    "assembly",
    "audit",
    "conformer_energies",
    "conformers",
    "curvature",
    "geometry",
    "masked_atom",
    "mmff94",
    "recovery",
    "report",
    "stable_distance",
    "suggest_elements",
    "surface",
    "truth",
    "vibrations",
    "xtb",
]

__getattr__ = _attributes(__name__)
