"""Normal modes of the prior against Hessians by finite differences of its forces, in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from jphys.data.qm9 import load_small
from jphys.data.structures import graphs, take
from jphys.graph import Nodes
from jphys.modes import Modes, prior_modes, take_modes
from jphys.prior import Prior, Terms, make_prior, prior_energy, rotor_stiffness
from jphys.ragged import padded, ragged_rows

# Molecules with their number of rigid motions: bent, chained, straight in part, straight.
RIGID_MOTIONS = {"H2O": 6, "C2H6": 6, "CH3CONH2": 6, "CH3CN": 6, "CO2": 5, "HCN": 5, "C2H2": 5}


def lay_out(structures):
    """Nodes and terms of (species, positions) pairs, as a data set holds them."""
    nodes = ragged_rows(
        [Nodes(np.asarray(p, np.float32), np.asarray(s), np.ones(len(s), bool)) for s, p in structures]
    )
    priors = [make_prior(s, p) for s, p in structures]
    terms = tuple(
        ragged_rows([(p[kind].atoms, p[kind].stiffness) for p in priors])
        for kind in range(len(Prior._fields))
    )
    return nodes, terms


@functools.cache
def finite_difference_hessian(name):
    """H (3n, 3n) eV/Å², central differences of the gradient of the prior's energy."""
    species, positions = molecule(name).numbers, molecule(name).positions
    with jax.enable_x64(True):
        prior, stable = make_prior(species, positions), jnp.asarray(positions, jnp.float64)
        gradient = jax.jit(jax.vmap(jax.grad(lambda x: prior_energy(x.reshape(-1, 3), stable, prior))))
        steps = 1e-5 * np.eye(stable.size)
        return np.asarray(gradient(stable.ravel() + steps) - gradient(stable.ravel() - steps)) / 2e-5


@pytest.fixture(scope="module")
def modes():
    """Modes of all the molecules in chunks of 4, and their number of atoms."""
    structures = [(molecule(name).numbers, molecule(name).positions) for name in RIGID_MOTIONS]
    stored = prior_modes(*lay_out(structures), chunk=4)
    found = [np.asarray(rows) for rows in take_modes(stored, np.arange(len(structures)), 27)]
    return {name: Modes(*(rows[i] for rows in found)) for i, name in enumerate(RIGID_MOTIONS)}


@pytest.mark.parametrize("name", RIGID_MOTIONS)
def test_modes_diagonalise_the_hessian(modes, name):
    vectors, curvatures, real = modes[name]
    atoms = molecule(name)
    n = 3 * len(atoms)
    assert vectors.shape == (27, 27) and curvatures.shape == real.shape == (27,)
    np.testing.assert_allclose(vectors.T @ vectors, np.diag(real.astype(float)), atol=1e-5)
    whole = (vectors * curvatures) @ vectors.T
    expected = finite_difference_hessian(name)
    np.testing.assert_allclose(whole[:n, :n], expected, atol=1e-3 * np.abs(expected).max())
    np.testing.assert_allclose(whole[n:], 0, atol=1e-4)


@pytest.mark.parametrize("name, rigid", RIGID_MOTIONS.items())
def test_every_motion_but_the_rigid_ones_is_held(modes, name, rigid):
    """3n − 6 (5) modes with stiffness, silent on padding; the softest one by eigenvalues of its own."""
    vectors, curvatures, real = modes[name]
    atoms = molecule(name)
    n = 3 * len(atoms)
    assert real.sum() == n - rigid
    assert np.all(curvatures[real] > 0) and np.all(curvatures[~real] == 0)
    np.testing.assert_allclose(vectors[n:, real], 0, atol=1e-5)
    expected = np.linalg.eigvalsh(finite_difference_hessian(name))
    assert np.abs(expected[:rigid]).max() < 1e-4 < expected[rigid]
    np.testing.assert_allclose(np.sort(curvatures[real]), expected[rigid:], rtol=2e-2, atol=2e-3)


def test_rigid_motions_are_no_modes(modes):
    """Shifts and turns have no component along any real mode."""
    atoms = molecule("CH3CONH2")
    vectors, _, real = modes["CH3CONH2"]
    motions = [np.tile(axis, (len(atoms), 1)) for axis in np.eye(3)]
    motions += [np.cross(axis, atoms.positions - atoms.positions.mean(axis=0)) for axis in np.eye(3)]
    for motion in motions:
        flat = motion.ravel() / np.linalg.norm(motion)
        np.testing.assert_allclose(vectors[: flat.size, real].T @ flat, 0, atol=2e-3)


def straight_angles(prior, positions):
    """Number of bond angles above 170°."""
    i, j, k = prior.angles.atoms.T
    a, b = positions[i] - positions[j], positions[k] - positions[j]
    cosines = np.sum(a * b, axis=1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return int(np.sum(cosines < np.cos(np.deg2rad(170))))


def test_molecules_of_qm9_stand_in_a_bowl():
    """48 molecules over the whole subset: every term stiff, all but the rigid motions held.

    The one exception is nature's: groups at the two ends of a straight chain turn freely.
    """
    chosen = take(load_small(), np.linspace(0, 3920, 48).astype(int))
    structures = [(g.nodes.species, g.nodes.positions) for g in graphs(chosen)]
    nodes, terms = lay_out(structures)
    for kind in (0, 1, 2, 4):
        assert np.all(np.asarray(terms[kind].rows[1]) > 0)
    rotors, several = terms[3], np.arange(0, 48, 3)
    (atoms, stiffness), mask = padded(rotors, several, int(np.max(rotors.counts)))
    stable = padded(nodes, several, int(np.max(nodes.counts)))[0].positions
    assert np.all(jax.jit(jax.vmap(rotor_stiffness))(stable, Terms(atoms, stiffness, mask)) >= 0)
    found = prior_modes(nodes, terms, chunk=48)
    free = 0
    for (species, positions), n_mode in zip(structures, np.asarray(found.curvatures.counts)):
        spread = np.linalg.svd(positions - positions.mean(axis=0), compute_uv=False)
        rigid = 5 if len(species) == 2 or spread[1] < 1e-2 else 6
        missing = 3 * len(species) - rigid - n_mode
        assert 0 <= missing <= straight_angles(make_prior(species, positions), positions) // 2, species
        free += missing
    assert free <= 3
