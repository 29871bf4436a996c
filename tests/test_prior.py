"""The classical prior: force constants computed by hand, its minimum, rigid motions, straight molecules."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from jphys.prior import (
    Prior,
    Terms,
    bond_angles,
    bonded_pairs,
    force_constants,
    make_prior,
    planar_atoms,
    prior_energy,
    term_energies,
    torsion_vectors,
)

# Hartree, Bohr and the scale of Hartree-Fock force constants, typed here once more.
EH, A0, SCALE = 27.211386, 0.529177, 0.8929**2
energy_and_gradient = jax.jit(jax.value_and_grad(prior_energy))


def setting(name):
    """Prior and positions of a molecule of the G2 set, float64."""
    atoms = molecule(name)
    return make_prior(atoms.numbers, atoms.positions), jnp.asarray(atoms.positions)


def curvatures(name):
    """Eigenvalues of the Hessian of the prior, ascending, by finite differences of its forces."""
    prior, stable = setting(name)
    n = stable.size
    force = jax.jit(jax.grad(lambda x: prior_energy(x.reshape(-1, 3), stable, prior)))
    step = 1e-5
    rows = [(force(stable.ravel() + m) - force(stable.ravel() - m)) / (2 * step) for m in step * np.eye(n)]
    matrix = np.asarray(rows)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-5)
    return np.linalg.eigvalsh(0.5 * (matrix + matrix.T))


@pytest.mark.parametrize(
    "name, softness", [("H2", -0.244), ("HCl", 0.660), ("CO", 1.085), ("F2", 1.085), ("Cl2", 2.068)]
)
def test_stretch_of_diatomics(x64, name, softness):
    """k = A/(r − B)³·0.8929² with A = 1.734 Eh·a0 and B by the rows of the periodic table (Schlegel 1984).

    At the bottom a Morse oscillator is a spring: both atoms feel k, so that the eigenvalue is 2k.
    """
    atoms = molecule(name)
    length = np.linalg.norm(atoms.positions[0] - atoms.positions[1])
    k = 1.734 / (length / A0 - softness) ** 3 * EH / A0**2 * SCALE
    values = curvatures(name)
    assert values[-1] == pytest.approx(2 * k, rel=1e-4)
    np.testing.assert_allclose(values[:-1], 0, atol=1e-5)


def test_hydrogen_in_numbers(x64):
    """H2 at 0.7401 Å, by hand: 1.734/(1.3986 + 0.244)³ = 0.3912 Eh/a0² = 38.01 eV/Å², scaled 30.31."""
    prior = make_prior([1, 1], np.array([[0, 0, 0], [0.7401, 0, 0]]))
    np.testing.assert_allclose(prior.bonds.stiffness, [30.31], rtol=1e-3)


def test_morse_far_from_the_minimum(x64):
    """½k/a²(1 − exp(−a(r − r⁰)))², a = 2 Å⁻¹: at r → ∞ k/8 of energy."""
    prior, stable = setting("CO")
    k = float(prior.bonds.stiffness[0])
    for stretch in (-0.3, 0.2, 50.0):
        direction = np.array(stable[1] - stable[0]) / np.linalg.norm(stable[1] - stable[0])
        moved = stable.at[1].add(stretch * direction)
        expected = k / 8 * (1 - np.exp(-2 * stretch)) ** 2
        assert float(prior_energy(moved, stable, prior)) == pytest.approx(expected, rel=1e-6)


def test_bend_of_water(x64):
    """½k(θ − θ⁰)² with k = 0.160 Eh/rad² where a hydrogen ends the angle; CO2's has 0.250."""
    prior, stable = setting("H2O")
    theta = float(bond_angles(stable, prior.angles)[0])
    first, second = np.array(stable[1] - stable[0]), np.array(stable[2] - stable[0])
    expected = np.arccos(first @ second / np.linalg.norm(first) / np.linalg.norm(second))
    assert theta == pytest.approx(expected)
    axis = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
    opened = stable[0] + Rotation.from_rotvec(0.1 * axis).apply(second)
    energy = float(prior_energy(stable.at[2].set(opened), stable, prior))
    assert energy == pytest.approx(0.5 * 0.160 * EH * SCALE * 0.1**2, rel=1e-5)
    np.testing.assert_allclose(setting("CO2")[0].angles.stiffness, 0.250 * EH * SCALE, rtol=1e-5)


def contact_energy(moved, stable, numbers):
    """Σ ½k/a²·(1 − exp(−a(r − r⁰)))², a = 1.75 Å⁻¹, over ethane's 9 pairs of hydrogens on different carbons.

    k is the curvature of MM3's repulsion: 1.84·10⁵ε·(12/3.24)²·exp(−12r/3.24), ε = 0.02 kcal/mol.
    """
    total, count = 0.0, 0
    for i, j in itertools.combinations(np.flatnonzero(numbers == 1), 2):
        still, now = np.linalg.norm(stable[i] - stable[j]), np.linalg.norm(moved[i] - moved[j])
        if still > 2.0:  # 1.8 Å on one carbon, 2.5 and 3.1 Å across
            count += 1
            k = 1.84e5 * 0.02 * 0.0433641 * (12 / 3.24) ** 2 * np.exp(-12 * still / 3.24)
            total += 0.5 * k / 1.75**2 * (1 - np.exp(-1.75 * (now - still))) ** 2
    assert count == 9
    return total


