"""The data of a run, by name or file."""

from pathlib import Path

from jphys.data import extxyz, qm9
from jphys.data.splits import Split
from jphys.data.structures import Structures

__all__ = ["SHIPPED", "WHOLE", "load"]

SHIPPED, WHOLE = "qm9-small", "qm9"
N_PARTS = len(Split._fields)


def load(name: str, source: Path | None = None, *, with_bonds: bool = False) -> Structures:
    """Structures of `qm9-small`, of `qm9`, or of one file that ASE reads.

    Args:
        name: `qm9-small`, `qm9`, or the path of the file.
        source: for `qm9`, see `jphys.data.qm9.load`.
        with_bonds: for `qm9`, perceive bonds too.

    Raises:
        ConnectionError, FileNotFoundError: as `jphys.data.qm9.load`.
        ValueError: if the name is neither of them nor an existing file, or has no use for the source; for
            fewer than 3 structures; as `jphys.data.qm9.load` and `jphys.data.extxyz.load`.
    """
    if source is not None and name != WHOLE:
        raise ValueError(
            f"source must go with the data qm9, which it is a copy of, got {source} for {name!r}"
        )
    structures = _load(name, source, with_bonds)
    if len(structures) < N_PARTS:
        raise ValueError(
            f"{source or name} must hold at least {N_PARTS} structures, one each for training, validation "
            f"and test, got {len(structures)}"
        )
    return structures


def _load(name: str, source: Path | None, with_bonds: bool) -> Structures:
    if name == SHIPPED:
        return qm9.load_small()
    if name == WHOLE:
        return qm9.load(source, with_bonds=with_bonds)
    if not Path(name).exists():
        raise ValueError(f"data must be qm9-small, qm9 or an existing file, got {name!r}")
    return extxyz.load(name)
