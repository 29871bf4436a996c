"""Normal modes of molecules at rest."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from ase.data import atomic_masses

from jphys.alignment import internal_motions
from jphys.graph import Graph
from jphys.second_derivatives import hessians
from jphys.units import INVERSE_CM, WAVENUMBER

__all__ = ["Vibrations", "frequencies", "normal_modes", "vibrations"]


@dataclasses.dataclass(frozen=True)
class Vibrations:
    """The k normal modes of a molecule of n atoms; k = 3n − 6, of a linear one 3n − 5, of an atom 0."""

    wavenumbers: np.ndarray  # (k,) cm⁻¹, ascending, imaginary ones negative
    modes: np.ndarray  # (k, n, 3) amu^(−1/2), displacements u with Σ_i m_i |u_i|² = 1, as ASE has them

    @property
    def n_imaginary(self) -> int:
        """Modes along which the energy falls: 0 at a minimum, 1 at a saddle point."""
        return int((self.wavenumbers < 0).sum())

    @property
    def zero_point(self) -> float:
        """½ Σ h c ν of the real modes, eV."""
        return 0.5 * INVERSE_CM * float(self.wavenumbers[self.wavenumbers > 0].sum())


def vibrations(potential, params, graphs: Sequence[Graph], *, chunk: int = 16) -> list[Vibrations]:
    """Normal modes of many molecules at rest, by Hessians of a few compiled shapes: see `normal_modes`.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m molecules at minima or saddles of the surface, as `relax` and `saddles` return them.
        chunk: molecules per device call.

    Returns:
        m Vibrations.

    Raises:
        ValueError: for a crystal, which has phonons, or what is no sequence of graphs.
    """
    wrong = [type(graph).__name__ for graph in graphs if not isinstance(graph, Graph)]
    if isinstance(graphs, Graph) or wrong:
        got = wrong[0] if wrong and not isinstance(graphs, Graph) else "one Graph"
        raise ValueError(f"graphs must be a sequence of Graph (from_ase makes one), got {got}")
    for index, graph in enumerate(graphs):
        if np.any(graph.globals.cell):
            raise ValueError(f"graphs must be molecules, jphys.phonons has crystals, got a cell at {index}")
    found = []
    for graph, matrix in zip(graphs, hessians(potential, params, graphs, chunk=chunk), strict=True):
        size = 3 * len(graph.nodes.species)
        found.append(normal_modes(graph.nodes.species, graph.nodes.positions, matrix.reshape(size, size)))
    return found


def normal_modes(species, positions, hessian) -> Vibrations:
    """Modes of M^(−1/2) H M^(−1/2), whose eigenvalues are ω², without translations and rotations.

    Args:
        species: (n,) atomic numbers.
        positions: (n, 3) Å.
        hessian: (3n, 3n) eV/Å².
    """
    root = np.sqrt(np.repeat(atomic_masses[np.asarray(species)], 3))
    rest = internal_motions(positions, root)
    values, vectors = np.linalg.eigh(rest.T @ (np.asarray(hessian) / np.outer(root, root)) @ rest)
    modes = (rest @ vectors / root[:, None]).T.reshape(len(values), len(root) // 3, 3)
    return Vibrations(signed_root(values) * WAVENUMBER, modes)


def frequencies(species, positions, hessian) -> np.ndarray:
    """The wavenumbers of `normal_modes`, (3n − 6,) cm⁻¹."""
    return normal_modes(species, positions, hessian).wavenumbers


def signed_root(squares: np.ndarray) -> np.ndarray:
    """√x, and −√−x where x < 0: ω of ω², imaginary ones negative."""
    return np.sign(squares) * np.sqrt(np.abs(squares))
