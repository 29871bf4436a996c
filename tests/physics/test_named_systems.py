"""Motions, order, images and forces of seven systems: each has tripped up some library once.

A cell smaller than the cutoff, an atom without neighbours, molecules out of each other's sight, symmetry.
"""

import numpy as np
import pytest
from ase.build import bulk, molecule
from scipy.spatial.transform import Rotation

from jphys.graph import make_graph

pytestmark = pytest.mark.usefixtures("x64")
TURN = Rotation.from_rotvec([0.7, -1.9, 0.4]).as_matrix()
SHIFT = np.array([3.0, -7.0, 11.0])


def cluster():
    """Ten atoms of five elements at random places, none closer than 0.9 Å."""
    rng, places = np.random.default_rng(3), []
    while len(places) < 10:
        place = rng.uniform(0, 4.0, 3)
        if all(np.linalg.norm(place - other) > 0.9 for other in places):
            places.append(place)
    return rng.choice([1, 6, 7, 8, 9], 10), np.array(places), None


def far_pair():
    one, other = molecule("H2O"), molecule("NH3")
    other.translate(50.0)
    both = one + other
    return both.numbers, both.positions, None


def free(name):
    atoms = molecule(name)
    return atoms.numbers, atoms.positions, None


SYSTEMS = {
    "water": lambda: free("H2O"),
    "benzene": lambda: free("C6H6"),
    "cluster": cluster,
    "fcc cell of one atom": lambda: (np.array([13]), np.zeros((1, 3)), bulk("Al", a=2.86).cell.array),
    "triclinic cell": lambda: (
        np.array([6, 8, 1]),
        np.array([[0.1, 0.0, 0.2], [1.3, 1.6, 1.4], [2.6, 0.4, 2.2]]),
        np.array([[3.9, 0.2, 0.0], [-1.3, 4.1, 0.4], [0.8, 1.5, 4.2]]),
    ),
    "one atom": lambda: (np.array([8]), np.array([[0.3, -0.2, 5.0]]), None),
    "far pair": far_pair,
}


@pytest.fixture(params=SYSTEMS)
def system(request, case):
    """Species, positions and cell; carbon takes the place of an element that the model was not fitted to."""
    species, positions, cell = SYSTEMS[request.param]()
    fitted = {z for z, _ in case.potential.config.reference_energies}
    return np.where(np.isin(species, list(fitted or species)), species, 6), positions, cell


def compute(case, species, positions, cell):
    cutoff = None if cell is None else case.potential.cutoff
    energy, forces = case.padded(make_graph(species, positions, cell=cell, cutoff=cutoff))
    assert np.isfinite(energy).all() and np.isfinite(forces).all()
    return energy[0], forces


def test_turned_shifted_and_renumbered(case, system):
    """The cell turns along, and its edges are found anew."""
    species, positions, cell = system
    order = np.random.default_rng(0).permutation(len(species))
    turned = None if cell is None else cell @ TURN.T
    energy, forces = compute(case, *system)
    there, moved = compute(case, species[order], positions[order] @ TURN.T + SHIFT, turned)
    assert there == pytest.approx(energy, rel=1e-11, abs=1e-9)
    np.testing.assert_allclose(moved, forces[order] @ TURN.T, rtol=0, atol=1e-8)


def test_forces_are_the_slopes_of_the_energy(case, system):
    """Along random directions of all atoms, edges found anew; without a net force."""
    species, positions, cell = system
    _, forces = compute(case, *system)
    rng, step = np.random.default_rng(1), 1e-5
    for _ in range(3):
        way = rng.normal(size=positions.shape)
        up, down = (compute(case, species, positions + sign * step * way, cell)[0] for sign in (1, -1))
        assert -(up - down) / (2 * step) == pytest.approx(np.sum(forces * way), rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(forces.sum(axis=0), 0, atol=1e-8)


@pytest.mark.parametrize("system", ["fcc cell of one atom", "triclinic cell"], indirect=True)
def test_an_atom_is_any_of_its_images(case, system):
    species, positions, cell = system
    images = np.random.default_rng(2).integers(-3, 4, positions.shape)
    energy, forces = compute(case, *system)
    there, same = compute(case, species, positions + images @ cell, cell)
    assert there == pytest.approx(energy, rel=1e-11, abs=1e-9)
    np.testing.assert_allclose(same, forces, rtol=0, atol=1e-8)
