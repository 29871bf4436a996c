"""What the vimpnn_*.py scripts share: models of the paper, sets by name, one training with its report."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Literal

import numpy as np

import jphys
from jphys import checkpoint, runs
from jphys.allocation import keep_freed_memory
from jphys.compiling import compile_quickly
from jphys.data import augmented_qm9, crystals, growth
from jphys.data.scaled import ScaledSet, between, split_shapes, take, take_shapes
from jphys.losses import ENERGY_ONLY
from jphys.models import MessagePassingConfig
from jphys.reliability.stable_distance import judge
from jphys.training.config import TrainConfig
from jphys.training.parts import Data, scaled_data

Style = Literal["smoke", "fast", "paper"]
ALL = ("atoms", "orbitals", "scale")
VIMPNN = {"strategy": "a.ii", "auxiliary": ALL}
MPNN = {"strategy": "edge"}
METAL = {"bond_types": ("metallic",), "auxiliary_elements": (13, 29)}
STYLES: dict[str, dict[str, Any]] = {
    "smoke": {"epochs": 2, "batch_size": 16, "learning_rate": 1e-2, "validate_every": 1},
    "fast": {"epochs": 12, "batch_size": 64, "learning_rate": 1e-2, "validate_every": 2},
    # VIMPNN, A.3; the patience of the plateaus is not given there.
    "paper": {
        **{"epochs": 360, "batch_size": 20, "learning_rate": 1e-4, "validate_every": 1, "early_stop": 50},
        **{"optimizer": "adam", "schedule": "plateau", "plateau_patience": 10, "average": 0.0},
    },
}
# What a set changes about a style, by the last word of its name.
CHANGES: dict[tuple[str, Style], dict[str, Any]] = {
    ("qm9", "fast"): {"epochs": 4},  # 80,000 points: 5,000 steps
    ("crystal", "smoke"): {"batch_size": 16, "epochs": 2, "validate_every": 2},
    ("crystal", "fast"): {"batch_size": 16, "epochs": 2000, "validate_every": 50},
    **{(growing, "smoke"): {"batch_size": 32} for growing in ("stable", "unstable")},
    ("stable", "fast"): {"batch_size": 32, "epochs": 36},
    ("unstable", "fast"): {"batch_size": 32},
    **{(growing, "paper"): {"batch_size": 5} for growing in ("stable", "unstable")},
}


@dataclasses.dataclass(frozen=True)
class Parts:
    """A set split into training, validation and test points."""

    name: str
    train: ScaledSet
    valid: ScaledSet
    test: ScaledSet

    def data(self) -> Data:
        """What a run trains on."""
        return scaled_data(self.train, self.valid, self.test)


def begin(preset: str) -> None:
    """What a process does before its first computation; in a smoke run, compiling is most of the work."""
    keep_freed_memory()
    if preset == "smoke":
        compile_quickly()


def parts_of(name: str, points: ScaledSet, fractions, seed: int, shapes: int = 0) -> Parts:
    """A set split by shape, of which `shapes` random ones are used; 0 for all."""
    if shapes > points.n_shape:
        raise ValueError(f"{name} must have at least {shapes} shapes, got {points.n_shape}")
    if shapes:
        chosen = np.random.default_rng(seed).permutation(points.n_shape)[:shapes]
        points = take_shapes(points, np.sort(chosen))
    return Parts(name, *(take(points, part) for part in split_shapes(points, fractions=fractions, seed=seed)))


def load(name: str, seed: int, style: Style, labels: Path | None = None) -> tuple[Parts, dict[str, Any]]:
    """A set of the paper by name with its split, and what its trainings change about their style."""
    shapes, changes = 0, dict(CHANGES.get((name.split("-")[-1], style), {}))  # for the caller to change
    if name == "augmented-qm9":
        points, fractions = augmented_qm9.load(labels), (0.8, 0.1, 0.1)
        shapes = 60 if style == "smoke" else 0
    elif name == "infinite-crystal":
        points = crystals.load(labels)
        split = crystals.split_scales(points, seed=seed)
        return Parts(name, *(take(points, part) for part in split)), changes
    else:
        points = growth.load_stable(labels) if name.endswith("-stable") else growth.load_unstable(labels)
        fractions, shapes = (0.6, 0.2, 0.2), 20 if style == "smoke" else 0
    return parts_of(name, points, fractions, seed, shapes), changes


def train_config(style: Style, model: dict[str, Any], seed: int, **changes) -> TrainConfig:
    """A run of this style; squared errors in eV², plus α = 0.3 times those of the auxiliary estimates."""
    small: dict[str, Any] = {"channels": 16, "n_basis": 16} if style == "smoke" else {}
    settings = STYLES[style] | changes
    losses = ENERGY_ONLY.weighted(auxiliary=0.3 if model.get("auxiliary") else 0.0)
    return TrainConfig(
        preset=style,
        objective="scaled",
        data="scaled",
        seed=seed,
        losses=losses,
        model=MessagePassingConfig(**(model | small)),
        **settings,
    )


def is_curves(points: ScaledSet) -> bool:
    """Whether every shape has enough points for a curve."""
    return bool(np.bincount(points.shape).min() >= 4)


def trained(folder: Path, parts: Parts, style: Style, model: dict[str, Any], seed: int, **changes):
    """The summary of one training, its potential and parameters; a training that was cut short goes on.

    Besides the test points, the model is judged with two more between any two scales.
    """
    done = folder / "summary.json"
    config = train_config(style, model, seed, **changes)
    provenance = parts.train.provenance
    labels = {name: provenance[name] for name in ("engine", "version", "settings")}
    data = parts.data()
    if done.exists():
        runs.start(folder, config, resume=True)
        runs.keep_data(folder, labels | data.fingerprints())
    else:
        result = jphys.train(dataclasses.replace(config, resume=True), data, folder=folder, labels=labels)
        lines = runs.read_metrics(folder)
        summary = {
            "data": parts.name,
            "model": model,
            "style": style,
            "seed": seed,
            "n_train": len(parts.train),
            "n_test": len(parts.test),
            "epochs": lines[-1]["epoch"] + 1,
            "minutes": lines[-1]["seconds"] / 60,
            "compilations": result.run.n_compilations,
            "test": judge(result.potential, result.params, parts.test),
        }
        runs.write_json(done, summary)
    summary, (potential, params) = json.loads(done.read_text("utf-8")), checkpoint.load(folder / "best")
    if "between" not in summary and is_curves(parts.test):
        summary["between"] = judge(potential, params, between(parts.test, 2))
        runs.write_json(done, summary)
    return summary, potential, params
