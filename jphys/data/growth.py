"""Crystal growth: clusters of fcc Al and Cu that grow atom by atom from a seed of 14 (VIMPNN sec. 3.3).

Sites are integers in units of half the lattice constant: an fcc lattice is the triples with even sum, the
twelve nearest neighbours of a site are (±1, ±1, 0), (±1, 0, ±1) and (0, ±1, ±1).
"""

import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from jphys.data import scaled_files
from jphys.data.crystals import check_lattice_constants
from jphys.data.scaled import ScaledSet
from jphys.data.structures import Structures
from jphys.elements import SYMBOLS

__all__ = [
    "DFT_FILE",
    "LICENCE",
    "N_STABLE",
    "N_UNSTABLE",
    "SIZES",
    "STABLE_FILE",
    "UNSTABLE_FILE",
    "grow",
    "load_stable",
    "load_unstable",
    "shapes",
    "source_of",
]

# The conventional cell with all its corners and face centres.
SEED_SITES = np.array([site for site in itertools.product(range(3), repeat=3) if sum(site) % 2 == 0])
NEIGHBORS = np.array([s for s in itertools.product((-1, 0, 1), repeat=3) if sorted(map(abs, s)) == [0, 1, 1]])
# An atom comes to rest in a hollow of the surface, on three atoms or more: with fewer the cluster grows
# needles of atoms with one neighbour. The paper says only that sites are random ones of the surface.
MIN_NEIGHBORS = 3
SIZES = range(15, 115)
N_STABLE, N_UNSTABLE = 20, 5  # growths per element
STABLE_FILE = Path(__file__).with_name("crystal_growth_stable_emt.npz")  # in the package
UNSTABLE_FILE = Path(__file__).with_name("crystal_growth_unstable_emt.npz")
DFT_FILE = Path(__file__).with_name("crystal_growth_unstable_gpaw.npz")  # PBE, 24 clusters to 20 atoms
LICENCE = "CC0"


def load_stable(path=None) -> ScaledSet:
    """4,000 clusters at scale 1, or the set of another file of `experiments/make_crystal_growth.py`.

    None is the file in the package (effective medium theory). Split it by shape:
    `jphys.data.scaled.split_shapes(set, fractions=(0.6, 0.2, 0.2), seed=0)`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: truncated, foreign, inconsistent or of another set; names the file and what is wrong.
    """
    return scaled_files.load(STABLE_FILE if path is None else path, scaled_files.STABLE_GROWTH)


def load_unstable(path=None) -> ScaledSet:
    """As `load_stable`, but 1,000 clusters at ten scales each.

    Raises:
        FileNotFoundError, ValueError: as `load_stable`.
    """
    return scaled_files.load(UNSTABLE_FILE if path is None else path, scaled_files.UNSTABLE_GROWTH)


def grow(n_sites: int, *, seed: int | tuple[int, ...], min_neighbors: int = MIN_NEIGHBORS) -> np.ndarray:
    """Sites of a growing cluster in the order in which they were occupied.

    From `SEED_SITES` on, each atom takes a random free site of the surface, all with equal probability: a
    site with at least `min_neighbors` occupied nearest neighbours. The first n rows are the cluster of n.

    Args:
        n_sites: size of the final cluster, at least 14.
        seed: of numpy's default generator; the same seed gives the same sites.
        min_neighbors: occupied nearest neighbours that an atom needs, 1 to 3.

    Returns:
        (n_sites, 3) int64 in units of half the lattice constant.

    Raises:
        ValueError: if n_sites is below 14, or min_neighbors is not 1, 2 or 3.
    """
    if n_sites < len(SEED_SITES):
        raise ValueError(f"n_sites must be at least {len(SEED_SITES)}, got {n_sites}")
    if min_neighbors not in (1, 2, 3):  # the seed offers no site with more
        raise ValueError(f"min_neighbors must be 1, 2 or 3, got {min_neighbors}")
    rng, sites = np.random.default_rng(seed), []
    contacts: Counter[tuple[int, int, int]] = Counter()  # free site -> occupied nearest neighbours
    occupied: set[tuple[int, int, int]] = set()
    for step in range(n_sites):
        if step < len(SEED_SITES):
            site = tuple(SEED_SITES[step].tolist())
        else:
            surface = sorted(free for free, n in contacts.items() if n >= min_neighbors)
            site = surface[rng.integers(len(surface))]
        sites.append(site)
        occupied.add(site)
        contacts.pop(site, None)
        contacts.update(near for near in map(tuple, (site + NEIGHBORS).tolist()) if near not in occupied)
    return np.array(sites)


def shapes(
    lattice_constants: dict[int, float], *, n_growths: int = N_STABLE, sizes: Sequence[int] = SIZES
) -> Structures:
    """Every size of several growths of every element, at scale 1.

    Each growth has a seed of its own, (atomic number, number of the growth): the first five of twenty are
    the same as five. Names are as "Al-03-027": element, growth, number of atoms.

    Args:
        lattice_constants: atomic number to a in Å, as in `jphys.data.crystals.LATTICE_CONSTANTS`.
        n_growths: per element.
        sizes: numbers of atoms, ascending.

    Raises:
        ValueError: if there is no growth, a size is below 14, or they do not ascend; for no element, or a
            lattice constant that is not positive and finite.
    """
    check_lattice_constants(lattice_constants)
    if n_growths < 1 or not len(sizes):
        raise ValueError(f"n_growths and sizes must not be empty, got {n_growths} and {list(sizes)}")
    if min(sizes) < len(SEED_SITES) or list(sizes) != sorted(set(sizes)):
        raise ValueError(f"sizes must be at least {len(SEED_SITES)} and ascend, got {list(sizes)}")
    names, n_atoms, species, positions = [], [], [], []
    for (z, a), growth in itertools.product(lattice_constants.items(), range(n_growths)):
        sites = grow(max(sizes), seed=(z, growth))
        for size in sizes:
            names.append(f"{SYMBOLS[z]}-{growth:02d}-{size:03d}")
            n_atoms.append(size)
            species.append(np.full(size, z, np.int32))
            positions.append(sites[:size] * (a / 2))
    m = len(names)
    return Structures(
        name=np.array(names),
        n_atoms=np.array(n_atoms, np.int32),
        species=np.concatenate(species),
        positions=np.concatenate(positions),
        energy=np.full(m, np.nan),
        forces=None,
        cell=np.zeros((m, 3, 3)),
        n_bonds=np.zeros(m, np.int32),
        bonds=np.zeros((0, 3), np.int32),
    )


def source_of(clusters: Structures) -> str:
    """What a file of these clusters says about their origin."""
    return (
        f"{len(clusters)} fcc clusters made by jphys, {clusters.name[0]} to {clusters.name[-1]}, "
        f"atoms added at random with {MIN_NEIGHBORS} neighbours at least"
    )
