"""geomeTRIC (doi:10.1063/1.4952956) and Sella (doi:10.1021/acs.jctc.2c00395) as peers of
`bench_simulation.py`: minimisers in internal coordinates, one molecule at a time.

What is compared is how often they ask for forces of `qm9-small`. Both stop at the largest force alone, as
ours does. Run as a script, this file is the process of the peer; its interpreter has jphys too.
"""

import contextlib
import importlib
import logging
import os
import sys
import tempfile
from typing import Any

import ase
import numpy as np
from peer_process import Peer, serve_requests
from peer_process import check as check_for

import jphys
from jphys.units import BOHR, HARTREE

KINDS = ("geomeTRIC", "Sella")
LARGE = 1e3  # of a criterion that is not to count


def check(python: str) -> None:
    """Stop where the interpreter does not have one of the libraries, or jphys."""
    check_for(python, "geometric.ase_engine", "EngineASE", "geometric, sella and jphys")
    check_for(python, "sella", "Sella", "geometric, sella and jphys")
    check_for(python, "jphys", "Calculator", "geometric, sella and jphys")


def start(python: str) -> Peer:
    """A process that relaxes one molecule per request."""
    return Peer(python, __file__, {})


class Counted(jphys.Calculator):
    """A calculator that counts evaluations."""

    calls = 0

    def calculate(self, *arguments, **settings):
        self.calls += 1
        return super().calculate(*arguments, **settings)


def by_geometric(atoms: ase.Atoms, fmax: float, max_steps: int) -> None:
    """Translation-rotation internal coordinates, its defaults but for what counts as converged."""
    optimize, engines, molecules = (
        importlib.import_module(f"geometric.{name}") for name in ("optimize", "ase_engine", "molecule")
    )
    molecule = molecules.Molecule()
    molecule.elem, molecule.xyzs = atoms.get_chemical_symbols(), [atoms.positions.copy()]
    criteria = {f"convergence_{name}": LARGE for name in ("energy", "grms", "drms", "dmax")}
    criteria["convergence_gmax"] = fmax / HARTREE * BOHR
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        logging.disable(logging.CRITICAL)
        with contextlib.suppress(optimize.GeomOptNotConvergedError):
            path = optimize.run_optimizer(
                customengine=engines.EngineASE(molecule, atoms.calc),
                input="molecule",
                maxiter=max_steps,
                **criteria,
            )
            atoms.positions[:] = path.xyzs[-1]
        logging.disable(logging.NOTSET)


def by_sella(atoms: ase.Atoms, fmax: float, max_steps: int) -> None:
    """Internal coordinates and its defaults for minima."""
    sella = importlib.import_module("sella")
    sella.Sella(atoms, order=0, internal=True, logfile=os.devnull).run(fmax, max_steps)


def relaxation(task: dict[str, Any]):
    """The function that relaxes the molecule of a request."""
    calculator = Counted(*jphys.load("qm9-small"))
    minimise = dict(zip(KINDS, (by_geometric, by_sella)))

    def relax(request: dict[str, Any]) -> dict[str, Any]:
        atoms = ase.Atoms(request["species"], request["positions"], calculator=calculator)
        calculator.reset()
        calculator.calls = 0
        try:
            minimise[request["kind"]](atoms, request["fmax"], request["max_steps"])
        except Exception as error:  # both have many; a molecule that fails counts as not converged
            print(f"{request['kind']}: {error!r}", file=sys.stderr)
            return {"calls": calculator.calls, "failure": repr(error)}
        calls = calculator.calls
        fmax = float(np.linalg.norm(atoms.get_forces(), axis=1).max())
        return {"calls": calls, "energy": atoms.get_potential_energy(), "fmax": fmax, "failure": None}

    return relax


if __name__ == "__main__":
    serve_requests(relaxation)