def test_contact_of_two_hydrogens_in_numbers():
    """2.5 Å, by hand: 1.84e5·0.02·0.043364 = 159.6 eV, ·(12/3.24)² = 2189, ·exp(−9.2593) = 0.2085."""
    k = force_constants.contact(np.array([1, 1]), np.array([[0, 0, 0], [2.5, 0, 0]]), np.array([[0, 1]]))
    np.testing.assert_allclose(k, [0.2085], rtol=2e-3)


def turned(stable, numbers, start, angle):
    """The atoms at the second carbon turned about the bond of the two, and that side of the molecule."""
    first, second = np.flatnonzero(numbers == 6)[:2]
    bond = np.asarray(stable[second] - stable[first])
    near = np.linalg.norm(np.asarray(stable) - np.asarray(stable[second]), axis=1) < start
    moved, centre = np.array(stable), np.asarray(stable[second])
    rotation = Rotation.from_rotvec(angle * bond / np.linalg.norm(bond))
    moved[near] = centre + rotation.apply(moved[near] - centre)
    return jnp.asarray(moved), near


def sine_and_length(stable, numbers, near):
    """sin of the angle H-C-C and the length of C-C."""
    first, second = np.flatnonzero(numbers == 6)[:2]
    bond = np.asarray(stable[second] - stable[first])
    arm = np.asarray(stable[np.flatnonzero(near & (numbers == 1))[0]] - stable[second])
    length = np.linalg.norm(bond)
    return np.linalg.norm(np.cross(arm, bond)) / np.linalg.norm(arm) / length, length


def test_ethane_has_nine_torsions_and_their_curvature(x64):
    """Nine terms k/9·s·s⁰(1 − cos 3Δφ), k = A − B(r − r_cov) ≥ A = 0.0023 Eh, s = sin² of the H-C-C angle."""
    prior, stable = setting("C2H6")
    numbers = molecule("C2H6").numbers
    assert prior.threefold.atoms.shape == (9, 4) and prior.bonds.atoms.shape == (7, 2)
    assert prior.angles.atoms.shape == (12, 3) and not len(prior.twofold.atoms)
    for turn in (0.2, np.pi / 3, 2.0):
        moved, near = turned(stable, numbers, 1.2, turn)
        sine, length = sine_and_length(stable, numbers, near)
        k = max(0.0023 - 0.07 * (length - 2 * 0.76) / A0, 0.0023) * EH * SCALE
        energies = [float(jnp.sum(e)) for e in term_energies(moved, stable, prior)]
        np.testing.assert_allclose(energies[:3], 0, atol=1e-10)
        assert energies[4] == pytest.approx(contact_energy(moved, np.asarray(stable), numbers), rel=1e-4)
        assert energies[3] == pytest.approx(k * sine**4 * (1 - np.cos(3 * turn)), rel=1e-4)


def test_ethane_turned_by_a_third_is_ethane(x64):
    """Its hydrogens change places: neither torsions nor bonds and angles notice; its barrier is 0.10 eV."""
    prior, stable = setting("C2H6")
    numbers = molecule("C2H6").numbers
    third, eclipsed = (
        term_energies(turned(stable, numbers, 1.2, angle)[0], stable, prior)
        for angle in (2 * np.pi / 3, np.pi / 3)
    )
    assert all(float(jnp.sum(energies)) == pytest.approx(0, abs=1e-8) for energies in third[:4])
    assert float(jnp.sum(eclipsed[3])) == pytest.approx(2 * 0.0023 * EH * SCALE, rel=0.35)


def test_ethylene_has_four_two_fold_torsions(x64):
    """k/4·s·s⁰(1 − cos 2Δφ) with the constant of a double bond; half a turn changes nothing."""
    prior, stable = setting("C2H4")
    numbers = molecule("C2H4").numbers
    assert prior.twofold.atoms.shape == (4, 4) and not len(prior.threefold.atoms)
    for turn in (0.3, np.pi / 2, np.pi):
        moved, near = turned(stable, numbers, 1.2, turn)
        sine, length = sine_and_length(stable, numbers, near)
        k = (0.0023 - 0.07 * (length - 2 * 0.76) / A0) * EH * SCALE
        found = float(jnp.sum(term_energies(moved, stable, prior)[2]))
        assert found == pytest.approx(k * sine**4 * (1 - np.cos(2 * turn)), rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "name, planar",
    [("C2H6", 0), ("C2H4", 2), ("C6H6", 6), ("CH3CONH2", 2), ("CH3OH", 0), ("CH3CH2NH2", 0), ("CH2NHCH2", 0)],
)
def test_which_atoms_are_planar(name, planar):
    """Carbons and nitrogens with three bonds in a plane; not ammonia's nitrogen, not ether's oxygen."""
    atoms = molecule(name)
    adjacent = bonded_pairs(atoms.numbers, atoms.positions)
    found = planar_atoms(atoms.numbers, atoms.positions, [np.flatnonzero(row) for row in adjacent])
    assert found.sum() == planar


