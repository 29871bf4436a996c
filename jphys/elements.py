"""Facts about the chemical elements, indexed by atomic number Z; row 0 is no element.

Sources: Pauling electronegativities, CRC Handbook of Chemistry and Physics (97th edition); 0 where
none is defined. Covalent radii in Å, Cordero et al. 2008 (doi:10.1039/b801115j). Orbitals by Madelung's rule.
"""

from collections import Counter

import numpy as np

__all__ = [
    "COVALENT_RADIUS",
    "ELECTRONEGATIVITY",
    "IS_METAL",
    "MAX_Z",
    "NONMETALS",
    "ORBITALS",
    "SYMBOLS",
    "atomic_number",
    "check_species",
    "formula",
]

SYMBOLS = (
    "X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    "Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb "
    "Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu"
).split()

MAX_Z = len(SYMBOLS) - 1

# fmt: off
ELECTRONEGATIVITY = np.array([
    0.0,
    2.20, 0.00,
    0.98, 1.57, 2.04, 2.55, 3.04, 3.44, 3.98, 0.00,
    0.93, 1.31, 1.61, 1.90, 2.19, 2.58, 3.16, 0.00,
    0.82, 1.00, 1.36, 1.54, 1.63, 1.66, 1.55, 1.83, 1.88, 1.91, 1.90, 1.65, 1.81, 2.01, 2.18, 2.55, 2.96, 0.00,
    0.82, 0.95, 1.22, 1.33, 1.60, 2.16, 2.10, 2.20, 2.28, 2.20, 1.93, 1.69, 1.78, 1.96, 2.05, 2.10, 2.66, 2.60,
    0.79, 0.89, 1.10, 1.12, 1.13, 1.14, 0.00, 1.17, 0.00, 1.20, 0.00, 1.22, 1.23, 1.24, 1.25, 0.00, 1.00,
    1.30, 1.50, 1.70, 1.90, 2.20, 2.20, 2.20, 2.40, 1.90, 1.80, 1.80, 1.90, 2.00, 2.20, 0.00,
    0.70, 0.90, 1.10, 1.30, 1.50, 1.70, 1.30, 1.30,
])

COVALENT_RADIUS = np.array([
    0.20,
    0.31, 0.28,
    1.28, 0.96, 0.84, 0.76, 0.71, 0.66, 0.57, 0.58,
    1.66, 1.41, 1.21, 1.11, 1.07, 1.05, 1.02, 1.06,
    2.03, 1.76, 1.70, 1.60, 1.53, 1.39, 1.39, 1.32, 1.26, 1.24, 1.32, 1.22, 1.22, 1.20, 1.19, 1.20, 1.20, 1.16,
    2.20, 1.95, 1.90, 1.75, 1.64, 1.54, 1.47, 1.46, 1.42, 1.39, 1.45, 1.44, 1.42, 1.39, 1.39, 1.38, 1.39, 1.40,
    2.44, 2.15, 2.07, 2.04, 2.03, 2.01, 1.99, 1.98, 1.98, 1.96, 1.94, 1.92, 1.92, 1.89, 1.90, 1.87, 1.87,
    1.75, 1.70, 1.62, 1.51, 1.44, 1.41, 1.36, 1.36, 1.32, 1.45, 1.46, 1.48, 1.40, 1.50, 1.50,
    2.60, 2.21, 2.15, 2.06, 2.00, 1.96, 1.90, 1.87,
])
# fmt: on


NONMETALS = "X H He B C N O F Ne Si P S Cl Ar Ge As Se Br Kr Sb Te I Xe At Rn".split()  # with metalloids
IS_METAL = np.array([symbol not in NONMETALS for symbol in SYMBOLS])


def _orbitals(z: int) -> int:
    """Spatial orbitals of the subshells that Madelung's rule fills: least n + l first, then least n."""
    subshells = sorted((n + kind, n, kind) for n in range(1, 8) for kind in range(n))
    count = 0
    for _, _, kind in subshells:
        if z <= 0:
            break
        count, z = count + 2 * kind + 1, z - 2 * (2 * kind + 1)
    return count


ORBITALS = np.array([_orbitals(z) for z in range(MAX_Z + 1)])  # H 1, C 5, Al 9, Cu 15


def atomic_number(symbol: str) -> int:
    """Atomic number of an element symbol.

    >>> atomic_number("O")
    8

    Raises:
        ValueError: if the symbol names no element.
    """
    if symbol not in SYMBOLS[1:]:
        raise ValueError(f"symbol must be an element from H to {SYMBOLS[-1]}, got {symbol!r}")
    return SYMBOLS.index(symbol)


def formula(species) -> str:
    """Hill formula of atomic numbers: C and H first, then by symbol.

    >>> formula([8, 6, 1, 1])
    'CH2O'
    """
    counts = Counter(SYMBOLS[z] for z in species)
    first = [symbol for symbol in ("C", "H") if "C" in counts and symbol in counts]
    order = first + sorted(set(counts) - set(first))
    return "".join(symbol + (str(counts[symbol]) if counts[symbol] > 1 else "") for symbol in order)


def check_species(species) -> np.ndarray:
    """Atomic numbers (n,) as int32, every one of them an element of the tables.

    Raises:
        ValueError: if the array is not one-dimensional and integer, or an entry is not 1..MAX_Z.
    """
    species = np.asarray(species)
    if species.ndim != 1 or not (np.issubdtype(species.dtype, np.integer) or species.size == 0):
        raise ValueError(
            f"species must be a 1-d array of atomic numbers, got shape {species.shape}, dtype {species.dtype}"
        )
    bad = np.flatnonzero((species < 1) | (species > MAX_Z))
    if bad.size:
        raise ValueError(
            f"species must be atomic numbers from 1 to {MAX_Z}, got {species[bad[0]]} at atom {bad[0]}"
        )
    return species.astype(np.int32)
