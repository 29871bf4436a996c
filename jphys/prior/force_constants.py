"""Force constants of a stable molecule that are known from its structure alone, by published rules.

Only the widths of bonds follow from calculations of our own (`DEPTHS`).

Bonds, angles: the empirical rules of MMFF94, which it keeps for what its tables lack (Halgren 1996, part V,
doi:10.1002/(SICI)1096-987X(199604)17:5/6<616::AID-JCC5>3.0.CO;2-X, eqs. 19 and 20). Here they are asked at
the stable structure's own lengths and angles. Pairs of elements they do not know: H. B. Schlegel's rules for
starting Hessians (Theor. Chim. Acta 66, 333 (1984), doi:10.1007/BF00554788), which are those of Hartree-Fock,
whose frequencies are too high by 1/0.8929 (Pople et al. 1993, doi:10.1002/ijch.199300041): scaled by 0.8929².
Planar atoms: MMFF94's out-of-plane constants. Contacts of atoms that are not bonded: the repulsion of MM3,
ε·1.84·10⁵·exp(−12 r/r_v) (Allinger, Yuh & Lii 1989, doi:10.1021/ja00205a001).
"""

import numpy as np

from jphys import units
from jphys.elements import COVALENT_RADIUS, MAX_Z
from jphys.prior.topology import lengths

# Å and mdyn/Å of bonds of two elements (Halgren 1996 V, table of bond default-rule parameters).
BONDS = {
    **{(1, 6): (1.084, 5.15), (1, 7): (1.001, 7.35), (1, 8): (0.947, 9.10), (1, 9): (0.92, 10.6)},
    **{(1, 14): (1.48, 2.3), (1, 15): (1.415, 2.95), (1, 16): (1.326, 4.30), (1, 17): (1.28, 4.3)},
    **{(1, 35): (1.41, 4.2), (1, 53): (1.60, 2.7), (6, 6): (1.512, 3.80), (6, 7): (1.439, 4.55)},
    **{(6, 8): (1.393, 5.40), (6, 9): (1.353, 6.20), (6, 14): (1.86, 2.6), (6, 15): (1.84, 2.7)},
    **{(6, 16): (1.812, 2.85), (6, 17): (1.781, 2.75), (6, 35): (1.94, 2.6), (6, 53): (2.16, 1.4)},
    **{(7, 7): (1.283, 6.00), (7, 8): (1.333, 5.90), (7, 9): (1.36, 5.9), (7, 14): (1.74, 3.7)},
    **{(7, 15): (1.65, 4.8), (7, 16): (1.674, 3.75), (7, 17): (1.75, 3.5), (8, 8): (1.48, 3.6)},
    **{(8, 9): (1.42, 4.6), (8, 14): (1.63, 5.2), (8, 15): (1.66, 4.7), (8, 16): (1.470, 9.90)},
    **{(8, 17): (1.70, 4.1), (9, 14): (1.57, 6.4), (9, 15): (1.54, 7.1), (9, 16): (1.55, 6.9)},
    **{(14, 14): (2.32, 1.3), (14, 17): (2.02, 3.1), (15, 15): (2.21, 1.7), (15, 16): (2.10, 2.4)},
    **{(15, 17): (2.03, 3.0), (16, 16): (2.052, 2.50), (16, 17): (2.04, 2.9), (17, 17): (1.99, 3.5)},
    **{(35, 35): (2.28, 2.4), (53, 53): (2.67, 1.6)},
}
BADGER = 6.0  # k ~ r⁻⁶
# These constants give fundamentals. Harmonic wavenumbers of B3LYP are higher by 1/0.9614 (Scott & Radom 1996,
# doi:10.1021/jp960976r), which is anharmonicity: that of stretches of hydrogen for the most part.
FUNDAMENTAL = 0.9614
# Å and kcal/mol: length and depth of the bond in H-CH₃, H-NH₂, H-OH, HF, H₃C-CH₃, H₃C-NH₂, H₃C-OH, H₃C-F,
# H₂N-NH₂, HO-OH: energies of the two sides as they are in the molecule, less that of the molecule, by
# UB3LYP/6-31G(2df,p) (experiments/bond_depths.py). Lengths are those of experiment: a hundredth of an Å does
# not change a depth. Enthalpies of dissociation are smaller, by the zero-point energy and by what the sides
# gain as they relax, which nothing else of the prior does either.
DEPTHS = {
    **{(1, 6): (1.087, 119.7), (1, 7): (1.012, 112.6), (1, 8): (0.958, 120.2), (1, 9): (0.917, 132.7)},
    **{(6, 6): (1.535, 112.5), (6, 7): (1.471, 97.8), (6, 8): (1.421, 104.3), (6, 9): (1.383, 119.9)},
    **{(7, 7): (1.447, 70.8), (8, 8): (1.453, 54.9)},
}
MORSE_WIDTH = 2.0  # Å⁻¹ of other pairs: the anharmonicity that MMFF94 gives every bond
# Z of either end and C of the centre of an angle; mdyn·Å with a length in Å (Halgren 1996 V, table VI).
ENDS = {1: 1.395, 6: 2.494, 7: 2.711, 8: 3.045, 9: 2.847, 14: 2.350, 15: 2.350, 16: 2.980, 17: 2.909}
ENDS |= {35: 3.017, 53: 3.086}
CENTRES = {6: 1.016, 7: 1.113, 8: 1.337, 14: 0.811, 15: 1.068, 16: 1.249, 17: 1.078}
BETA = {0: 1.75, 3: 1.75 * 0.05, 4: 1.75 * 0.85}  # by the size of a small ring
HARTREE_FOCK_SCALE = 0.8929**2
STRETCH_A = 1.734  # Hartree·Bohr, of k = A/(r − B)³
STRETCH_B = np.array([[-0.244, 0.352, 0.660], [0.352, 1.085, 1.522], [0.660, 1.522, 2.068]])  # Bohr, by row
BEND = (0.250, 0.160)  # Hartree/rad²: between heavy atoms; with a hydrogen at either end
WAG = {6: 0.020, 7: 0.015}  # mdyn·Å/rad² per Wilson angle of a planar atom: MMFF94 *=C<, MMFF94s amide N
WAG_CARBONYL = 0.130  # MMFF94 >C=O
MM3_STRENGTH, MM3_DECAY = 1.84e5, 12.0  # without unit
# Radii in Å and depths ε in kcal/mol of MM3. Elements that are not listed: covalent radius + 1.2 Å, 0.05.
MM3 = {
    **{1: (1.62, 0.020), 6: (2.04, 0.027), 7: (1.93, 0.043), 8: (1.82, 0.059), 9: (1.71, 0.075)},
    **{14: (2.29, 0.140), 15: (2.22, 0.168), 16: (2.15, 0.202), 17: (2.07, 0.240), 35: (2.18, 0.320)},
}