def test_torsions_by_a_textbook_formula(x64, rng):
    """φ of atan2(|b|a·(b×c), (a×b)·(b×c)) for random chains."""
    chains = rng.normal(size=(20, 4, 3))
    for chain in chains:
        s_cos, s_sin = torsion_vectors(
            jnp.asarray(chain), Terms(np.array([[0, 1, 2, 3]]), np.ones(1), np.ones(1, bool))
        )[0]
        a, b, c = np.diff(chain, axis=0)
        phi = np.arctan2(np.linalg.norm(b) * a @ np.cross(b, c), np.cross(a, b) @ np.cross(b, c))
        assert float(jnp.arctan2(s_sin, s_cos)) == pytest.approx(phi)


@pytest.mark.parametrize("name", ["CH3CONH2", "C2H2", "CH3CN"])
def test_stable_structure_has_no_energy_and_no_force(x64, name):
    prior, stable = setting(name)
    energy, gradient = energy_and_gradient(stable, stable, prior)
    assert abs(float(energy)) < 1e-12
    np.testing.assert_allclose(gradient, 0, atol=1e-9)


@pytest.mark.parametrize("name", ["CH3CONH2", "CH3CN"])
def test_forces_are_finite_differences_and_rigid_motions_are_free(x64, rng, name):
    prior, stable = setting(name)
    moved = stable + rng.normal(scale=0.1, size=stable.shape)

    def energy(*arguments):
        return energy_and_gradient(*arguments)[0]

    _, gradient = energy_and_gradient(moved, stable, prior)
    step = 1e-5
    for atom, axis in ((0, 0), (1, 2), (4, 1)):
        move = np.zeros(stable.shape)
        move[atom, axis] = step
        expected = (energy(moved + move, stable, prior) - energy(moved - move, stable, prior)) / (2 * step)
        assert float(gradient[atom, axis]) == pytest.approx(float(expected), abs=1e-6)
    there = energy(moved, stable, prior)
    assert there > 0.01
    turn = Rotation.from_rotvec([0.3, -1.2, 2.0]).as_matrix()
    np.testing.assert_allclose(energy(moved @ turn.T + 5.0, stable, prior), there, rtol=1e-9)
    np.testing.assert_allclose(energy(moved, stable @ turn.T - 3.0, prior), there, rtol=1e-9)


@pytest.mark.parametrize("name", ["CO2", "HCN", "C2H2"])
def test_straight_molecules(name):
    """float32: atoms in line give finite energies and gradients, exactly straight and a little off."""
    prior, stable = setting(name)
    bent = stable.at[0, 0].add(0.05)
    for positions in (stable, bent, stable + 1e-4):
        energy, gradient = energy_and_gradient(positions, stable, prior)
        assert jnp.isfinite(energy) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("name, bends", [("HCN", 2), ("C2H2", 4)])
def test_straight_molecules_resist_bending_in_both_directions(x64, name, bends):
    """Five zero modes; bends come in equal pairs, stretches alone."""
    values = curvatures(name)
    np.testing.assert_allclose(values[:5], 0, atol=1e-4)
    assert np.all(values[5:] > 0.1)
    assert np.sum(np.isclose(values[6:], values[5:-1], rtol=1e-3)) == bends // 2


def test_bending_of_carbon_dioxide_by_hand(x64):
    """Both C=O bonds of length d: E = ½kΔθ² and Δθ = (x_1 + x_2 − 2x_0)/d, so that λ = 6k/d², twice."""
    atoms = molecule("CO2")
    length = np.linalg.norm(atoms.positions[0] - atoms.positions[1])
    np.testing.assert_allclose(curvatures("CO2")[5:7], 6 * 0.250 * EH * SCALE / length**2, rtol=1e-3)


def test_padding_terms_are_silent(x64):
    """Masked terms with atoms 0 0 (0 0) change neither energy nor gradient."""
    prior, stable = setting("CH3CN")
    moved = stable * 1.05

    def padded(terms):
        extra = np.zeros((3, terms.atoms.shape[1]), np.int32)
        return Terms(
            np.concatenate([terms.atoms, extra]),
            np.append(terms.stiffness, [7.0] * 3),
            np.append(terms.mask, [False] * 3),
        )

    wide = Prior(*(padded(terms) for terms in prior))
    ours, theirs = (energy_and_gradient(moved, stable, p) for p in (wide, prior))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-6)
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5, atol=1e-9)


def test_a_single_atom_has_no_terms():
    prior = make_prior([6], np.zeros((1, 3)))
    assert [len(terms.atoms) for terms in prior] == [0] * 5
    energy, gradient = energy_and_gradient(jnp.ones((1, 3)), jnp.zeros((1, 3)), prior)
    assert energy == 0 and not gradient.any()
