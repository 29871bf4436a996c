"""A Graph from atoms: what is checked, which atoms see which, which are bonded. Host side."""

import jax
import numpy as np

from jphys import neighbors
from jphys.elements import check_species
from jphys.graph.types import Edges, Globals, Graph, Nodes

ROUNDED = 0.999
"""Of twice the cutoff: a box as long counts as one of twice the cutoff."""


def make_graph(species, positions, *, cell=None, cutoff: float | None = None, bonds=None) -> Graph:
    """One molecule or crystal as a Graph of numpy arrays.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        cell: (3, 3) Å, rows are lattice vectors, periodic in all three; None for a molecule.
        cutoff: Å; pairs closer than it get an edge. Required with a cell; None means all pairs.
        bonds: (m, 3) int rows (i, j, order), order 1..3; None for no bond knowledge.

    Raises:
        ValueError: wrong shape, unknown element, non-finite position, flat cell, cutoff ≤ 0, bonds that
            `bond_rows` refuses or that no edge joins, bonds in a cell smaller than twice the cutoff.
    """
    species = check_species(species)
    positions = _check_positions(positions, len(species))
    if cutoff is not None and not cutoff > 0:
        raise ValueError(f"cutoff must be positive, got {cutoff}")
    if cell is not None:
        cell = _check_cell(cell)
        if cutoff is None:
            raise ValueError("cutoff must be given for a periodic cell, got None")
        if bonds is not None and len(bonds):
            check_room_for_bonds(neighbors.heights(cell), cutoff)
    if cutoff is None:
        senders, receivers, shifts = neighbors.all_pairs(len(species))
    else:
        senders, receivers, shifts = neighbors.within_cutoff(positions.astype(np.float64), cell, cutoff)
    return Graph(
        nodes=Nodes(positions, species, np.ones(len(species), bool)),
        edges=Edges(
            shifts, _bond_types(bonds, senders, receivers, len(species)), np.ones(len(senders), bool)
        ),
        senders=senders,
        receivers=receivers,
        globals=Globals(
            (np.zeros((3, 3)) if cell is None else cell).astype(positions.dtype)[None], np.ones(1, bool)
        ),
        n_node=np.array([len(species)], np.int32),
        n_edge=np.array([len(senders)], np.int32),
    )


def check_room_for_bonds(heights, cutoff: float) -> None:
    """Which of several images of an atom within the cutoff is bonded would be anyone's guess.

    Raises:
        ValueError: for a cell whose faces (heights (3,) Å) are closer than twice the cutoff.
    """
    if not np.min(heights) >= ROUNDED * 2.0 * cutoff:
        got = np.round(np.asarray(heights, float), 3).tolist()
        raise ValueError(
            f"bonds must not be given for a box this small: faces must be {2 * cutoff} Å apart, got {got}"
        )


def _check_positions(positions, n_atoms: int) -> np.ndarray:
    positions = np.asarray(positions)
    if positions.dtype != np.float32:
        positions = positions.astype(jax.dtypes.canonicalize_dtype(np.float64))
    if positions.shape != (n_atoms, 3):
        raise ValueError(f"positions must have shape ({n_atoms}, 3) to match species, got {positions.shape}")
    bad = np.flatnonzero(~np.isfinite(positions).all(axis=1))
    if bad.size:
        raise ValueError(f"positions must be finite, got {positions[bad[0]]} at atom {bad[0]}")
    return positions


def _check_cell(cell) -> np.ndarray:
    cell = np.asarray(cell, np.float64)
    if cell.shape != (3, 3):
        raise ValueError(f"cell must have shape (3, 3), rows are lattice vectors, got {cell.shape}")
    if not np.isfinite(cell).all() or abs(np.linalg.det(cell)) < 1e-6:
        raise ValueError(f"cell must be finite with a volume above 0, got {cell.tolist()}")
    return cell


