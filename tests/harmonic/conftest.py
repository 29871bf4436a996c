"""Molecules at rest."""

import pytest
from ase.build import molecule
from ase.optimize import BFGS

from jphys.graph import from_ase


@pytest.fixture(scope="session")
def at_rest(calculator):
    """Molecules of ASE's by name, at minima of the shipped model, as graphs."""

    def find(*names):
        found = []
        for name in names:
            atoms = molecule(name)
            atoms.calc = calculator
            assert BFGS(atoms, logfile=None).run(fmax=0.002, steps=200)
            found.append(from_ase(atoms))
        return found

    return find
