"""Phonons of crystals, by products of the Hessian of a supercell with displacements of one cell."""

import dataclasses
import functools
import itertools
from collections.abc import Sequence
from pathlib import Path

import ase
import ase.io
import numpy as np

from jphys.graph import from_ase
from jphys.harmonic.molecules import signed_root
from jphys.neighbors import heights
from jphys.second_derivatives import hessians
from jphys.units import WAVENUMBER

__all__ = ["Phonons", "phonons"]

NEARER = 1e-4  # Å; images whose distances differ by less are equally near


@dataclasses.dataclass(frozen=True)
class Phonons:
    """Force constants of a crystal of n atoms per cell, in a supercell of N = n₁ n₂ n₃ cells."""

    atoms: ase.Atoms
    supercell: tuple[int, int, int]
    force_constants: np.ndarray  # (n, 3, n₁, n₂, n₃, n, 3) eV/Å²: an atom in cell 0 and one in (i, j, k)

    def wavenumbers(self, q) -> np.ndarray:
        """Wavenumbers (…, 3n) cm⁻¹, ascending, imaginary ones negative, at wave vectors q (…, 3).

        ω² are the eigenvalues of D(q) = M^(−1/2) Σ_L Φ(0, L) exp(2πi q·L) M^(−1/2). Of the images of an atom
        in the supercell the nearest counts, of equally near ones each its share, as in phonopy.

        Args:
            q: in reciprocal lattice vectors, as `atoms.cell.bandpath().kpts`; 33.356 cm⁻¹ are 1 THz.
        """
        q = np.asarray(q, float)
        cells, phi = self._images
        waves = np.exp(2j * np.pi * np.einsum("...d,ld->...l", q, cells))
        matrix = np.einsum("...l,ialjb->...iajb", waves, phi, optimize=True)
        size = 3 * len(self.atoms)
        matrix = matrix.reshape(*q.shape[:-1], size, size)
        hermitian = 0.5 * (matrix + np.swapaxes(matrix, -1, -2).conj())
        root = np.sqrt(np.repeat(self.atoms.get_masses(), 3))
        return signed_root(np.linalg.eigvalsh(hermitian / np.outer(root, root))) * WAVENUMBER

    @functools.cached_property
    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        """Cells L (l, 3) about cell 0, and Φ(0, L) (n, 3, l, n, 3) shared among the nearest images."""
        sizes, lattice, positions = np.array(self.supercell), self.atoms.cell.array, self.atoms.positions
        gaps = positions[None, :] - positions[:, None]  # (n, n, 3) from atom i to atom j
        # Every place has an image within half the sum of the supercell's edges.
        edges = np.linalg.norm(sizes[:, None] * lattice, axis=1)
        distance = 0.5 * edges.sum() + np.linalg.norm(gaps, axis=-1).max()
        most = np.ceil(distance / (sizes * heights(lattice))).astype(int) + 1
        turns = sizes * np.array(list(itertools.product(*(range(-m, m + 1) for m in most))))
        cells, parts = [], []
        for index in np.ndindex(*self.supercell):
            images = np.array(index) + turns
            far = np.linalg.norm(gaps[:, None] + (images @ lattice)[:, None], axis=-1)  # (n, turns, n)
            nearest = far < far.min(axis=1, keepdims=True) + NEARER
            used = nearest.any(axis=(0, 2))
            share = nearest[:, used] / nearest.sum(axis=1, keepdims=True)
            cells.append(images[used])
            parts.append(share[:, None, :, :, None] * self.force_constants[:, :, *index][:, :, None])
        return np.concatenate(cells), np.concatenate(parts, axis=2)

    def write_phonopy(self, folder) -> None:
        """The cell and the force constants of its supercell for phonopy, which has masses of its own.

        For a supercell of 2 × 2 × 2 cells, in that folder:

            phonopy.load(
                unitcell_filename="POSCAR", supercell_matrix=[2, 2, 2], primitive_matrix="P",
                force_constants_filename="FORCE_CONSTANTS",
            )

        Args:
            folder: made where it is missing; gets POSCAR and FORCE_CONSTANTS.

        Raises:
            FileExistsError: where it has one of them.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        cell, constants = folder / "POSCAR", folder / "FORCE_CONSTANTS"
        for file in (cell, constants):
            if file.exists():
                raise FileExistsError(f"folder must not have a {file.name} yet, got {file}")
        ase.io.write(cell, self.atoms, format="vasp", direct=True, sort=False)
        n, sizes = len(self.atoms), self.supercell
        # Atoms of phonopy's supercell: all images of the first one, their first index the fastest, and so on.
        cells = np.array([index[::-1] for index in np.ndindex(*sizes[::-1])])
        places = [(atom, where) for atom in range(n) for where in cells]
        with constants.open("w", encoding="utf-8") as out:
            out.write(f"{len(places)} {len(places)}\n")
            for first, (i, home) in enumerate(places, 1):
                for second, (j, where) in enumerate(places, 1):
                    block = self.force_constants[i, :, *((where - home) % sizes), j]
                    out.write(f"{first} {second}\n")
                    out.writelines(f"{x:22.15f}{y:22.15f}{z:22.15f}\n" for x, y, z in block)


def phonons(
    potential, params, atoms: ase.Atoms, *, supercell: Sequence[int], cutoff: float | None = None
) -> Phonons:
    """Force constants Φ = ∂²E/∂p∂p of a crystal at rest, forward over reverse, 3n products in all.

    No displacement has to be chosen, and Σ_L Φ(0, L) over all atoms is 0 as far as the precision goes. Φ
    between an atom and the images of another in the supercell comes as their sum: choose one so large that
    Φ has died away at half of it, which more cells show.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        atoms: one cell, periodic in all directions, at a minimum of the surface.
        supercell: cells along each lattice vector.
        cutoff: Å, of the pairs that the energy sees; None: `potential.cutoff`.

    Raises:
        ValueError: for atoms that are no crystal, a supercell of other than three whole numbers from 1, a
            potential that needs bonds, or no cutoff.
    """
    given = np.asarray(supercell)
    if given.shape != (3,) or not ((given >= 1) & (given == np.round(given)) & np.isfinite(given)).all():
        raise ValueError(f"supercell must be three whole numbers from 1, got {supercell}")
    sizes = (int(given[0]), int(given[1]), int(given[2]))
    if not isinstance(atoms, ase.Atoms) or not len(atoms):
        raise ValueError(f"atoms must be an ase.Atoms of at least one atom, got {type(atoms).__name__}")
    if getattr(potential, "needs_bonds", False):
        raise ValueError("potential must not need bonds: phonons knows none, got one that does")
    if not atoms.pbc.all():
        raise ValueError(f"atoms must be periodic in all directions, got pbc {atoms.pbc.tolist()}")
    cutoff = getattr(potential, "cutoff", None) if cutoff is None else cutoff
    if cutoff is None:
        raise ValueError("cutoff must be given for a function without one, got None")
    atoms = atoms.copy()
    atoms.wrap()  # the dispersion is the same, its nearest images are near
    graph = from_ase(atoms.repeat(sizes), cutoff=cutoff)  # cell after cell, the last index the fastest
    n = len(atoms)
    (rows,) = hessians(potential, params, [graph], rows=n)
    return Phonons(atoms, sizes, rows.astype(float).reshape(n, 3, *sizes, n, 3))
