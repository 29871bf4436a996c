"""Augmented QM9: the first 10,000 molecules of QM9 at ten scales (VIMPNN sec. 3.1)."""

from pathlib import Path

import numpy as np

from jphys import elements
from jphys.data import qm9, qm9_bonds, qm9_npz, scaled_files
from jphys.data.scaled import SCALES, ScaledSet
from jphys.data.structures import Structures

__all__ = [
    "DFT_FILE",
    "FILE",
    "LARGER_FILE",
    "LICENCE",
    "N_MOLECULES",
    "SCALES",
    "load",
    "of_formula",
    "shapes",
    "smallest",
    "source_of",
]

N_MOLECULES = 10_000
FILE = Path(__file__).with_name("augmented_qm9_gfn2.npz")  # GFN2-xTB labels, in the package
LARGER_FILE = Path(__file__).with_name("augmented_qm9_C5H7N3O.npz")  # one molecule of figure 3, beyond them
DFT_FILE = Path(__file__).with_name("augmented_qm9_pyscf.npz")  # B3LYP/6-31G(2df,p), first 150 molecules
LICENCE = "CC0"


def load(path=None) -> ScaledSet:
    """The set of a file of `experiments/make_augmented_qm9.py`; None is the one in the package (GFN2-xTB).

    Points that did not converge are left out, counted in `n_failed` and logged. Split it by molecule:
    `jphys.data.scaled.split_shapes(set, fractions=(0.8, 0.1, 0.1), seed=0)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, inconsistent or of another set; names the file and what is wrong.
    """
    return scaled_files.load(FILE if path is None else path, scaled_files.AUGMENTED_QM9)


def shapes(records: qm9_npz.Records, n_molecules: int = N_MOLECULES) -> Structures:
    """The first molecules of QM9 by GDB9 number, with kekulised bonds.

    Molecules that failed the check of QM9's authors are no part of the set: these are the first
    `n_molecules` of the others.

    Args:
        records: as `jphys.data.qm9.read` gives them.
        n_molecules: how many.

    Raises:
        ValueError: if there are fewer molecules than that.
    """
    if not 1 <= n_molecules <= len(records):
        raise ValueError(f"n_molecules must be from 1 to {len(records)}, got {n_molecules}")
    first = np.argsort(records.index, kind="stable")[:n_molecules]
    return qm9_npz.to_structures(qm9_bonds.with_bonds(qm9_npz.take(records, first)))


def of_formula(records: qm9_npz.Records, formula: str) -> Structures:
    """The first molecule of a Hill formula, as "C5H7N3O", by GDB9 number.

    Raises:
        ValueError: if there is none.
    """
    ends = np.cumsum(records.n_atoms)
    for i in np.argsort(records.index, kind="stable"):
        if elements.formula(records.species[ends[i] - records.n_atoms[i] : ends[i]]) == formula:
            return qm9_npz.to_structures(qm9_bonds.with_bonds(qm9_npz.take(records, np.array([i]))))
    raise ValueError(f"formula must be that of one of {len(records)} molecules, got {formula!r}")


def smallest(n_molecules: int) -> Structures:
    """The molecules with the fewest atoms of the subset in the package: for trials.

    Raises:
        ValueError: if there are fewer molecules than that.
    """
    records = qm9_npz.read_npz(qm9.SMALL)
    if not 1 <= n_molecules <= len(records):
        raise ValueError(f"n_molecules must be from 1 to {len(records)}, got {n_molecules}")
    chosen = np.sort(np.argsort(records.n_atoms, kind="stable")[:n_molecules])
    return qm9_npz.to_structures(qm9_bonds.with_bonds(qm9_npz.take(records, chosen)))


def source_of(molecules: Structures) -> str:
    """What a file of these molecules says about their origin."""
    return (
        f"QM9 (doi:10.1038/sdata.2014.22), {len(molecules)} characterised molecules, "
        f"{molecules.name[0]} to {molecules.name[-1]}, B3LYP/6-31G(2df,p) geometries"
    )
