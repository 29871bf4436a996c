"""Crystal growth: exact lattice sites, one atom each, every new one on the surface."""

import ase.build
import numpy as np
import pytest
from scipy.spatial.distance import pdist

from jphys.data import crystals, growth
from jphys.data.scaled import split_shapes


@pytest.fixture(scope="module")
def sites():
    return growth.grow(114, seed=(13, 0))


def n_neighbors(site, others):
    """Occupied nearest neighbours of a site, by squared distance: 2 in units of half the lattice constant."""
    return int((((others - site) ** 2).sum(axis=1) == 2).sum())


def test_the_seed_is_the_conventional_cell():
    """ASE's cubic cell repeated, cut to one cube: 8 corners and 6 face centres."""
    crystal = ase.build.bulk("Al", "fcc", a=2.0, cubic=True).repeat(2).positions
    inside = crystal[(crystal <= 2.0 + 1e-9).all(axis=1)]
    assert len(growth.SEED_SITES) == 14
    assert sorted(map(tuple, np.rint(inside).astype(int).tolist())) == sorted(
        map(tuple, growth.SEED_SITES.tolist())
    )


def test_sites_are_lattice_sites_and_occupied_once(sites):
    assert sites.shape == (114, 3) and np.issubdtype(sites.dtype, np.integer)
    assert (sites.sum(axis=1) % 2 == 0).all()
    assert len(np.unique(sites, axis=0)) == 114
    np.testing.assert_array_equal(sites[:14], growth.SEED_SITES)


def test_positions_are_sites_of_the_crystal_of_ase():
    clusters = growth.shapes({29: 3.6}, n_growths=1, sizes=(114,))
    primitive = ase.build.bulk("Cu", "fcc", a=3.6).cell.array
    coefficients = clusters.positions @ np.linalg.inv(primitive)
    np.testing.assert_allclose(coefficients, np.rint(coefficients), atol=1e-9)


@pytest.mark.parametrize("min_neighbors", [1, 3])
def test_every_atom_is_placed_on_the_surface(min_neighbors):
    sites = growth.grow(60, seed=5, min_neighbors=min_neighbors)
    contacts = [n_neighbors(sites[i], sites[:i]) for i in range(14, 60)]
    # 12 would be a hole inside, which fcc growth by hollows may close but never leaves a surface
    assert min(contacts) >= min_neighbors and max(contacts) < 12
    assert min_neighbors > 1 or min(contacts) < 3


def test_all_sites_of_the_surface_can_be_the_next():
    """24 hollows of the seed have three neighbours: four on each face, all of them equally likely."""
    next_sites = [tuple(growth.grow(15, seed=seed)[-1].tolist()) for seed in range(600)]
    found, counts = np.unique(next_sites, axis=0, return_counts=True)
    assert len(found) == 24 and counts.min() >= 8 and counts.max() <= 48


def test_growth_is_reproducible_and_seeds_differ(sites):
    np.testing.assert_array_equal(growth.grow(114, seed=(13, 0)), sites)
    assert not np.array_equal(growth.grow(114, seed=(13, 1)), sites)
    assert not np.array_equal(growth.grow(114, seed=(29, 0)), sites)


def test_smaller_clusters_are_the_beginnings_of_larger_ones(sites):
    np.testing.assert_array_equal(growth.grow(30, seed=(13, 0)), sites[:30])
    clusters = growth.shapes({13: 4.0}, n_growths=2, sizes=(15, 16))
    assert clusters.name.tolist() == ["Al-00-015", "Al-00-016", "Al-01-015", "Al-01-016"]
    np.testing.assert_array_equal(clusters.positions[:15], clusters.positions[15:30])


def test_full_size_has_the_numbers_of_the_paper():
    clusters = growth.shapes({13: 3.995, 29: 3.59})
    assert len(clusters) == 4000 and clusters.n_atoms.min() == 15 and clusters.n_atoms.max() == 114
    assert len(np.unique(clusters.name)) == 4000


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="n_sites must be at least 14, got 13"):
        growth.grow(13, seed=0)
    with pytest.raises(ValueError, match="min_neighbors must be 1, 2 or 3, got 4"):
        growth.grow(20, seed=0, min_neighbors=4)
    with pytest.raises(ValueError, match="n_growths and sizes must not be empty, got 0"):
        growth.shapes({13: 4.0}, n_growths=0)
    for sizes in ((5, 15), (15, 14), (15, 15)):
        with pytest.raises(ValueError, match="sizes must be at least 14 and ascend, got"):
            growth.shapes({13: 4.0}, n_growths=1, sizes=sizes)


@pytest.mark.parametrize(
    ("constants", "got"), [({}, "none"), ({13: -4.0}, "-4.0 for Al"), ({29: np.nan}, "nan for Cu")]
)
def test_impossible_lattice_constants_are_refused(constants, got):
    for shapes in (growth.shapes, crystals.shapes):
        with pytest.raises(ValueError, match=f"lattice_constants must be .*, got {got}"):
            shapes(constants)


def test_shipped_sets_are_whole_and_split_by_shape():
    stable, unstable = growth.load_stable(), growth.load_unstable()
    assert (len(stable), stable.n_shape, stable.n_failed) == (4000, 4000, 0)
    assert (len(unstable), unstable.n_shape, unstable.n_failed) == (10_000, 1000, 0)
    parts = split_shapes(unstable, fractions=(0.6, 0.2, 0.2), seed=0)
    # all clusters of 15 atoms are one: they go where the first went
    assert sum(map(len, parts)) == 10_000
    np.testing.assert_allclose([len(part) for part in parts], [6000, 2000, 2000], atol=100)
    names = [{sites_of(unstable, point) for point in part} for part in parts]
    assert not (names[0] & names[1] or names[0] & names[2] or names[1] & names[2])


def sites_of(clusters, point):
    """Element and squared distances in units of half the lattice constant: the same for equal clusters."""
    end = clusters.structures.n_atoms[: point + 1].sum()
    atoms = slice(end - clusters.structures.n_atoms[point], end)
    squared = (pdist(clusters.structures.positions[atoms]) / clusters.scale[point]) ** 2
    z = int(clusters.structures.species[end - 1])
    return z, np.sort(np.rint(2 * squared / squared.min()).astype(int)).tobytes()


def test_the_clusters_with_density_functional_energies():
    """PBE: stretching costs; each cluster is the beginning of a growth at GPAW's lattice constant."""
    found = growth.load_unstable(growth.DFT_FILE)
    assert found.n_shape == 24 and len(found) == 240 and found.n_failed == found.n_not_asked == 0
    assert found.provenance["engine"] == "gpaw-lcao"
    assert found.structures.n_atoms.max() <= 30
    for shape in range(found.n_shape):
        energy = found.structures.energy[found.shape == shape]
        assert 0 < energy.argmin() < 4 and energy[-1] > energy.min() + 5
