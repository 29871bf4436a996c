"""PBE energies of Al and Cu by GPAW: crystals with plane waves, clusters with atomic orbitals.

Mortensen, Hansen, Jacobsen 2005 (doi:10.1103/PhysRevB.71.035109), Enkovaara et al. 2010
(doi:10.1088/0953-8984/22/25/253202). GPAW is a package of the system (`apt-get install gpaw gpaw-data`) for
the system's Python, so it runs as a process of its own, one per worker: `gpaw_server.py`.
"""

import contextlib
import functools
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np

from jphys.elements import SYMBOLS
from jphys.engines.engine import FAILED, Engine, Result, checked, refuse_cell

NAME, NAME_LCAO = "gpaw", "gpaw-lcao"
CUTOFF_EV = {13: 350, 29: 500}
N_KPOINTS = {13: 14, 29: 12}
WIDTH_EV = 0.1
GRID, VACUUM = 0.2, 4.0  # Å
_BOTH = {
    "occupations": f"Fermi-Dirac {WIDTH_EV} eV, energy extrapolated to width 0",
    "zero": "free atoms of GPAW's setups, not spin-polarised",
}
SETTINGS = {
    "method": "PBE, plane waves, PAW, not spin-polarised",
    "cutoff_ev": {SYMBOLS[z]: cutoff for z, cutoff in CUTOFF_EV.items()},
    "kpoints": {SYMBOLS[z]: [n] * 3 for z, n in N_KPOINTS.items()},
    "kpoints_with_gamma": True,  # a shifted grid lacks the symmetry of fcc: twice the time, 5 meV apart
    **_BOTH,
}
SETTINGS_LCAO = {
    "method": "PBE, atomic orbitals (dzp), PAW, not spin-polarised",
    "grid_angstrom": GRID,
    "vacuum_angstrom": VACUUM,
    "convergence": "1e-4 eV per electron, density 1e-3",
    "mixer": "Pulay 0.1, 8 densities",
    **_BOTH,
}
MISSING = "GPAW must be installed for the system's Python: apt-get install gpaw gpaw-data"


def make() -> Engine:
    """The engine for crystals.

    Raises:
        RuntimeError: if no Python with GPAW is found: $JPHYS_GPAW_PYTHON, else python3 of the system.
    """
    return Engine(NAME, _server()[1], SETTINGS, energy)


def make_lcao() -> Engine:
    """The engine for clusters; raises as `make`."""
    return Engine(NAME_LCAO, _server()[1], SETTINGS_LCAO, energy_lcao)


def energy(species, positions, cell=None) -> Result:
    """Energy of a crystal of Al or Cu with one atom in its cell, see `Engine.energy`."""
    if cell is None:
        raise ValueError(f"{NAME}: cell must be given, this engine is used for crystals, got None")
    species, positions, cell = checked(species, positions, cell, engine=NAME)
    if len(species) != 1 or int(species[0]) not in CUTOFF_EV:
        raise ValueError(f"{NAME}: species must be one atom of Al or Cu, got {species.tolist()}")
    z = int(species[0])
    rows = np.asarray(cell).tolist()
    return _ask(species, positions, cell=rows, cutoff_ev=CUTOFF_EV[z], n_kpoints=N_KPOINTS[z])


def energy_lcao(species, positions, cell=None) -> Result:
    """Energy of a cluster of Al and Cu, see `Engine.energy`."""
    refuse_cell(cell, engine=NAME_LCAO)
    species, positions, _ = checked(species, positions, None, engine=NAME_LCAO)
    if not len(species) or not set(species.tolist()) <= set(CUTOFF_EV):
        raise ValueError(f"{NAME_LCAO}: species must be Al and Cu, got {species.tolist()}")
    return _ask(species, positions, grid_angstrom=GRID, vacuum_angstrom=VACUUM)


def _ask(species: np.ndarray, positions: np.ndarray, **settings) -> Result:
    atoms = {"species": species.tolist(), "positions": positions.tolist()}
    question = json.dumps({**atoms, "width_ev": WIDTH_EV, **settings})
    process, _ = _server()
    with contextlib.suppress(BrokenPipeError):
        print(question, file=process.stdin, flush=True)
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        stop()
        raise RuntimeError(f"GPAW must answer {question}, got exit status {process.returncode}")
    reply = json.loads(line)
    return Result(float(reply["energy"]), True) if reply["converged"] else FAILED


def stop() -> None:
    """End the GPAW of this process, if there is one; the next energy starts another."""
    if _server.cache_info().currsize:
        with contextlib.suppress(BrokenPipeError):
            _server()[0].communicate()  # closes its input
    _server.cache_clear()


@functools.cache
def _server() -> tuple[subprocess.Popen, str]:
    """The running process and GPAW's version; it ends when its input does, with this process."""
    python = os.environ.get("JPHYS_GPAW_PYTHON") or shutil.which("python3", path=os.defpath)
    if python is None:
        raise RuntimeError(f"{MISSING} (there is no python3)")
    script = Path(__file__).with_name("gpaw_server.py")
    # isolated: neither this folder, where a module is called gpaw too, nor our packages are on its path
    process = subprocess.Popen(
        [python, "-I", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    first = process.stdout.readline() if process.stdout else ""
    if not first:
        process.communicate()
        raise RuntimeError(f"{MISSING} (asked {python})")
    return process, json.loads(first)["version"]