def _by_element(table, default, width=()) -> np.ndarray:
    """Rows of a table by atomic number."""
    rows = np.full((MAX_Z + 1, *width), default, float)
    for z, row in table.items():
        rows[z] = row
    return rows


def _by_pair(table) -> np.ndarray:
    """(Z, Z, 2), NaN where a pair is not listed."""
    rows = np.full((MAX_Z + 1, MAX_Z + 1, 2), np.nan)
    for (i, j), row in table.items():
        rows[i, j] = rows[j, i] = row
    return rows


_BONDS, _ENDS, _CENTRES = _by_pair(BONDS), _by_element(ENDS, np.nan), _by_element(CENTRES, np.nan)
_DEPTHS = _by_pair(DEPTHS)
_WAG = _by_element(WAG, 0.020)
_MM3 = np.stack([COVALENT_RADIUS + 1.2, np.full(MAX_Z + 1, 0.05)], axis=1)
for _z, _row in MM3.items():
    _MM3[_z] = _row


def stretch(species, positions, bonds) -> np.ndarray:
    """Stiffness k in eV/Å² and Morse's width a in Å⁻¹, (t, 2).

    k = k_ref·(r_ref/r)⁶ of the two elements; else k = A/(r − B)³, B by their periods. a = √(k/2D) for the
    bond of known depth D, and the same for stronger bonds of the two elements: their depth grows as k does.
    """
    r, pair = lengths(positions, bonds), (species[bonds[:, 0]], species[bonds[:, 1]])
    known, (length, depth) = _badger(r, pair), _DEPTHS[pair].T
    width = np.sqrt(_badger(length, pair) / (2.0 * depth * units.KCAL_PER_MOL))
    k = np.where(np.isfinite(known), known, _schlegel(species, r, bonds))
    return np.stack([k, np.where(np.isfinite(width), width, MORSE_WIDTH)], axis=1)


