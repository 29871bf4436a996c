"""The only conversion factors of jphys: multiply by one to get into eV, Å, eV/Å, amu.

Values: CODATA 2018 (https://physics.nist.gov/cuu/Constants/).
"""

__all__ = [
    "BOHR",
    "COULOMB",
    "FEMTOSECOND",
    "GIGAPASCAL",
    "HARTREE",
    "INVERSE_CM",
    "KCAL_PER_MOL",
    "KELVIN",
    "MDYNE_PER_ANGSTROM",
    "WAVENUMBER",
]

HARTREE = 27.211386245988  # eV
BOHR = 0.529177210903  # Å
KCAL_PER_MOL = 0.0433641153087705  # eV
MDYNE_PER_ANGSTROM = 6.241509074460763  # eV/Å², the unit of tabulated force constants
COULOMB = HARTREE * BOHR  # e²/(4πε₀) in eV·Å
FEMTOSECOND = 0.09822694788464063  # Å·√(amu/eV), the time that goes with eV, Å and amu
INVERSE_CM = 1.239841984332003e-4  # eV, the energy hc·1 cm⁻¹
KELVIN = 8.617333262e-5  # eV, k_B
GIGAPASCAL = 0.006241509074460763  # eV/Å³
WAVENUMBER = FEMTOSECOND / (2e-5 * 3.141592653589793 * 2.99792458)  # cm⁻¹ of ω = 1 √(eV/(Å²·amu))
