"""Two atoms alone: Morse curves of diatomic molecules by their spectroscopic constants.

    E(d) = D_e·(1 − exp(−a(d − r_e)))² − D_e,    a = 2πcω_e·√(μ/2D_e),    D_e = D_0 + ½hcω_e

for the ground states in Huber & Herzberg, Constants of Diatomic Molecules (1979), as in the NIST Chemistry
WebBook (OF by later spectroscopy). Most of these pairs are in stable molecules at one distance or at none.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import units
from jphys.elements import COVALENT_RADIUS
from jphys.graph import Edges, Globals, Graph, Nodes
from jphys.ops import pseudo_huber

MASSES = {1: 1.00783, 6: 12.0, 7: 14.00307, 8: 15.99491, 9: 18.99840}  # u, by Z
# r_e Å, ω_e cm⁻¹, D_0 eV, by the atomic numbers of both atoms.
CONSTANTS = {
    (1, 1): (0.74144, 4401.2, 4.478),  # H₂
    (1, 6): (1.1199, 2858.5, 3.465),  # HC
    (1, 7): (1.0362, 3282.3, 3.40),  # HN
    (1, 8): (0.96966, 3737.8, 4.392),  # HO
    (1, 9): (0.91681, 4138.3, 5.869),  # HF
    (6, 6): (1.24253, 1854.7, 6.21),  # C₂
    (6, 7): (1.1718, 2068.6, 7.76),  # CN
    (6, 8): (1.12832, 2169.8, 11.092),  # CO
    (6, 9): (1.2718, 1308.1, 5.67),  # CF
    (7, 7): (1.09769, 2358.6, 9.759),  # N₂
    (7, 8): (1.15077, 1904.2, 6.497),  # NO
    (7, 9): (1.3170, 1141.4, 3.5),  # NF
    (8, 8): (1.20752, 1580.2, 5.116),  # O₂
    (8, 9): (1.3541, 1053.0, 2.23),  # OF
    (9, 9): (1.41193, 916.6, 1.602),  # F₂
}

CLOSEST = 0.55  # of the summed covalent radii; much closer pairs the network does not tell apart
WEAKEST = 0.05  # eV/Å; deviations from smaller pulls than this count absolutely
OUTLIER = 0.3  # relative deviation beyond which it counts linearly


class Diatomics(NamedTuple):
    """k pairs of elements and their Morse curves."""

    species: np.ndarray  # (k, 2) Z
    length: np.ndarray  # (k,) r_e, Å
    depth: np.ndarray  # (k,) D_e, eV
    width: np.ndarray  # (k,) a, Å⁻¹


def diatomics_of(elements: set[int]) -> Diatomics:
    """All pairs of these elements (Z) whose constants are known; none where there is none."""
    known = [pair for pair in CONSTANTS if elements.issuperset(pair)]
    length, wavenumber, depth = np.array([CONSTANTS[pair] for pair in known]).reshape(-1, 3).T
    depth = depth + 0.5 * units.INVERSE_CM * wavenumber
    mass = np.array([1.0 / sum(1.0 / MASSES[z] for z in pair) for pair in known])
    width = wavenumber / units.WAVENUMBER * np.sqrt(mass / (2.0 * depth))
    species = np.array(known, np.int32)
    return Diatomics(species.reshape(-1, 2), *(x.astype(np.float32) for x in (length, depth, width)))


def morse_pull(distances, length, depth, width):
    """dE/dd (…) eV/Å: positive where the atoms attract each other."""
    decay = jnp.exp(-width * (distances - length))
    return 2.0 * depth * width * decay * (1.0 - decay)


def two_atom_graph(species, distances) -> Graph:
    """Pairs of atoms (k, 2) at distances (k,) Å along x, singly bonded: a graph for each. Can be traced."""
    k = len(distances)
    ends = np.arange(2 * k, dtype=np.int32)
    positions = jnp.zeros((2 * k, 3), distances.dtype).at[1::2, 0].set(distances)
    two, true = np.full(k, 2, np.int32), np.ones(2 * k, bool)
    return Graph(
        nodes=Nodes(positions, jnp.reshape(species, -1), true),
        edges=Edges(np.zeros((2 * k, 3), np.int32), np.ones(2 * k, np.int32), true),
        receivers=ends,
        senders=ends ^ 1,
        globals=Globals(jnp.zeros((k, 3, 3), distances.dtype), np.ones(k, bool)),
        n_node=two,
        n_edge=two,
    )


class Drawn(NamedTuple):
    """Pairs of atoms, one for each of n structures."""

    graph: Graph  # of n pairs
    distances: jax.Array  # (n,) Å
    curve: tuple[jax.Array, jax.Array, jax.Array]  # (n,) length, depth and width each


def draw_diatomics(potential, index, key) -> Drawn | None:
    """A pair of the elements that the model knows for every structure, by its index (n,).

    Distances are uniform from 0.55 of the summed covalent radii to the cutoff: below half of them the
    Transformer feels no difference; what nothing teaches it in between need not repel. Elements without
    constants are left out; None where none are left.
    """
    fitted = {z for z, _ in potential.config.reference_energies} or set(range(potential.config.max_z + 1))
    curves = jax.tree.map(jnp.asarray, diatomics_of(fitted))
    if not len(curves.length):
        return None
    keys = jax.vmap(lambda i: jax.random.split(jax.random.fold_in(key, i)))(index)
    which = jax.vmap(lambda k: jax.random.randint(k, (), 0, len(curves.length)))(keys[:, 0])
    species, *curve = (array[which] for array in curves)
    nearest = CLOSEST * jnp.asarray(COVALENT_RADIUS, jnp.float32)[species].sum(axis=1)
    distances = nearest + (potential.cutoff - nearest) * jax.vmap(jax.random.uniform)(keys[:, 1])
    return Drawn(two_atom_graph(species, distances), distances, tuple(curve))


def diatomic_loss(forces, drawn: Drawn):
    """Deviation of the pull between two atoms alone from their Morse curve, relative to it: (n,).

        x² = (E'(d) − E'_Morse(d))² / (WEAKEST² + E'_Morse(d)²),   pseudo-Huber beyond x = 0.3.

    Args:
        forces: (2n, 3) eV/Å on the atoms of the pairs.
        drawn: the pairs.
    """
    pull, expected = -forces[1::2, 0], morse_pull(drawn.distances, *drawn.curve)
    return pseudo_huber((pull - expected) ** 2 / (WEAKEST**2 + expected**2), OUTLIER)