def bond_rows(bonds, n_atoms: int) -> np.ndarray:
    """Bonds as (m, 3) int32 rows (i, j, order) with i < j, sorted, each once.

    Args:
        bonds: rows (i, j, order) in any order and direction; None or empty for none.
        n_atoms: of the structure.

    Raises:
        ValueError: for another shape, numbers that are not whole, an atom that does not exist or twice in a
            row, an order beyond 1..3, or two orders for one pair.
    """
    rows = np.asarray([] if bonds is None else bonds)
    if rows.size == 0:
        return np.zeros((0, 3), np.int32)
    if rows.ndim != 2 or rows.shape[1] != 3:
        raise ValueError(f"bonds must have shape (m, 3) with rows (i, j, order), got {rows.shape}")
    i, j, order = rows.T
    good = (rows == np.rint(rows)).all(axis=1) & (np.minimum(i, j) >= 0) & (np.maximum(i, j) < n_atoms)
    good &= (i != j) & (order >= 1) & (order <= 3)
    if not good.all():
        wrong = tuple(rows[np.argmin(good)].tolist())
        raise ValueError(f"bonds must join two different atoms below {n_atoms} with order 1..3, got {wrong}")
    rows = rows.astype(np.int32)
    rows[:, :2].sort(axis=1)
    rows = np.unique(rows, axis=0)
    twice = np.flatnonzero((rows[1:, :2] == rows[:-1, :2]).all(axis=1))
    if twice.size:
        first, second = rows[twice[0]].tolist(), rows[twice[0] + 1].tolist()
        raise ValueError(
            f"bonds must give one order for two atoms, got {first[2]} and {second[2]} for {tuple(first[:2])}"
        )
    return rows


def _bond_types(bonds, senders, receivers, n_atoms: int) -> np.ndarray:
    rows, found = bond_rows(bonds, n_atoms), np.zeros(len(senders), np.int32)
    if not len(rows):
        return found
    i, j, order = rows.T.astype(np.int64)
    both, orders = np.concatenate([i * n_atoms + j, j * n_atoms + i]), np.concatenate([order, order])
    ascending = np.argsort(both)
    both, orders = both[ascending], orders[ascending]
    ends = receivers.astype(np.int64) * n_atoms + senders
    place = np.minimum(np.searchsorted(both, ends), len(both) - 1)
    bonded = both[place] == ends
    lost = np.setdiff1d(both, ends[bonded])
    if lost.size:
        atoms = list(map(int, divmod(lost[0], n_atoms)))
        raise ValueError(f"bonds must be shorter than the cutoff, got a longer one between atoms {atoms}")
    found[bonded] = orders[place[bonded]]
    return found


def from_ase(atoms, *, cutoff: float | None = None, bonds=None) -> Graph:
    """Graph of an ase.Atoms; its cell counts where `pbc` is true in all three directions.

    Constraints are left out: give `relax` its `fixed` atoms.

    Raises:
        ValueError: as `check_atoms` and `make_graph`.
    """
    check_atoms(atoms)
    cell = atoms.cell.array if atoms.pbc.all() else None
    return make_graph(atoms.numbers, atoms.positions, cell=cell, cutoff=cutoff, bonds=bonds)


def check_atoms(atoms) -> None:
    """Whether a Graph can stand for an ase.Atoms.

    Raises:
        ValueError: for partly periodic boundaries, initial charges and magnetic moments, and a charge or
            an open shell in `atoms.info`.
    """
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(f"pbc must be all true or all false, got {atoms.pbc.tolist()}")
    for name, values in (
        ("initial charges", atoms.get_initial_charges()),
        ("initial magnetic moments", atoms.get_initial_magnetic_moments()),
    ):
        if np.any(values):
            index = int(np.flatnonzero(np.reshape(values, (len(atoms), -1)).any(axis=1))[0])
            raise ValueError(f"{name} must be zero: a Graph has none, got {values[index]} at atom {index}")
    for name, neutral in (("charge", (0,)), ("spin", (0, 1))):  # as other calculators read them; 2S + 1
        if atoms.info.get(name, 0) not in neutral:
            raise ValueError(
                f"info[{name!r}] must be {neutral[-1]} or absent: a Graph has none, got {atoms.info[name]}"
            )
