"""Energies of crystals and clusters by GPAW, one JSON line in, one out: run by the interpreter that has it.

GPAW comes as a package of the system, for the system's Python: this file must not import jphys.

    {"species": [13], "positions": [[0, 0, 0]], "cell": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
     "width_ev": 0.1, "cutoff_ev": 350, "n_kpoints": 14}
    {"energy": -3.73, "converged": true}

A cluster has "grid_angstrom" and "vacuum_angstrom" instead of cell, cutoff and k-points.
"""

import json
import os
import sys
from importlib import import_module


def answer(question: dict) -> dict:
    """Energy in eV, extrapolated to no smearing; converged false where GPAW gave up."""
    from ase import Atoms

    gpaw = import_module("gpaw")
    cell = question.get("cell")
    atoms = Atoms(question["species"], question["positions"], cell=cell, pbc=cell is not None)
    settings = {"xc": "PBE", "occupations": gpaw.FermiDirac(question["width_ev"]), "txt": None}
    if cell is None:
        atoms.center(vacuum=question["vacuum_angstrom"])
        settings |= {"mode": "lcao", "basis": "dzp", "h": question["grid_angstrom"]}
        settings |= {"nbands": "120%", "mixer": gpaw.Mixer(0.1, 8, 1)}
        settings |= {"convergence": {"energy": 1e-4, "density": 1e-3}}  # eV per electron; electrons
    else:
        kpoints = {"size": [question["n_kpoints"]] * 3, "gamma": True}
        settings |= {"mode": gpaw.PW(question["cutoff_ev"]), "kpts": kpoints}
    atoms.calc = gpaw.GPAW(**settings)
    try:
        return {"energy": float(atoms.get_potential_energy()), "converged": True}
    except gpaw.KohnShamConvergenceError:
        return {"energy": None, "converged": False}


def main() -> None:
    """Say which version this is, then answer until the input ends."""
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not end up between the replies
    print(json.dumps({"version": import_module("gpaw").__version__}), file=replies, flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), file=replies, flush=True)


if __name__ == "__main__":
    main()
