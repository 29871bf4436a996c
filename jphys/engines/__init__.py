"""Electronic-structure engines behind one small interface: a function from atoms to an energy.

An engine that is not installed is an error that says what to install; nothing is imported before
`make_engine` asks for it.
"""

from importlib import import_module

from jphys.engines.engine import Engine, Result

_MAKERS = {
    "gfn2-xtb": ("gfn2_xtb", "make"),
    "pyscf": ("pyscf_b3lyp", "make"),
    "cp2k": ("cp2k", "make"),
    "gpaw": ("gpaw", "make"),
    "gpaw-lcao": ("gpaw", "make_lcao"),
    "emt": ("emt", "make"),
}
NAMES = tuple(_MAKERS)

__all__ = ["NAMES", "Engine", "Result", "make_engine"]


def make_engine(name: str) -> Engine:
    """The engine of that name, ready to use.

    Args:
        name: `gfn2-xtb` (molecules, tblite), `pyscf` (molecules, B3LYP with QM9's basis), `cp2k` (molecules,
            clusters and crystals of Al and Cu, PBE), `gpaw` (crystals of Al and Cu, PBE), `gpaw-lcao`
            (clusters of Al and Cu, PBE), or `emt` (clusters and crystals of metals, effective medium theory
            in ASE).

    Raises:
        ValueError: if there is no engine of that name.
        ImportError: if its Python package is not installed; says which.
        RuntimeError: if its program is not installed; says which.
    """
    if name not in _MAKERS:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}")
    module, maker = _MAKERS[name]
    return getattr(import_module(f"jphys.engines.{module}"), maker)()