def _badger(r, pair) -> np.ndarray:
    """k_ref·(r_ref/r)⁶ (t,) eV/Å², harmonic; NaN for pairs that are not listed."""
    reference, k = _BONDS[pair].T
    harmonic = np.where((pair[0] == 1) | (pair[1] == 1), k / FUNDAMENTAL**2, k)
    return units.MDYNE_PER_ANGSTROM * harmonic * (reference / r) ** BADGER


def _schlegel(species, r, bonds) -> np.ndarray:
    """k = A/(r − B)³ eV/Å², B by the periods of the two atoms (Schlegel's form of Badger's rule)."""
    period = np.searchsorted([2, 10], species)
    gap = np.maximum(r / units.BOHR - STRETCH_B[period[bonds[:, 0]], period[bonds[:, 1]]], 0.5)
    return HARTREE_FOCK_SCALE * units.HARTREE / units.BOHR**2 * STRETCH_A / gap**3


def bend(species, positions, angles, ring) -> np.ndarray:
    """k = β·Z_i·C_j·Z_k/((r_ij + r_jk)·θ²)·exp(−2(r_ij − r_jk)²/(r_ij + r_jk)²) eV/rad².

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        angles: (t, 3), the centre in the middle.
        ring: (t,) 3 or 4 in rings of three or four atoms, else 0; these strained angles are softer.
    """
    i, j, k = angles.T
    a, b = positions[i] - positions[j], positions[k] - positions[j]
    first, second = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    theta = np.arccos(np.clip((a * b).sum(axis=1) / (first * second), -1.0, 1.0))
    total, beta = first + second, np.select([ring == 3, ring == 4], [BETA[3], BETA[4]], BETA[0])
    strength = beta * _ENDS[species[i]] * _CENTRES[species[j]] * _ENDS[species[k]]
    known = strength / (total * theta**2) * np.exp(-2.0 * ((first - second) / total) ** 2)
    hydrogen = (species[angles[:, [0, 2]]] == 1).any(axis=1)
    other = HARTREE_FOCK_SCALE * units.HARTREE * np.where(hydrogen, BEND[1], BEND[0])
    return np.where(np.isfinite(known), units.MDYNE_PER_ANGSTROM * known, other)


def wag(species, planar, n_bonds) -> np.ndarray:
    """k eV of ½k·h², h = û₁·(û₂ × û₃) of the bonds of a planar atom: four times MMFF94's constant.

    MMFF94 sums ½k_oop·χ² over the three Wilson angles χ; in a plane with angles of 120°, h = sin 120°·χ.

    Args:
        species: (n,) atomic numbers.
        planar: (t, 4) the planar atoms and their neighbours.
        n_bonds: (n,) neighbours of each atom.
    """
    centre, ends = species[planar[:, 0]], planar[:, 1:]
    carbonyl = (centre == 6) & ((species[ends] == 8) & (n_bonds[ends] == 1)).any(axis=1)
    return 4.0 * units.MDYNE_PER_ANGSTROM * np.where(carbonyl, WAG_CARBONYL, _WAG[centre])


def contact(species, positions, pairs) -> np.ndarray:
    """MM3's repulsion ε·1.84·10⁵·exp(−12 r/r_v) in eV and its decay 12/r_v in Å⁻¹, (t, 2).

    r_v is the sum of the two radii, ε the geometric mean.
    """
    radii, depths = _MM3[species[pairs]].transpose(2, 0, 1)
    depth, decay = np.sqrt(depths.prod(axis=1)) * units.KCAL_PER_MOL, MM3_DECAY / radii.sum(axis=1)
    repulsion = MM3_STRENGTH * depth * np.exp(-decay * lengths(positions, pairs))
    return np.stack([repulsion, decay], axis=1)
