"""What a training run is made of, and the presets."""

import dataclasses
import math
from pathlib import Path
from typing import Literal

from jphys.losses import OBJECTIVES, Need, Objective
from jphys.models import ModelConfig, Potential, TransformerConfig

__all__ = ["PRESETS", "TERMS", "ReportConfig", "TrainConfig", "choose_objective", "with_own_model"]

TERMS = ("angle", "torsion")
"""Parametric energies beside those of pairs, for objectives that shape the surface around the minimum."""
_MODEL = TransformerConfig(terms=TERMS)


@dataclasses.dataclass(frozen=True)
class ReportConfig:
    """The measurements at the end of a run."""

    molecules: int = 256
    """Test molecules to relax: half the smallest, half random larger ones."""
    sigmas: tuple[float, ...] = (0.0, 0.05, 0.1, 0.2)
    """Standard deviations of the perturbations, Å."""
    fmaxes: tuple[float, ...] = (0.05, 0.01)
    """Largest force at which a relaxation has converged, eV/Å."""
    max_steps: int = 500
    """FIRE steps at most."""
    xtb_molecules: int = 40
    """Test molecules to compare with GFN2-xTB where tblite is installed; 0 for none."""

    def __post_init__(self):
        for name in ("molecules", "max_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("sigmas", "fmaxes"):
            if not getattr(self, name):
                raise ValueError(f"{name} must hold at least one value, got none")
        if not all(0 <= sigma < math.inf for sigma in self.sigmas):
            raise ValueError(f"sigmas must not be negative, got {self.sigmas}")
        if not all(0 < fmax < math.inf for fmax in self.fmaxes):
            raise ValueError(f"fmaxes must be positive, got {self.fmaxes}")
        if self.xtb_molecules < 0:
            raise ValueError(f"xtb_molecules must not be negative, got {self.xtb_molecules}")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """One training run.

    Raises:
        ValueError: for a value that no run can have.
    """

    preset: str = "default"
    """Where the other values start: smoke, default, best-cpu or qm9-gpu."""
    objective: str = "auto"
    """Where the losses start: physics, paper, energy-only or labels. auto: labels where the data has
    forces, paper for crystals, physics for molecules (taken as stable structures)."""
    data: str = "qm9-small"
    """qm9-small (shipped: up to 7 heavy atoms), qm9 (the whole set), or a file that ASE reads."""
    source: Path | None = None
    """For qm9: the official tar or a folder of its xyz files, with uncharacterized.txt beside it, or an npz;
    otherwise it is downloaded."""
    structures: int = 0
    """Use so many random structures of the data at most; 0 for all."""
    stream: bool = False
    """Keep the structures on the host, on its disk where they are many, and read the next batches while a
    step runs: for more structures than the devices can hold."""
    run: Path | None = None
    """Run folder; runs/<preset>-<objective>-<seed> where not given."""
    resume: bool = False
    """Continue the run in the folder from its last checkpoint."""
    seed: int = 0
    """Of split, parameters, shuffling and noise."""
    epochs: int = 36
    """Passes over the training part."""
    batch_size: int = 16
    """Structures per step, over all devices together."""
    learning_rate: float = 6e-3
    """Peak of the warm-up and cosine schedule, or the start where it falls on plateaus."""
    optimizer: Literal["muon", "adam"] = "muon"
    """Muon for matrices with Adam for all else, or Adam for all."""
    schedule: Literal["cosine", "plateau"] = "cosine"
    """Warm-up and cosine, or constant times plateau_factor wherever validation no longer improves."""
    plateau_factor: float = 0.6
    """What a plateau multiplies the learning rate by."""
    plateau_patience: int = 10
    """Validations without improvement that make a plateau."""
    early_stop: int = 0
    """Validations without improvement after which training ends; 0 for never."""
    weight_decay: float = 0.0
    """Of Muon and AdamW."""
    clip: float = 5.0
    """Largest gradient norm."""
    average: float = 0.999
    """Decay per step of the parameter average that is evaluated and saved."""
    log_every: int = 100
    """Steps between two lines of metrics.jsonl; the loss is checked to be finite there."""
    checkpoint_seconds: float = 60.0
    """A checkpoint is written at the first line of metrics after so many seconds."""
    validate_every: int = 5
    """Epochs between two validations."""
    stop_after_minutes: float = 0.0
    """Stop with a checkpoint after so long, to go on with --resume; 0 for never."""
    model: ModelConfig = _MODEL
    """The Transformer of the paper has no `terms`: the default of the objectives paper and energy-only."""
    losses: Objective | None = None
    """Weights and displacements; where not given, those of the objective, for the data."""
    report: ReportConfig = dataclasses.field(default_factory=ReportConfig)

    def __post_init__(self):
        for name in ("epochs", "batch_size", "log_every", "validate_every", "plateau_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("learning_rate", "clip"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")
        for name in ("structures", "early_stop", "weight_decay", "checkpoint_seconds", "stop_after_minutes"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        if 0 < self.structures < 3:
            raise ValueError(f"structures must be 0 or at least 3, one for each part, got {self.structures}")
        if not 0 < self.plateau_factor < 1:
            raise ValueError(f"plateau_factor must be between 0 and 1, got {self.plateau_factor}")
        if not 0 <= self.average < 1:
            raise ValueError(f"average must be from 0 to below 1, got {self.average}")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed must be from 0 to below 2**32, got {self.seed}")


PRESETS: dict[str, TrainConfig] = {
    "smoke": TrainConfig(
        preset="smoke",
        structures=400,
        epochs=1,
        batch_size=32,
        log_every=10,
        model=TransformerConfig(channels=16, blocks=1, heads=4, n_basis=16, terms=TERMS),
        report=ReportConfig(molecules=8, sigmas=(0.0, 0.1), max_steps=50, xtb_molecules=4),
    ),
    "default": TrainConfig(),
    "best-cpu": TrainConfig(preset="best-cpu", epochs=150),
    "qm9-gpu": TrainConfig(
        preset="qm9-gpu",
        data="qm9",
        epochs=60,
        batch_size=512,
        model=TransformerConfig(channels=128, blocks=4, n_basis=48, terms=TERMS),
    ),
}
LITERAL = ("paper", "energy-only")  # how the objectives begin whose model is that of the paper


def with_own_model(config: TrainConfig, objective: str) -> TrainConfig:
    """The config with the model that the objective has by default: the paper's has no `terms`."""
    if not objective.startswith(LITERAL) or not getattr(config.model, "terms", ()):
        return config
    return dataclasses.replace(config, model=dataclasses.replace(config.model, terms=()))


def choose_objective(
    name: str, *, has_forces: bool, periodic: bool, stable: bool = True
) -> tuple[str, Objective]:
    """The objective of that name, or for `auto` the one that fits the data.

    Args:
        name: physics, paper, energy-only, labels or auto.
        has_forces: whether the data has labelled forces.
        periodic: whether it has crystals.
        stable: whether its structures, where they have no forces, are stable ones.

    Raises:
        ValueError: for an unknown name, or an objective that the data cannot serve.
    """
    if name == "auto":
        taken_as_stable = "paper" if periodic else "physics"
        name = "labels" if has_forces else taken_as_stable if stable else "energy-only"
    if name not in OBJECTIVES:
        raise ValueError(f"objective must be one of auto, {', '.join(OBJECTIVES)}, got {name!r}")
    if name == "labels" and not has_forces:
        raise ValueError("objective must not be labels for data without forces")
    return name, OBJECTIVES[name]


def check_losses(objective: Objective, *, has_forces: bool, periodic: bool, stable: bool = True) -> None:
    """Refuse losses that the data cannot serve.

    Raises:
        ValueError: naming the loss.
    """
    absent: dict[Need, str] = {}
    if not stable:
        absent[Need.STABLE] = "structures that are not all stable"
    if not has_forces:
        absent[Need.FORCE_LABELS] = "data without force labels"
    if periodic:
        absent[Need.PRIOR] = "crystals: the classical prior is one of free molecules"
        absent[Need.BOTH_WAYS] = "crystals: free molecules are displaced both ways"
    for name, loss in objective.losses.items():
        for need, data in absent.items():
            if need in loss.needs:
                raise ValueError(f"losses.{name}.weight must be 0 for {data}, got {loss.weight}")


def check_heads(objective: Objective, potential: Potential) -> None:
    """Refuse losses of heads that the model does not have.

    Raises:
        ValueError: naming the loss.
    """
    for name, loss in objective.losses.items():
        if loss.head is not None and loss.head not in potential.heads:
            raise ValueError(
                f"losses.{name}.weight must be 0 for a model that has no head {loss.head}, got {loss.weight}"
            )
