"""Infinite crystals: fcc Al and Cu at many scales (VIMPNN sec. 3.2)."""

from pathlib import Path

import numpy as np

from jphys.data import scaled_files
from jphys.data.scaled import ScaledSet
from jphys.data.splits import Split
from jphys.data.structures import Structures
from jphys.elements import SYMBOLS

__all__ = ["FILE", "LATTICE_CONSTANTS", "LICENCE", "SCALES", "SOURCE", "load", "shapes", "split_scales"]

# Steps of 0.00125; 1 is one of them. The paper has 20,000 scales, of which its models see 8 in training.
SCALES = np.round(np.linspace(0.9, 1.5, 481), 5)
# Lattice constants in Å at the minimum of each engine's own energy, with the settings of `jphys.engines`.
LATTICE_CONSTANTS = {
    "cp2k": {13: 4.029, 29: 3.651},
    "gpaw": {13: 4.039, 29: 3.643},
    "gpaw-lcao": {13: 4.039, 29: 3.643},  # of gpaw: where the growing clusters start
    "emt": {13: 3.995, 29: 3.590},
}
FILE = Path(__file__).with_name("infinite_crystal_gpaw.npz")  # PBE labels, in the package
LICENCE = "CC0"
SOURCE = "fcc crystals with one atom in the cell, made by jphys"


def load(path=None) -> ScaledSet:
    """The set of a file of `experiments/make_infinite_crystal.py`; None is the one in the package (GPAW).

    Points that did not converge are left out, counted in `n_failed` and logged.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, inconsistent or of another set; names the file and what is wrong.
    """
    return scaled_files.load(FILE if path is None else path, scaled_files.INFINITE_CRYSTAL)


def shapes(lattice_constants: dict[int, float]) -> Structures:
    """Primitive fcc cells, rows (0, a/2, a/2), (a/2, 0, a/2), (a/2, a/2, 0), with one atom.

    Args:
        lattice_constants: atomic number to a in Å, as in `LATTICE_CONSTANTS`.

    Raises:
        ValueError: for no element, or a lattice constant that is not positive and finite.
    """
    check_lattice_constants(lattice_constants)
    n, constants = len(lattice_constants), np.array(list(lattice_constants.values()))
    return Structures(
        name=np.array([f"fcc-{SYMBOLS[z]}" for z in lattice_constants]),
        n_atoms=np.ones(n, np.int32),
        species=np.array(list(lattice_constants), np.int32),
        positions=np.zeros((n, 3)),
        energy=np.full(n, np.nan),
        forces=None,
        cell=constants[:, None, None] / 2 * (1 - np.eye(3)),
        n_bonds=np.zeros(n, np.int32),
        bonds=np.zeros((0, 3), np.int32),
    )


def check_lattice_constants(lattice_constants: dict[int, float]) -> None:
    """Raises ValueError for no element, or a lattice constant that is not positive and finite."""
    if not lattice_constants:
        raise ValueError("lattice_constants must be of one or more elements, got none")
    for z, a in lattice_constants.items():
        if not 0 < a < np.inf:
            raise ValueError(f"lattice_constants must be positive and finite, got {a} for {SYMBOLS[z]}")


def split_scales(crystals: ScaledSet, *, n_train: int = 8, seed: int) -> Split:
    """The paper's split of points: few evenly spaced scales per crystal to learn from, the rest in halves.

    Training gets the points nearest to `n_train` even steps from the smallest to the largest scale of each
    crystal; the others are shuffled, half to validation and half to test.

    Args:
        crystals: the set.
        n_train: training points per crystal, at least 2.
        seed: of the shuffle, not negative.

    Raises:
        ValueError: for no points; if n_train is below 2 or leaves a crystal fewer than 2 points; seed < 0.
    """
    if not len(crystals):
        raise ValueError("crystals must have points, got none")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    counts = np.bincount(crystals.shape)
    if not 2 <= n_train <= counts.min() - 2:
        raise ValueError(f"n_train must be from 2 to {counts.min() - 2}, got {n_train}")
    rng, parts = np.random.default_rng(seed), ([], [], [])
    for shape in range(crystals.n_shape):
        points = np.flatnonzero(crystals.shape == shape)
        scales = crystals.scale[points]
        wanted = np.linspace(scales.min(), scales.max(), n_train)
        chosen = np.unique(np.abs(scales - wanted[:, None]).argmin(axis=1))
        rest = rng.permutation(np.delete(points, chosen))
        for part, found in zip(parts, (points[chosen], *np.split(rest, [len(rest) // 2]))):
            part.append(found)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))
