"""Energies of crystals by GPAW, one JSON line in, one out: run by the interpreter that has GPAW.

GPAW comes as a package of the system, for the system's Python: this file must not import jphys.

    {"species": [13], "positions": [[0, 0, 0]], "cell": [[0, 2, 2], [2, 0, 2], [2, 2, 0]],
     "cutoff_ev": 350, "n_kpoints": 14, "width_ev": 0.1}
    {"energy": -3.73, "converged": true}
"""

import json
import os
import sys
from importlib import import_module


def answer(question: dict) -> dict:
    """Energy in eV, extrapolated to no smearing; converged false where GPAW gave up."""
    from ase import Atoms

    gpaw = import_module("gpaw")
    atoms = Atoms(question["species"], question["positions"], cell=question["cell"], pbc=True)
    atoms.calc = gpaw.GPAW(
        mode=gpaw.PW(question["cutoff_ev"]),
        xc="PBE",
        kpts={"size": [question["n_kpoints"]] * 3, "gamma": True},
        occupations=gpaw.FermiDirac(question["width_ev"]),
        txt=None,
    )
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
