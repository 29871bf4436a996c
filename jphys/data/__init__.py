"""Structures to learn from and to judge by: one module per dataset, splits, the loader."""

from typing import TYPE_CHECKING

from jphys.lazy import attributes as _attributes

if TYPE_CHECKING:
    from jphys.data import (
        augmented_qm9,
        crystals,
        growth,
        labelling,
        loader,
        qm9,
        qm9_bonds,
        qm9_npz,
        references,
        scaled,
        scaled_files,
        sources,
        splits,
        structures,
        truth,
    )

__all__ = [
    "augmented_qm9",
    "crystals",
    "growth",
    "labelling",
    "loader",
    "qm9",
    "qm9_bonds",
    "qm9_npz",
    "references",
    "scaled",
    "scaled_files",
    "sources",
    "splits",
    "structures",
    "truth",
]

__getattr__ = _attributes(__name__)
