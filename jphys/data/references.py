"""Reference energies per element: what a model learns is the rest, of the size of bond energies."""

from collections.abc import Mapping

import numpy as np

from jphys.data.structures import Structures
from jphys.elements import MAX_Z, SYMBOLS

__all__ = ["composition", "fit", "residual_energies"]


def composition(structures: Structures) -> np.ndarray:
    """Number of atoms of every element in every structure, (m, MAX_Z + 1) int64."""
    owner = np.repeat(np.arange(len(structures)), structures.n_atoms)
    counts = np.zeros((len(structures), MAX_Z + 1), np.int64)
    np.add.at(counts, (owner, structures.species), 1)
    return counts


def fit(structures: Structures) -> dict[int, float]:
    """Constants e_Z (eV) per element that minimise Σ_s (E_s - Σ_Z n_sZ e_Z)².

    Where compositions do not fix them (one element ratio only) the solution of smallest norm is taken.

    Args:
        structures: the training part; energies are total energies in eV.

    Returns:
        Atomic number to energy in eV, for the elements that occur.

    Raises:
        ValueError: no structures, or an energy that is not finite (names the structure).
    """
    if len(structures) == 0:
        raise ValueError("structures must hold at least one structure, got none")
    bad = np.flatnonzero(~np.isfinite(structures.energy))
    if bad.size:
        raise ValueError(
            f"energy must be finite, got {structures.energy[bad[0]]} in {structures.name[bad[0]]}"
        )
    counts = composition(structures)
    present = np.flatnonzero(counts.any(axis=0))
    energies, *_ = np.linalg.lstsq(counts[:, present].astype(float), structures.energy, rcond=None)
    return dict(zip(present.tolist(), energies.tolist(), strict=True))


def residual_energies(structures: Structures, references: Mapping[int, float]) -> np.ndarray:
    """Total energies minus the references of the atoms, E_s - Σ_Z n_sZ e_Z.

    Args:
        structures: energies are total energies in eV.
        references: atomic number to energy in eV, as from `fit`.

    Returns:
        (m,) float64 eV.

    Raises:
        ValueError: an element without a reference; names it and the first structure that has it.
    """
    counts = composition(structures)
    for z in np.flatnonzero(counts.any(axis=0)):
        if int(z) not in references:
            first = structures.name[np.flatnonzero(counts[:, z])[0]]
            known = " ".join(SYMBOLS[k] for k in sorted(references))
            raise ValueError(f"elements must be among those fitted ({known}), got {SYMBOLS[z]} in {first}")
    table = np.zeros(MAX_Z + 1)
    for z, energy in references.items():
        table[z] = energy
    return structures.energy - counts @ table
