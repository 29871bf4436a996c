"""Forces on bands beside those of ASE, and first guesses of paths."""

import ase.mep
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import add_adsorbate, fcc100, molecule
from ase.calculators.singlepoint import SinglePointCalculator

from jphys.paths import band_force, idpp, straight
from jphys.paths.bands import Given


def random_band(rng, images=5, n=4):
    """Positions (images + 2, n, 3), energies and forces of a rough path."""
    positions = np.linspace(0, 1, images + 2)[:, None, None] * rng.normal(size=(n, 3))
    positions += 0.1 * rng.normal(size=positions.shape)
    return positions, rng.normal(size=len(positions)), rng.normal(size=positions.shape)


def forces_of_ase(positions, energies, forces, spring, climb):
    chain = []
    for place, energy, force in zip(positions, energies, forces):
        atoms = Atoms("C" * len(place), place)
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=force)
        chain.append(atoms)
    band = ase.mep.NEB(chain, k=spring, climb=climb, method="improvedtangent")
    return band.get_forces().reshape(len(chain) - 2, -1, 3)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("climb", [False, True])
def test_forces_are_those_of_ase(rng, climb):
    for _ in range(20):
        positions, energies, forces = random_band(rng)
        energies[[0, -1]] -= 5.0  # a peak between them
        ends, inner = positions[[0, -1]], slice(1, -1)
        given = Given(ends, energies[[0, -1]], 0.7, np.inf if climb else 0.0)
        found = band_force(
            given, positions[inner].reshape(-1, 3), energies[inner], forces[inner].reshape(-1, 3)
        )
        expected = forces_of_ase(positions, energies, forces, 0.7, climb)
        np.testing.assert_allclose(np.reshape(found, expected.shape), expected, atol=1e-10)


@pytest.mark.usefixtures("x64")
def test_the_highest_image_alone_climbs_and_never_past_an_end(rng):
    positions, energies, forces = random_band(rng)
    energies[3] = 9.0
    places, felt = (x[1:-1].reshape(-1, 3) for x in (positions, forces))

    def of(heights, climb_below):
        given = Given(positions[[0, -1]], heights, 0.7, climb_below)
        return np.reshape(band_force(given, places, energies[1:-1], felt), (5, -1))

    changed = np.abs(of(energies[[0, -1]], 1e3) - of(energies[[0, -1]], 0.1)).max(axis=1) > 1e-9
    np.testing.assert_array_equal(changed, np.arange(5) == 2)
    uphill = np.array([0.0, 10.0])
    np.testing.assert_array_equal(of(uphill, 1e3), of(uphill, 0.1))


def test_images_in_one_place_or_of_one_energy_have_finite_forces():
    flat = Given(np.zeros((2, 2, 3)), np.zeros(2), 1.0, 1e3)
    found = band_force(flat, jnp.zeros((6, 3)), jnp.zeros(3), jnp.ones((6, 3)))
    assert np.isfinite(found).all()


def test_a_straight_path_has_no_rigid_motion(rng):
    start = molecule("CH3OH").positions
    turned = start @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    if np.linalg.det(np.linalg.lstsq(start, turned, rcond=None)[0]) < 0:
        turned = -turned
    chain = straight(start, turned + 3.0, 3)
    assert chain.shape == (5, 6, 3) and np.ptp(chain, axis=0).max() < 1e-10
    held = straight(start, turned + 3.0, 3, fixed=np.arange(6) == 0)
    np.testing.assert_allclose(held[-1], turned + 3.0)


def test_atoms_cross_the_boundary_of_a_cell():
    cell = np.diag([4.0, 4.0, 9.0])
    chain = straight([[3.8, 0, 0], [1, 1, 1]], [[0.2, 0, 0], [1, 1, 1]], 1, cell=cell)
    np.testing.assert_allclose(chain[:, 0, 0], [3.8, 4.0, 4.2])
    np.testing.assert_allclose(idpp(chain, cell=cell)[[0, -1]], chain[[0, -1]])


def distances(chain):
    apart = chain[:, :, None] - chain[:, None]
    return np.linalg.norm(apart, axis=-1) + 9 * np.eye(chain.shape[1])


def test_atoms_go_around_each_other():
    """The hydrogens of methanol exchange places: on straight lines they meet."""
    start = molecule("CH3OH").positions
    goal = start[[0, 1, 2, 3, 5, 4]]
    chain = straight(start, goal, 5, fixed=np.arange(6) < 2)
    assert distances(chain).min() < 0.3
    around = idpp(chain, fixed=np.arange(6) < 2)
    assert distances(around).min() > 0.9
    np.testing.assert_array_equal(around[:, :2], chain[:, :2])
    np.testing.assert_array_equal(around[[0, -1]], chain[[0, -1]])


def test_distances_are_interpolated_as_ase_does():
    """Of an adatom that hops: the path of ASE, which adds springs, within 0.25 Å."""
    slab = fcc100("Al", size=(3, 3, 2))
    add_adsorbate(slab, "Au", 1.7, "hollow")
    slab.center(axis=2, vacuum=4.0)
    other = slab.copy()
    other.positions[-1, 0] += slab.cell.array[0, 0] / 3
    chain = [slab.copy() for _ in range(4)] + [other]
    band = ase.mep.NEB(chain, method="improvedtangent")
    band.interpolate(mic=True)
    quiet: dict = {"traj": None, "log": None}
    band.idpp_interpolate(**quiet, fmax=1e-3, mic=True)
    path = straight(slab.positions, other.positions, 3, cell=slab.cell.array)
    found = idpp(path, cell=slab.cell.array)
    expected = np.array([atoms.positions for atoms in chain])
    assert np.linalg.norm(found - path, axis=-1).max() > 0.05
    assert np.linalg.norm(found - expected, axis=-1).max() < 0.25


def test_an_atom_that_passes_another_does_not_fly_away():
    """With the weights of the paper it does: it ends 4000 Å away."""
    chain = straight(
        [[0.623, 0.028, 0], [0.3, 0.6, 0]], [[-0.05, 0.467, 0], [0.3, 0.6, 0]], 9, cell=20 * np.eye(3)
    )
    found = idpp(chain, cell=20 * np.eye(3), fixed=np.array([False, True]))
    assert np.linalg.norm(found - chain, axis=-1).max() < 0.5


def test_the_slope_of_the_guess_vanishes_where_it_ends(rng):
    """By differences of S, written down once more."""
    chain = straight(rng.normal(size=(4, 3)), rng.normal(size=(4, 3)) + 0.5, 2)
    found = idpp(chain, steps=2000)
    first, last = (np.linalg.norm(chain[k][:, None] - chain[k], axis=-1) for k in (0, -1))

    def s(place, part):
        d = np.linalg.norm(place[:, None] - place, axis=-1)
        wanted = (1 - part) * first + part * last
        pairs = np.triu_indices(4, 1)
        return np.sum((d - wanted)[pairs] ** 2 / np.minimum(d, wanted)[pairs] ** 4)

    for image, part in ((1, 1 / 3), (2, 2 / 3)):
        for coordinate in np.ndindex(4, 3):
            move = np.zeros((4, 3))
            move[coordinate] = 1e-4
            slope = (s(found[image] + move, part) - s(found[image] - move, part)) / 2e-4
            assert abs(slope) < 1e-3
