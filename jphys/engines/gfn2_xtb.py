"""GFN2-xTB through tblite (extra `engines`): an energy in milliseconds.

Bannwarth, Ehlert, Grimme 2019 (doi:10.1021/acs.jctc.8b01176).
"""

import os
from typing import Any

import numpy as np

from jphys.engines.engine import FAILED, Engine, Result, checked, package_version, refuse_cell
from jphys.units import BOHR, HARTREE

__all__ = ["XtbError", "energy", "make", "xtb_energy_forces"]

NAME = "gfn2-xtb"
MAX_Z = 86  # radon, the last element with parameters
SETTINGS = {
    "method": "GFN2-xTB",
    "program": "tblite",
    "charge": 0,
    "unpaired": 0,
    "accuracy": 1.0,
    "electronic_temperature_K": 300,
}


class XtbError(RuntimeError):
    """GFN2-xTB gave no answer: the self-consistent field did not converge, or an element is unknown."""


def make() -> Engine:
    """The engine, with tblite's default settings.

    Raises:
        ImportError: without tblite.
    """
    return Engine(NAME, package_version("tblite", "GFN2-xTB"), SETTINGS, energy)


def energy(species, positions, cell=None) -> Result:
    """Energy of a neutral closed-shell molecule of elements up to radon, see `Engine.energy`."""
    refuse_cell(cell, engine=NAME)
    species, positions, _ = checked(species, positions, None, engine=NAME)
    if species.max() > MAX_Z:
        raise ValueError(f"{NAME}: species must be atomic numbers up to {MAX_Z}, got {species.max()}")
    if species.sum() % 2:
        raise ValueError(f"{NAME}: molecule must have an even number of electrons, got {species.sum()}")
    try:
        return Result(xtb_energy_forces(species, positions)[0], True)
    except XtbError:
        return FAILED


def _calculator_class() -> Any:
    """tblite's, with one thread unless OMP_NUM_THREADS says otherwise.

    Its OpenMP reads that when it is loaded. By itself it takes a thread per core, which gains little for a
    molecule, and on a busy machine all threads wait for the one that does not run.
    """
    given = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = given or "1"
    try:
        from tblite.interface import Calculator
    except ImportError as error:
        raise ImportError("GFN2-xTB needs tblite: pip install 'jphys[engines]'") from error
    finally:
        if given is None:
            del os.environ["OMP_NUM_THREADS"]
    return Calculator


def xtb_energy_forces(species, positions, *, charge: float = 0.0, unpaired: int = 0):
    """Energy and forces of GFN2-xTB.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        charge: total charge in e.
        unpaired: number of unpaired electrons.

    Returns:
        Energy in eV and forces (n, 3) in eV/Å.

    Raises:
        ImportError: without tblite.
        XtbError: if the calculation fails.
    """
    Calculator = _calculator_class()
    try:
        bohr = np.asarray(positions, np.float64) / BOHR
        calculator = Calculator("GFN2-xTB", np.asarray(species), bohr, charge=charge, uhf=unpaired)
        calculator.set("verbosity", 0)
        result = calculator.singlepoint()
    except RuntimeError as error:
        raise XtbError(str(error)) from error
    energy, gradient = float(result.get("energy")), np.asarray(result.get("gradient"))
    if not (np.isfinite(energy) and np.isfinite(gradient).all()):
        raise XtbError("GFN2-xTB energy or gradient is not finite")
    return energy * HARTREE, -gradient * HARTREE / BOHR
