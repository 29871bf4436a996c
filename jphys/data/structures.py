"""`Structures`: a data set of molecules or crystals with labels, flat over atoms, on the host."""

import dataclasses
import hashlib

import numpy as np

from jphys.graph import Graph, make_graph

__all__ = ["Structures", "fingerprint", "graphs", "heavy_atoms", "take"]


@dataclasses.dataclass(frozen=True)
class Structures:
    """Atoms of all structures end to end; `n_atoms` splits them. Numpy, float64 energies.

    Labels live here and not in Graph: a model cannot peek.
    """

    name: np.ndarray  # (m,) str, for messages: "dsgdb9nsd_000042"
    n_atoms: np.ndarray  # (m,) int32
    species: np.ndarray  # (sum n_atoms,) int32 Z
    positions: np.ndarray  # (sum n_atoms, 3) float64 Å
    energy: np.ndarray  # (m,) float64 eV, total energy
    forces: np.ndarray | None  # (sum n_atoms, 3) float64 eV/Å, or None: labels there are none, all are stable
    cell: np.ndarray  # (m, 3, 3) float64 Å, rows are lattice vectors; zeros for a molecule
    n_bonds: np.ndarray  # (m,) int32
    bonds: np.ndarray  # (sum n_bonds, 3) int32 rows (i, j, order), i and j within the structure

    def __len__(self) -> int:
        return len(self.n_atoms)


def _flat_rows(counts: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    ends, lengths = np.cumsum(counts, dtype=np.int64), counts[chosen].astype(np.int64)
    before = np.cumsum(lengths) - lengths  # rows of those that come first
    return np.repeat(ends[chosen] - lengths - before, lengths) + np.arange(lengths.sum())


def take(structures: Structures, chosen) -> Structures:
    """The structures of the given indices (k,), in that order."""
    chosen = np.asarray(chosen)
    atoms, bonds = _flat_rows(structures.n_atoms, chosen), _flat_rows(structures.n_bonds, chosen)
    return Structures(
        name=structures.name[chosen],
        n_atoms=structures.n_atoms[chosen],
        species=structures.species[atoms],
        positions=structures.positions[atoms],
        energy=structures.energy[chosen],
        forces=None if structures.forces is None else structures.forces[atoms],
        cell=structures.cell[chosen],
        n_bonds=structures.n_bonds[chosen],
        bonds=structures.bonds[bonds],
    )


def heavy_atoms(n_atoms, species) -> np.ndarray:
    """Atoms other than hydrogen (m,) of structures with n_atoms (m,), whose species are end to end."""
    owner = np.repeat(np.arange(len(n_atoms)), n_atoms)
    return np.bincount(owner[species > 1], minlength=len(n_atoms))


def fingerprint(structures: Structures) -> str:
    """SHA-256 of all but the names: whether two sets of data are the same to the last bit."""
    digest = hashlib.sha256()
    for name in ("n_atoms", "species", "positions", "energy", "forces", "cell", "n_bonds", "bonds"):
        array = getattr(structures, name)
        digest.update(name.encode() + (b"" if array is None else np.ascontiguousarray(array).tobytes()))
    return digest.hexdigest()


def graphs(structures: Structures, *, cutoff: float | None = None, all_pairs: bool = True) -> list[Graph]:
    """One Graph per structure.

    Args:
        structures: molecules and crystals.
        cutoff: Å; crystals get the pairs closer than it.
        all_pairs: whether molecules get every pair, so that their atoms may move at will; else they are
            treated as crystals are.

    Raises:
        ValueError: crystals without a cutoff, and what `jphys.graph.make_graph` refuses.
    """
    atom_ends, bond_ends = np.cumsum(structures.n_atoms), np.cumsum(structures.n_bonds)
    made = []
    for i in range(len(structures)):
        atoms = slice(atom_ends[i] - structures.n_atoms[i], atom_ends[i])
        bonds = structures.bonds[bond_ends[i] - structures.n_bonds[i] : bond_ends[i]]
        cell = structures.cell[i] if structures.cell[i].any() else None
        made.append(
            make_graph(
                structures.species[atoms],
                structures.positions[atoms],
                cell=cell,
                cutoff=None if cell is None and all_pairs else cutoff,
                bonds=bonds,
            )
        )
    return made
