"""B3LYP/6-31G(2df,p) as QM9 has it, by PySCF (extra `engines`) with density fitting.

QM9's energies are Gaussian's. Its 6-31G(2df,p) is not the set that PySCF has under this name: the d exponents
are 2ζ and ζ/2 of those of 6-31G(d), d shells are Cartesian (6 functions) and f shells pure (7), see
Frisch, Pople, Binkley 1984 (doi:10.1063/1.447079). B3LYP has VWN's third functional, as in Gaussian. QM9's U0
contains the zero-point energy; this energy does not.
"""

import functools
from typing import Any

import numpy as np

from jphys.elements import SYMBOLS
from jphys.engines.engine import FAILED, Engine, Result, checked, package_version, refuse_cell
from jphys.units import BOHR, HARTREE

__all__ = ["energy", "energy_and_forces", "hessian", "make"]

NAME = "pyscf"
F_EXPONENTS = {6: 0.8, 7: 1.0, 8: 1.4, 9: 1.85}
D_EXPONENTS = (1.6, 0.4)
P_EXPONENT = 1.1  # of hydrogen
SETTINGS = {
    "method": "restricted Kohn-Sham, B3LYP with VWN3",
    "basis": "6-31G(2df,p): H p 1.1; C N O F d 1.6 0.4, f 0.8 1.0 1.4 1.85; 6d 7f",
    "auxiliary_basis": "def2-universal-jkfit, Cartesian",
    "grid_level": 2,
    "convergence_hartree": 1e-6,
    "start": "converged on grid level 0",
    "retry": "level shift 0.3",
}


def make() -> Engine:
    """The engine; one thread, so that a worker is a core.

    Raises:
        ImportError: without PySCF.
    """
    return Engine(NAME, package_version("pyscf", "B3LYP"), SETTINGS, energy)


def energy(species, positions, cell=None) -> Result:
    """Energy of a neutral closed-shell molecule of H, C, N, O, F, see `Engine.energy`."""
    refuse_cell(cell, engine=NAME)
    hartree, field = _converge(species, positions)
    return Result(hartree * HARTREE, True) if field.converged else FAILED


def energy_and_forces(species, positions) -> tuple[float, np.ndarray]:
    """Energy (eV) and forces (n, 3) eV/Å of a neutral closed-shell molecule of H, C, N, O, F.

    Raises:
        ValueError: as `Engine.energy`.
        RuntimeError: if the self-consistent field does not converge.
    """
    hartree, field = _converged(species, positions)
    gradient = field.nuc_grad_method()
    gradient.verbose = 0
    return hartree * HARTREE, -np.asarray(gradient.kernel()) * HARTREE / BOHR


def hessian(species, positions) -> np.ndarray:
    """Second derivatives (3n, 3n) eV/Å², symmetric; arguments and errors as `energy_and_forces`."""
    _, field = _converged(species, positions)
    found = np.asarray(field.Hessian().kernel()).transpose(0, 2, 1, 3) * HARTREE / BOHR**2
    flat = found.reshape(3 * len(species), -1)
    return 0.5 * (flat + flat.T)


def _converged(species, positions) -> tuple[float, Any]:
    hartree, field = _converge(species, positions)
    if not field.converged:
        raise RuntimeError(f"{NAME}: the self-consistent field did not converge")
    return hartree, field


def _converge(species, positions) -> tuple[float, Any]:
    """Energy in Hartree and the mean field, converged or not."""
    species, positions, _ = checked(species, positions, None, engine=NAME)
    unknown = sorted(set(species.tolist()) - {1, *F_EXPONENTS})
    if unknown:
        raise ValueError(f"{NAME}: species must be H, C, N, O or F, got atomic number {unknown[0]}")
    if species.sum() % 2:
        raise ValueError(f"{NAME}: molecule must have an even number of electrons, got {species.sum()}")
    field = _mean_field(species, positions)
    density = _start(field)
    field.grids = _grids(field.mol, SETTINGS["grid_level"])
    return float(field.kernel(dm0=density)), field


def _start(field):
    """Density matrix converged on a coarse grid: half the time, and a hard case is cheap there."""
    field.grids = _grids(field.mol, 0)
    field.kernel()
    _check_orbitals(field)
    if not field.converged:  # stretched bonds: small gaps make the first attempt oscillate
        field.level_shift, field.max_cycle = 0.3, 200
        field.kernel(dm0=field.make_rdm1())
    return field.make_rdm1()


def _mean_field(species: np.ndarray, positions: np.ndarray) -> Any:
    from pyscf import dft, gto, lib  # pyright: ignore[reportMissingImports]

    lib.num_threads(1)
    molecule = gto.M(
        atom=[(int(z), xyz.tolist()) for z, xyz in zip(species, positions)],
        basis={SYMBOLS[z]: _basis(int(z)) for z in set(species.tolist())},
        cart=True,
        verbose=0,
    )
    field: Any = dft.RKS(molecule, xc="b3lypg").density_fit(auxbasis="def2-universal-jkfit")
    field.conv_tol, field.max_cycle = SETTINGS["convergence_hartree"], 50
    field.check_linear_dependency = functools.partial(_orthonormal, molecule)
    return field


def _grids(molecule, level: int) -> Any:
    from pyscf.dft import gen_grid  # pyright: ignore[reportMissingImports]

    grids = gen_grid.Grids(molecule)
    grids.level = level
    return grids


def _check_orbitals(field) -> None:
    n_functions = _pure_f(field.mol).shape[1]
    if field.mo_coeff.shape[1] > n_functions:  # a PySCF that does not ask check_linear_dependency
        raise RuntimeError(
            f"{NAME}: orbitals must be combinations of {n_functions} functions, got "
            f"{field.mo_coeff.shape[1]}: this version of PySCF is not supported"
        )


def _basis(z: int) -> list:
    from pyscf import gto  # pyright: ignore[reportMissingImports]

    valence = gto.basis.load("6-31g", SYMBOLS[z])
    if z == 1:
        return [*valence, [1, [P_EXPONENT, 1.0]]]
    return [*valence, *([2, [d, 1.0]] for d in D_EXPONENTS), [3, [F_EXPONENTS[z], 1.0]]]


def _orthonormal(molecule, overlap: np.ndarray, verbose=None) -> np.ndarray:
    """Orthonormal orbitals of the basis with pure f shells, as columns over all Cartesian functions.

    PySCF has all shells Cartesian or all pure. The orbitals of the self-consistent field are combinations of
    these columns, so the three p-like combinations of each Cartesian f shell never take part.
    """
    columns = _pure_f(molecule)
    eigenvalues, vectors = np.linalg.eigh(columns.T @ overlap @ columns)
    kept = eigenvalues > 1e-9
    return columns @ (vectors[:, kept] / np.sqrt(eigenvalues[kept]))


def _pure_f(molecule) -> np.ndarray:
    from pyscf import gto  # pyright: ignore[reportMissingImports]

    blocks = []
    for shell in range(molecule.nbas):
        momentum, n = molecule.bas_angular(shell), molecule.bas_nctr(shell)
        one = gto.cart2sph(3) if momentum == 3 else np.eye((momentum + 1) * (momentum + 2) // 2)
        blocks += [one] * n
    columns = np.zeros((sum(len(b) for b in blocks), sum(b.shape[1] for b in blocks)))
    row = column = 0
    for block in blocks:
        columns[row : row + block.shape[0], column : column + block.shape[1]] = block
        row, column = row + block.shape[0], column + block.shape[1]
    return columns
