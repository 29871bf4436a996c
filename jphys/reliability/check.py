"""What a check of the audit is: how much is asked, what passes, what is recorded."""

import dataclasses
from typing import Any

import numpy as np

SAMPLE_PS = 0.005  # ps between two looks at the total energy


@dataclasses.dataclass(frozen=True)
class AuditConfig:
    """How much is asked, and what passes."""

    molecules: int = 64
    """Test molecules to relax: half the smallest, half random larger ones."""
    steps: int = 500
    """FIRE steps at most."""
    dynamics_ps: float = 1.0
    """Length of each constant-energy run."""
    split: int = 0
    """Seed of the split of the shipped molecules whose test part is asked: the --seed of the training, so
    that the model has seen none of them; 0 for qm9-small. A model of other data may have seen any."""
    curves: int = 40
    """Molecules stretched from 0.9 to 1.5."""
    recovered: float = 0.8
    """Least fraction of molecules displaced by 0.1 Å that come back to within 0.1 Å."""
    assembled: float = 0.8
    """Least fraction of molecules taken apart that are whole again."""
    flips: float = 1.0
    """Most changes of sign of the force along a diatomic curve, mean over the pairs."""
    far_ev: float = 1e-3
    """Largest energy that fragments 60 Å apart feel of each other, eV."""
    invariance_ev: float = 1e-3
    """Largest change of energy by renumbering, rotation and translation, eV."""
    drift: float = 1e-3
    """Largest drift of the total energy, eV per atom and ps."""
    stable_distance: float = 0.033
    """Largest mean error of stable distances against GFN2-xTB, Å."""
    softest: float = 0.5
    """Least ratio of any one frequency to that of B3LYP, of those from 100 cm⁻¹ on."""
    bands: tuple[float, float] = (0.75, 1.33)
    """Range of the median ratio of frequencies to those of B3LYP, in every band of wavenumbers."""
    frequency_error: float = 100.0
    """Largest mean error of frequencies against B3LYP, cm⁻¹."""
    torsions: tuple[float, float] = (0.5, 1.5)
    """Range of the rise of turned molecules over that of B3LYP."""

    def __post_init__(self):
        for name in ("molecules", "steps", "curves"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, got {getattr(self, name)}")
        if self.split < 0:
            raise ValueError(f"split must not be negative, got {self.split}")
        if not 2 * SAMPLE_PS <= self.dynamics_ps < np.inf:
            raise ValueError(f"dynamics_ps must be at least {2 * SAMPLE_PS}, got {self.dynamics_ps}")
        for name in ("bands", "torsions"):
            low, high = getattr(self, name)
            if not low < high:
                raise ValueError(f"{name} must be a lower and a higher number, got {low} and {high}")


@dataclasses.dataclass(frozen=True)
class Check:
    """One property of a surface."""

    name: str
    passed: bool  # False too where the surface gave no answer
    value: float | None
    limit: float
    unit: str
    what: str  # one sentence: what is measured
    details: dict[str, Any]
    most: float | None = None  # the upper end where `limit` is the lower end of a range

    @property
    def bounds(self) -> str:
        """The limit, or both ends of the range."""
        return f"{self.limit:g}" if self.most is None else f"{self.limit:g}–{self.most:g}"


def at_least(name, value, limit, unit, what, details) -> Check:
    """Passed where there is a value of at least the limit."""
    return Check(name, value is not None and bool(value >= limit), value, limit, unit, what, details)


def at_most(name, value, limit, unit, what, details) -> Check:
    """Passed where there is a value of at most the limit."""
    return Check(name, value is not None and bool(value <= limit), value, limit, unit, what, details)


def between(name, value, limits, unit, what, details) -> Check:
    """Passed where there is a value within the limits."""
    low, high = limits
    passed = value is not None and bool(low <= value <= high)
    return Check(name, passed, value, low, unit, what, details, most=high)


def largest(values: np.ndarray) -> float | None:
    """The largest, None where one is missing."""
    return float(np.max(values)) if np.isfinite(values).all() and len(values) else None
