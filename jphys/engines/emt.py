"""Effective medium theory in ASE: metals in milliseconds, for data sets of full size.

Jacobsen, Stoltze, Nørskov 1996 (doi:10.1016/0039-6028(96)00816-3), ASE's parameters. The zero of energy is
the crystal at its lattice constant: a cluster has a positive energy.
"""

from jphys.engines.engine import FAILED, Engine, Result, checked, package_version
from jphys.neighbors import within_cutoff

NAME = "emt"
ON_ONE_SPOT = 0.1  # Å; ASE divides by the distance, and gives an energy all the same
SETTINGS = {"method": "effective medium theory", "program": "ase.calculators.emt", "zero": "bulk crystal"}


def make() -> Engine:
    """The engine; ASE is always installed with jphys."""
    return Engine(NAME, package_version("ase", "EMT"), SETTINGS, energy)


def energy(species, positions, cell=None) -> Result:
    """Energy of a cluster or crystal of Al, Cu, Ag, Au, Ni, Pd or Pt, see `Engine.energy`.

    Atoms within 0.1 Å of each other are a calculation that failed.
    """
    from ase import Atoms
    from ase.calculators.emt import EMT

    species, positions, cell = checked(species, positions, cell, engine=NAME)
    if len(within_cutoff(positions, cell, ON_ONE_SPOT)[0]):
        return FAILED
    atoms = Atoms(species, positions, cell=cell, pbc=cell is not None, calculator=EMT())
    try:
        return Result(float(atoms.get_potential_energy()), True)
    except NotImplementedError as error:
        raise ValueError(f"{NAME}: species must be metals that ASE's EMT knows, got {error}") from error
