"""Conversion factors against those of ASE, an independent table of CODATA constants."""

import ase.units
import pytest

from jphys import units

NEWTON = ase.units.kg * ase.units.m / ase.units.s**2


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (units.HARTREE, ase.units.Hartree),
        (units.BOHR, ase.units.Bohr),
        (units.KCAL_PER_MOL, ase.units.kcal / ase.units.mol),
        (units.FEMTOSECOND, ase.units.fs),
        (units.KELVIN, ase.units.kB),
        (units.GIGAPASCAL, ase.units.GPa),
        (units.MDYNE_PER_ANGSTROM, 1e-8 * NEWTON / ase.units.Angstrom),
    ],
)
def test_factor_agrees_with_ase(ours, theirs):
    assert ours == pytest.approx(theirs, rel=1e-6)


def test_coulomb_energy_of_two_electrons_one_angstrom_apart():
    assert units.COULOMB == pytest.approx(14.399645, rel=1e-6)  # e²/(4πε₀) in eV·Å
