"""What a minimiser moves: the atoms of a structure and, where asked for, its cell.

A structure is rows of coordinates (n_rows, 3): the positions p₀ of its atoms in the cell it came with and,
for a cell that relaxes, three rows of c·U with the symmetric strain U. It stands for

    p = p₀ D,  cell = cell₀ D,  D = 1 + U + U²/2,  c = 4 Å · √n.

D is exp(U) to second order, and positive definite for every U: no step can turn a cell inside out. With c,
a cell is about as stiff as its atoms are, whatever their number (ASE's UnitCellFilter takes c = n).
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jphys import packing
from jphys.derivatives import energy_and_forces, energy_forces_stress
from jphys.graph import with_positions

CELL_ROWS = 3
CELL_LENGTH = 4.0  # Å


class Freedom(NamedTuple):
    """How each of m structures may move."""

    free: Any  # (m, n_rows) bool; false where fixed, and beyond the atoms
    n_atoms: Any  # (m,)
    cutoff: Any  # (m,) Å
    margin: Any  # (m,) Å by which the edges reach beyond the cutoff; infinite where they hold all pairs


def to_rows(positions: np.ndarray, n_max: int, relax_cell: bool) -> np.ndarray:
    """Rows of an undeformed structure (n, 3), with zeros beyond its atoms."""
    return np.pad(positions, ((0, n_max - len(positions) + CELL_ROWS * relax_cell), (0, 0)))


def with_room(rows: np.ndarray, n_max: int, relax_cell: bool) -> np.ndarray:
    """Rows (m, n_rows, …) for structures of up to n_max atoms: zeros, or false, between atoms and cells."""
    end = rows.shape[1] - CELL_ROWS * relax_cell
    spare = np.zeros((len(rows), n_max - end, *rows.shape[2:]), rows.dtype)
    return np.concatenate([rows[:, :end], spare, rows[:, end:]], axis=1)


def deformation(cell_rows, n_atoms):
    """D (…, 3, 3) of the last rows (…, 3, 3)."""
    strain = _strain(cell_rows, n_atoms)
    return jnp.eye(3, dtype=strain.dtype) + strain + 0.5 * strain @ strain


def _strain(cell_rows, n_atoms):
    symmetric = 0.5 * (cell_rows + jnp.swapaxes(cell_rows, -1, -2))
    return symmetric / _length(n_atoms, cell_rows.dtype)[..., None, None]


def _length(n_atoms, dtype):
    return CELL_LENGTH * jnp.sqrt(jnp.asarray(n_atoms, dtype))


def forces(energy, relax_cell: bool):
    """Function (params, packed, rows (k, n_rows, 3)) -> energies (k,), force on every row.

    The force on an atom is that of physics, the force on the cell is −Vσ/c: descent directions of the
    energy, and equal to its gradient where D = 1.
    """
    if not relax_cell:
        compute = energy_and_forces(energy)

        def of_atoms(params, packed: packing.Pack, rows):
            graph = with_positions(packed.graph, packing.to_flat(packed, rows))
            energies, forces = compute(params, graph)
            return energies[: len(rows)], packing.from_flat(packed, forces, rows.shape[1])

        return of_atoms

    compute_stress = energy_forces_stress(energy)

    def of_atoms_and_cell(params, packed: packing.Pack, rows):
        n_atoms = packed.graph.n_node[:-1]
        place, cell_rows = rows[:, :-CELL_ROWS], rows[:, -CELL_ROWS:]
        deform = deformation(cell_rows, jnp.maximum(n_atoms, 1))
        graph = with_positions(packed.graph, packing.to_flat(packed, place @ deform))
        cell = graph.globals.cell
        cell = jnp.concatenate([cell[:-1] @ deform, cell[-1:]])
        graph = graph._replace(globals=graph.globals._replace(cell=cell))
        energies, forces, stress = compute_stress(params, graph)
        virial = stress[:-1] * jnp.abs(jnp.linalg.det(cell[:-1]))[:, None, None]
        on_cell = -virial / _length(jnp.maximum(n_atoms, 1), rows.dtype)[:, None, None]
        on_atoms = packing.from_flat(packed, forces, place.shape[1])
        return energies[:-1], jnp.concatenate([on_atoms, on_cell], axis=1)

    return of_atoms_and_cell


def largest(force, n_atoms, relax_cell: bool):
    """What is compared with fmax (…): the largest |F_i| of atoms, and of the rows of Vσ/n, eV."""
    norms = jnp.linalg.norm(force, axis=-1)
    if relax_cell:
        per_atom = CELL_LENGTH / jnp.sqrt(jnp.asarray(n_atoms, norms.dtype))
        norms = norms.at[..., -CELL_ROWS:].multiply(per_atom[..., None])
    return jnp.max(norms, axis=-1)


def outdated(rows, start, freedom: Freedom, relax_cell: bool):
    """Whether a pair may be within the cutoff (k,) that had no edge at the start.

    With |D⁻¹| ≤ 1/(1 − |U|), a pair with |r| < cutoff was closer than cutoff/(1 − |U|) + 2 max|Δp₀|.
    """
    moved = (rows - start)[:, : -CELL_ROWS if relax_cell else None]
    farthest = jnp.max(jnp.linalg.norm(moved, axis=-1), axis=-1)
    grown = 0.0
    if relax_cell:
        strain = jnp.linalg.norm(_strain(rows[:, -CELL_ROWS:], freedom.n_atoms), axis=(-2, -1))
        grown = jnp.where(strain < 1, strain / jnp.maximum(1 - strain, 1e-3), jnp.inf) * freedom.cutoff
    return grown + 2.0 * farthest > freedom.margin


def to_structure(rows, n_atoms: int, cell, relax_cell: bool):
    """Positions (n, 3) and cell (3, 3) that the rows stand for, numpy."""
    if not relax_cell:
        return rows[:n_atoms], cell
    deform = np.asarray(deformation(jnp.asarray(rows[-CELL_ROWS:]), n_atoms), np.float64)
    return (rows[:n_atoms] @ deform).astype(rows.dtype), (cell @ deform).astype(cell.dtype)
