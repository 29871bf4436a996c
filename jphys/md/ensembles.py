"""Which motion is simulated: ensemble, time step, temperature, pressure."""

import dataclasses
from typing import Literal, get_args

import numpy as np

Ensemble = Literal["nve", "nvt_nose_hoover", "nvt_langevin", "npt_nose_hoover"]


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Which motion is simulated.

    Raises:
        ValueError: for an unknown ensemble or a value that no simulation can have.
    """

    ensemble: Ensemble = "nve"
    """nve, nvt_nose_hoover, nvt_langevin or npt_nose_hoover, the integrators of jax-md."""
    dt: float = 0.5
    """Time step, fs; 0.5 where hydrogen moves."""
    temperature: float = 300.0
    """K; of the thermostat, and of the first velocities where the atoms have none."""
    pressure: float = 0.0
    """GPa, for npt."""
    friction: float = 0.01
    """1/fs, for Langevin."""

    def __post_init__(self):
        if self.ensemble not in get_args(Ensemble):
            raise ValueError(
                f"ensemble must be one of {', '.join(get_args(Ensemble))}, got {self.ensemble!r}"
            )
        for name in ("dt", "friction"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("dt", "friction", "temperature", "pressure"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if not self.temperature >= 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if self.pressure and self.ensemble != "npt_nose_hoover":
            raise ValueError(f"pressure must be 0 for {self.ensemble}, got {self.pressure}")
        if self.temperature == 0 and self.ensemble.endswith("nose_hoover"):
            raise ValueError(f"temperature must be positive for {self.ensemble}, got {self.temperature}")


NVE = Dynamics()
