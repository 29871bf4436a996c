"""The input of CP2K: one text for molecules, one for clusters and crystals of simple metals."""

import numpy as np

from jphys.elements import SYMBOLS

METALS = (13, 29)
VALENCE = {1: 1, 6: 4, 7: 5, 8: 6, 9: 7, 13: 3, 29: 11}  # electrons outside the GTH pseudopotential
CUTOFF_RY = {"molecule": 400, "crystal": 400, "cluster of Al": 200, "cluster of Cu": 300}
REL_CUTOFF_RY = 50
N_KPOINTS = {13: 8, 29: 8}
MARGIN = 5.0  # Å of vacuum on every side of a molecule or a cluster
SETTINGS = {
    "method": "PBE, DZVP-MOLOPT-SR-GTH, GTH-PBE, not spin-polarised",
    "cutoff_ry": CUTOFF_RY,
    "rel_cutoff_ry": REL_CUTOFF_RY,
    "molecule": f"orbital transformation, eps_scf 1e-6; wavelet solver, cube {MARGIN} Angstrom beyond",
    "metal": "diagonalisation, Fermi-Dirac 1000 K, Broyden 0.2, eps_scf 1e-5; energy with the entropy term",
    "cluster": f"periodic box {MARGIN} Angstrom beyond the atoms, 2 added orbitals per atom and at least 20",
    "kpoints": {SYMBOLS[z]: [n] * 3 for z, n in N_KPOINTS.items()},
}

_TEMPLATE = """&GLOBAL
  PROJECT run
  RUN_TYPE ENERGY
  PRINT_LEVEL LOW
&END GLOBAL
&FORCE_EVAL
  METHOD Quickstep
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF {cutoff}
      REL_CUTOFF {rel_cutoff}
    &END MGRID
    &QS
      EPS_DEFAULT 1.0E-12
    &END QS
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
{boundary}
{scf}
  &END DFT
  &SUBSYS
{cell}
    &COORD
{atoms}
    &END COORD
{kinds}
  &END SUBSYS
&END FORCE_EVAL
"""

_ISOLATED = """    &POISSON
      PERIODIC NONE
      POISSON_SOLVER WAVELET
    &END POISSON"""

_KPOINTS = """    &KPOINTS
      SCHEME MONKHORST-PACK {n} {n} {n}
    &END KPOINTS"""

_SCF_MOLECULE = """    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF 1.0E-6
      MAX_SCF 30
      &OT
        MINIMIZER DIIS
        PRECONDITIONER FULL_SINGLE_INVERSE
      &END OT
      &OUTER_SCF
        EPS_SCF 1.0E-6
        MAX_SCF 10
      &END OUTER_SCF
      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF"""

_SCF_METAL = """    &SCF
      SCF_GUESS ATOMIC
      EPS_SCF 1.0E-5
      MAX_SCF 300
      ADDED_MOS {added}
      &DIAGONALIZATION
      &END DIAGONALIZATION
      &MIXING
        METHOD BROYDEN_MIXING
        ALPHA 0.2
        NBROYDEN 8
      &END MIXING
      &SMEAR ON
        METHOD FERMI_DIRAC
        ELECTRONIC_TEMPERATURE [K] 1000
      &END SMEAR
      &PRINT
        &RESTART OFF
        &END RESTART
      &END PRINT
    &END SCF"""


def write_input(species: np.ndarray, positions: np.ndarray, cell: np.ndarray | None) -> str:
    """The whole input of one energy.

    Args:
        species: (n,) atomic numbers, of `VALENCE`; only METALS: a metal, else a molecule.
        positions: (n, 3) Å.
        cell: (3, 3) Å rows for a crystal, None for a molecule or a cluster.

    Raises:
        ValueError: if an element has no entry in `VALENCE`.
    """
    unknown = sorted(set(species.tolist()) - set(VALENCE))
    if unknown:
        known = " ".join(SYMBOLS[z] for z in VALENCE)
        raise ValueError(f"cp2k: species must be of {known}, got atomic number {unknown[0]}")
    kind = _what(species, cell)
    return _TEMPLATE.format(
        cutoff=CUTOFF_RY[kind],
        rel_cutoff=REL_CUTOFF_RY,
        boundary=_boundary(kind, cell, species),
        scf=_SCF_MOLECULE if kind == "molecule" else _SCF_METAL.format(added=_added(len(species))),
        cell=_cell(positions, cell, cubic=kind == "molecule"),
        atoms="\n".join(
            f"      {SYMBOLS[z]} {x:.8f} {y:.8f} {w:.8f}" for z, (x, y, w) in zip(species, positions)
        ),
        kinds="\n".join(_kind(int(z)) for z in sorted(set(species.tolist()))),
    )


def _what(species: np.ndarray, cell: np.ndarray | None) -> str:
    """Key of `CUTOFF_RY`: a crystal, a cluster of its costliest metal, or a molecule."""
    if not set(species.tolist()) <= set(METALS):
        return "molecule"
    return "crystal" if cell is not None else f"cluster of {SYMBOLS[species.max()]}"


def _added(n_atoms: int) -> int:
    """Empty orbitals for the smearing."""
    return 8 if n_atoms == 1 else max(20, 2 * n_atoms)


def _boundary(kind: str, cell: np.ndarray | None, species: np.ndarray) -> str:
    """Poisson's equation of an isolated molecule; a cluster has hardly a dipole that images would feel.

    Not the Martyna-Tuckerman solver: it needs twice the extent of the density, and 15 atoms of Al in a box
    5 Å beyond the atoms are 66 meV/atom off; the periodic box is converged to 1 meV/atom there.
    """
    if cell is None:
        return _ISOLATED if kind == "molecule" else ""
    return _KPOINTS.format(n=N_KPOINTS[int(species[0])])


def _cell(positions: np.ndarray, cell: np.ndarray | None, *, cubic: bool) -> str:
    if cell is None:
        sides = np.ptp(positions, axis=0) + 2 * MARGIN
        a, b, c = np.full(3, sides.max()) if cubic else sides
        return (
            f"    &CELL\n      ABC {a:.6f} {b:.6f} {c:.6f}\n      PERIODIC {'NONE' if cubic else 'XYZ'}\n"
            "    &END CELL\n"
            "    &TOPOLOGY\n      &CENTER_COORDINATES\n      &END CENTER_COORDINATES\n    &END TOPOLOGY"
        )
    rows = "\n".join(f"      {name} {x:.8f} {y:.8f} {z:.8f}" for name, (x, y, z) in zip("ABC", cell.tolist()))
    return f"    &CELL\n{rows}\n      PERIODIC XYZ\n    &END CELL"


def _kind(z: int) -> str:
    return (
        f"    &KIND {SYMBOLS[z]}\n      BASIS_SET DZVP-MOLOPT-SR-GTH\n"
        f"      POTENTIAL GTH-PBE-q{VALENCE[z]}\n    &END KIND"
    )
