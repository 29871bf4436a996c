"""The data of a run: three parts, with energies relative to references fitted on the first."""

import dataclasses

import numpy as np

from jphys.data import references, sources
from jphys.data.scaled import ScaledSet
from jphys.data.splits import split
from jphys.data.structures import Structures, fingerprint, take
from jphys.training.config import TrainConfig

__all__ = ["Data", "Part", "scaled_data", "split_data", "trained_on"]


@dataclasses.dataclass(frozen=True)
class Part:
    """Structures of one part of the split, with their energies relative to the references."""

    structures: Structures
    energy: np.ndarray  # (m,) float64 eV
    scale: np.ndarray | None = (
        None  # (m,) relative to the stable distances; None: all are stable, or forces known
    )


@dataclasses.dataclass(frozen=True)
class Data:
    """The three parts and the per-element energies fitted on the training part."""

    train: Part
    valid: Part
    test: Part
    references: dict[int, float]

    def fingerprints(self) -> dict[str, str]:
        """What data.json of a run folder holds of them: a run goes on with the same data alone."""
        parts = {"sha256": self.train, "sha256_valid": self.valid, "sha256_test": self.test}
        return {name: fingerprint(part.structures) for name, part in parts.items()}


def split_data(structures: Structures, seed: int) -> Data:
    """80/5/15 by seeded permutation; references by least squares on the training part alone.

    Raises:
        ValueError: for fewer than three structures.
    """
    train, valid, test = (take(structures, chosen) for chosen in split(len(structures), seed=seed))
    return referenced(train, valid, test)


def scaled_data(train: ScaledSet, valid: ScaledSet, test: ScaledSet) -> Data:
    """The parts of a set of scaled structures, split by whoever made it."""
    parts = train, valid, test
    return referenced(*(part.structures for part in parts), scales=[part.scale for part in parts])


def referenced(train: Structures, valid: Structures, test: Structures, scales=(None, None, None)) -> Data:
    """The parts with energies relative to references fitted by least squares on the training part alone."""
    fitted = references.fit(train)
    parts = [
        Part(part, references.residual_energies(part, fitted), scale)
        for part, scale in zip((train, valid, test), scales)
    ]
    return Data(parts[0], parts[1], parts[2], fitted)


def trained_on(config: TrainConfig, structures: Structures | None) -> Structures:
    """The structures, or those that the config names; as many as the config wants."""
    structures = sources.load(config.data, config.source) if structures is None else structures
    if not config.structures:
        return structures
    chosen = np.random.default_rng(config.seed).permutation(len(structures))[: config.structures]
    return take(structures, np.sort(chosen))
