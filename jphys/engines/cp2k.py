"""PBE energies of molecules, and of clusters and crystals of Al and Cu, by CP2K: the VIMPNN paper's engine.

Kühne et al. 2020 (doi:10.1063/5.0007045). CP2K is a package of the system (`apt-get install cp2k cp2k-data`);
every energy is a process in a temporary folder. Its settings are in `cp2k_input.py`.
"""

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from jphys.engines.cp2k_input import METALS, SETTINGS, write_input
from jphys.engines.engine import FAILED, Engine, Result, checked
from jphys.units import HARTREE

NAME = "cp2k"
PROGRAM = "cp2k.psmp"
TIMEOUT_S = 7200
_ENERGY = re.compile(r"ENERGY\| Total FORCE_EVAL \( QS \) energy \[a\.u\.\]:\s+(\S+)")


class Cp2kError(RuntimeError):
    """CP2K ended without an energy for another reason than convergence."""


def make() -> Engine:
    """The engine.

    Raises:
        RuntimeError: if CP2K is not installed.
    """
    return Engine(NAME, _version(), SETTINGS, energy)


def energy(species, positions, cell=None) -> Result:
    """Energy of a closed-shell molecule, or of a cluster or crystal of Al or Cu, see `Engine.energy`."""
    species, positions, cell = checked(species, positions, cell, engine=NAME)
    kinds = set(species.tolist())
    if cell is not None and not kinds <= set(METALS):
        raise ValueError(f"{NAME}: species of a crystal must be Al or Cu, got {sorted(kinds)}")
    with tempfile.TemporaryDirectory(prefix="jphys-cp2k-") as folder:
        Path(folder, "run.inp").write_text(write_input(species, positions, cell), encoding="ascii")
        try:
            output = _run(folder)
        except subprocess.TimeoutExpired:
            return FAILED
    return parse_output(output)


def parse_output(output: str) -> Result:
    """Energy of a calculation from what CP2K printed.

    Raises:
        Cp2kError: if it neither converged nor says that it did not.
    """
    if "SCF run NOT converged" in output:
        return FAILED
    found = _ENERGY.findall(output)
    if not found or "SCF run converged" not in output:
        raise Cp2kError(f"CP2K must print an energy, its output ends with: {output[-1500:]}")
    return Result(float(found[-1]) * HARTREE, True)


def _run(folder: str) -> str:
    command = [PROGRAM, "-i", "run.inp"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )
    return done.stdout + done.stderr


def _version() -> str:
    if shutil.which(PROGRAM) is None:
        raise RuntimeError(f"CP2K must be installed: apt-get install cp2k cp2k-data (there is no {PROGRAM})")
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True)
    found = re.search(r"CP2K version (\S+)", done.stdout)
    if found is None:
        raise RuntimeError(f"{PROGRAM} --version must name a version, got {done.stdout + done.stderr!r}")
    return found[1]
