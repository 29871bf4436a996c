"""How deep is the well of a bond? Energies of ten bonds taken apart, for the prior's Morse curves.

    pip install -e ".[engines]" && python experiments/bond_depths.py

UB3LYP by PySCF, with its own 6-31G(2df,p), at the geometries of the G2 set (that of CH₃F relaxed by
GFN2-xTB). The two sides stay as they are in the molecule, as they do in the prior. Prints the depths of
`DEPTHS` in `jphys.prior.force_constants`; a minute on one core.
"""

import sys
from typing import Any

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.optimize import BFGS

from jphys import units
from jphys.fragments import bridges
from jphys.prior import bonded_pairs

BONDS = {
    **{"CH4": "HC", "NH3": "HN", "H2O": "HO", "HF": "HF", "C2H6": "CC", "H3CNH2": "CN"},
    **{"CH3OH": "CO", "CH3F": "CF", "N2H4": "NN", "H2O2": "OO"},
}


def atoms_of(name: str) -> Atoms:
    """The molecule of the G2 set."""
    if name != "CH3F":
        return molecule(name)
    from tblite.ase import TBLite  # pyright: ignore[reportMissingImports]

    atoms = molecule("CH3Cl")
    atoms.numbers[atoms.numbers == 17] = 9
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    BFGS(atoms, logfile=None).run(fmax=0.01)  # pyright: ignore[reportArgumentType]
    return atoms


def energy(atoms: Atoms) -> float:
    """Of the lowest spin, kcal/mol."""
    from pyscf import dft, gto  # pyright: ignore[reportMissingImports]

    places = list(zip(atoms.get_chemical_symbols(), atoms.positions.tolist()))
    spin = int(atoms.numbers.sum()) % 2
    field: Any = dft.UKS(gto.M(atom=places, basis="6-31g(2df,p)", spin=spin, verbose=0), xc="b3lyp")
    field.kernel()
    if not field.converged:
        raise ValueError(f"{atoms.get_chemical_formula()}: the self-consistent field must converge")
    return float(field.e_tot) * units.HARTREE / units.KCAL_PER_MOL


def main() -> None:
    """One line per bond."""
    for name, bond in BONDS.items():
        atoms = atoms_of(name)
        symbols = np.array(atoms.get_chemical_symbols())
        cuts = bridges(bonded_pairs(atoms.numbers, atoms.positions))
        fitting = [cut for cut in cuts if sorted(bond) == sorted(symbols[list(cut[:2])])]
        if not fitting:
            raise ValueError(f"BONDS must name a bond in no ring of each molecule, got {bond} for {name}")
        a, b, side = fitting[0]
        depth = energy(atoms[side]) + energy(atoms[~side]) - energy(atoms)
        print(f"{name:8s} {bond}  {atoms.get_distance(a, b):.3f} Å  {depth:.1f} kcal/mol")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
