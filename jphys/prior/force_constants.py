"""Force constants of a stable molecule that are known from its structure alone, by published rules.

Bonds, angles and torsions: H. B. Schlegel's for starting Hessians (Theor. Chim. Acta 66, 333 (1984),
doi:10.1007/BF00554788). They are those of Hartree-Fock, whose frequencies are too high by 1/0.8929 (Pople et
al. 1993, doi:10.1002/ijch.199300041): all are scaled by 0.8929². Contacts of atoms that are not bonded: the
curvature of MM3's repulsion ε·1.84·10⁵·exp(−12 r/r_v) (Allinger, Yuh & Lii 1989, doi:10.1021/ja00205a001).
"""

import numpy as np

from jphys import units
from jphys.elements import COVALENT_RADIUS

HARTREE_FOCK_SCALE = 0.8929**2
STRETCH_A = 1.734  # Hartree·Bohr, of k = A/(r − B)³
STRETCH_B = np.array([[-0.244, 0.352, 0.660], [0.352, 1.085, 1.522], [0.660, 1.522, 2.068]])  # Bohr, by row
BEND = (0.250, 0.160)  # Hartree/rad²: between heavy atoms; with a hydrogen at either end
TORSION_A, TORSION_B = 0.0023, 0.07  # Hartree/rad² and Hartree/(rad²·Bohr), of k = A − B(r − r_cov)
MM3_STRENGTH, MM3_DECAY = 1.84e5, 12.0  # without unit
# Radii in Å and depths ε in kcal/mol of MM3. Elements that are not listed: covalent radius + 1.2 Å, 0.05.
MM3 = {
    **{1: (1.62, 0.020), 6: (2.04, 0.027), 7: (1.93, 0.043), 8: (1.82, 0.059), 9: (1.71, 0.075)},
    **{14: (2.29, 0.140), 15: (2.22, 0.168), 16: (2.15, 0.202), 17: (2.07, 0.240), 35: (2.18, 0.320)},
}


def lengths(positions, atoms) -> np.ndarray:
    """Distances (t,) Å of pairs of atoms (t, 2)."""
    return np.linalg.norm(positions[atoms[:, 0]] - positions[atoms[:, 1]], axis=1)


def stretch(species, positions, bonds) -> np.ndarray:
    """k = A/(r − B)³ eV/Å², B by the periods of the two atoms (Schlegel's form of Badger's rule)."""
    period = np.searchsorted([2, 10], species)
    softness = STRETCH_B[period[bonds[:, 0]], period[bonds[:, 1]]]
    gap = np.maximum(lengths(positions, bonds) / units.BOHR - softness, 0.5)
    return HARTREE_FOCK_SCALE * units.HARTREE / units.BOHR**2 * STRETCH_A / gap**3


def bend(species, angles) -> np.ndarray:
    """k eV/rad², smaller where a hydrogen ends the angle."""
    hydrogen = (species[angles[:, [0, 2]]] == 1).any(axis=1)
    return HARTREE_FOCK_SCALE * units.HARTREE * np.where(hydrogen, BEND[1], BEND[0])


def torsion(species, positions, torsions) -> np.ndarray:
    """k = A − B(r − r_cov) eV/rad² of the middle bond, not below A.

    Schlegel's line falls below zero for bonds just longer than r_cov; nine times A, three-fold, is the
    barrier of ethane, so A is what a rotor about a plain single bond has.
    """
    middle = torsions[:, 1:3]
    longer = (lengths(positions, middle) - COVALENT_RADIUS[species[middle]].sum(axis=1)) / units.BOHR
    return HARTREE_FOCK_SCALE * units.HARTREE * np.maximum(TORSION_A - TORSION_B * longer, TORSION_A)


def contact(species, positions, pairs) -> np.ndarray:
    """k = ε·1.84·10⁵·(12/r_v)²·exp(−12 r/r_v) eV/Å², r_v the sum of the radii, ε the geometric mean."""
    table = np.array([MM3.get(z, (COVALENT_RADIUS[z] + 1.2, 0.05)) for z in species.tolist()]).reshape(-1, 2)
    radii, depths = table[pairs].transpose(2, 0, 1)
    reach, depth = radii.sum(axis=1), np.sqrt(depths.prod(axis=1)) * units.KCAL_PER_MOL
    decay = MM3_DECAY / reach
    return MM3_STRENGTH * depth * decay**2 * np.exp(-decay * lengths(positions, pairs))
