"""The classical prior: force constants computed by hand, its minimum, rigid motions, straight molecules."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from scipy.spatial.transform import Rotation

from jphys.fragments import bridges
from jphys.prior import (
    Prior,
    Terms,
    bond_angles,
    bonded_pairs,
    make_prior,
    planar_atoms,
    prior_energy,
    term_energies,
    torsion_vectors,
)
from jphys.prior.force_constants import contact
from jphys.prior.rotors import bond_orders, rotor_energies

# Hartree, Bohr, the scale of Hartree-Fock force constants, mdyn/Å and kcal/mol in eV, typed here once more.
EH, A0, SCALE, MDYNE, KCAL = 27.211386, 0.529177, 0.8929**2, 6.241509, 0.0433641
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


def stretch_of_diatomic(name, constant):
    """At the bottom a Morse oscillator is a spring: both atoms feel k, so that the eigenvalue is 2k."""
    atoms = molecule(name)
    values = curvatures(name)
    k = constant(np.linalg.norm(atoms.positions[0] - atoms.positions[1]))
    assert values[-1] == pytest.approx(2 * k, rel=1e-4)
    np.testing.assert_allclose(values[:-1], 0, atol=1e-5)


@pytest.mark.parametrize(
    "name, reference, k", [("HCl", 1.28, 4.3), ("CO", 1.393, 5.40), ("N2", 1.283, 6.0), ("Cl2", 1.99, 3.5)]
)
def test_stretch_by_mmff94s_rule(x64, name, reference, k):
    """k = k_ref·(r_ref/r)⁶ mdyn/Å (Halgren 1996 V, eq. 19), of hydrogen divided by 0.9614²."""
    k = k / 0.9614**2 if name == "HCl" else k
    stretch_of_diatomic(name, lambda r: MDYNE * k * (reference / r) ** 6)


@pytest.mark.parametrize("name, softness", [("H2", -0.244), ("F2", 1.085)])
def test_stretch_of_pairs_that_mmff94_does_not_list(x64, name, softness):
    """k = A/(r − B)³·0.8929² with A = 1.734 Eh·a0 and B by the rows of the periodic table (Schlegel 1984)."""
    stretch_of_diatomic(name, lambda r: 1.734 / (r / A0 - softness) ** 3 * EH / A0**2 * SCALE)


def test_hydrogen_in_numbers(x64):
    """H2 at 0.7401 Å, by hand: 1.734/(1.3986 + 0.244)³ = 0.3912 Eh/a0² = 38.01 eV/Å², scaled 30.31."""
    prior = make_prior([1, 1], np.array([[0, 0, 0], [0.7401, 0, 0]]))
    np.testing.assert_allclose(prior.bonds.stiffness, [[30.31, 2.0]], rtol=1e-3)


def test_morse_far_from_the_minimum(x64):
    """½k/a²(1 − exp(−a(r − r⁰)))²: at r → ∞ the 104.3 kcal/mol of methanol's C-O, times k over its k."""
    prior, stable = setting("CO")
    k, a = prior.bonds.stiffness[0].tolist()
    single = MDYNE * 5.40 * (1.393 / 1.421) ** 6
    assert a == pytest.approx(np.sqrt(single / (2 * 104.3 * KCAL)), rel=1e-5)
    for stretch, depth in ((-0.3, 0.5 * k / a**2), (0.2, 0.5 * k / a**2), (50.0, 104.3 * KCAL * k / single)):
        direction = np.array(stable[1] - stable[0]) / np.linalg.norm(stable[1] - stable[0])
        moved = stable.at[1].add(stretch * direction)
        expected = depth * (1 - np.exp(-a * stretch)) ** 2
        assert float(prior_energy(moved, stable, prior)) == pytest.approx(expected, rel=1e-5)


def bend_rule(ends, centre, lengths, theta):
    """β·Z·C·Z/((r₁ + r₂)θ²)·exp(−2D), D = ((r₁ − r₂)/(r₁ + r₂))², β = 1.75 mdyn·Å (Halgren 1996 V)."""
    total, apart = sum(lengths), lengths[0] - lengths[1]
    return MDYNE * 1.75 * ends[0] * centre * ends[1] / (total * theta**2) * np.exp(-2 * (apart / total) ** 2)


def test_bend_of_water(x64):
    """½k(θ − θ⁰)² with the rule's k, Z_H = 1.395, C_O = 1.337."""
    prior, stable = setting("H2O")
    theta = float(bond_angles(stable, prior.angles)[0])
    first, second = np.array(stable[1] - stable[0]), np.array(stable[2] - stable[0])
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    expected = np.arccos(first @ second / lengths[0] / lengths[1])
    assert theta == pytest.approx(expected)
    axis = np.cross(first, second) / np.linalg.norm(np.cross(first, second))
    opened = stable[0] + Rotation.from_rotvec(0.1 * axis).apply(second)
    energy = float(prior_energy(stable.at[2].set(opened), stable, prior))
    k = bend_rule((1.395, 1.395), 1.337, lengths, theta)
    assert k == pytest.approx(0.658 * MDYNE, rel=0.1)  # MMFF94's tabulated constant of water
    assert energy == pytest.approx(0.5 * k * 0.1**2, rel=1e-5)


def test_small_rings_bend_softly():
    """β is 0.05 of its value in a ring of three atoms and 0.85 in one of four."""
    prior, stable = setting("C3H6_D3h")
    near = np.asarray(stable)
    a, b, c = np.flatnonzero(molecule("C3H6_D3h").numbers == 6)
    lengths = np.linalg.norm(near[a] - near[b]), np.linalg.norm(near[c] - near[b])
    inside = np.isin(prior.angles.atoms, [a, b, c]).all(axis=1)
    assert inside.sum() == 3
    expected = 0.05 * bend_rule((2.494, 2.494), 1.016, lengths, np.pi / 3)
    np.testing.assert_allclose(prior.angles.stiffness[inside], expected, rtol=1e-3)


def contact_energy(moved, stable, numbers):
    """Σ A·(exp(−y) − 1 + y·exp(−y²)), y = 12(r − r⁰)/3.24 Å, of ethane's 9 pairs of hydrogens on two carbons.

    A is MM3's repulsion: 1.84·10⁵ε·exp(−12r⁰/3.24), ε = 0.02 kcal/mol.
    """
    total, count = 0.0, 0
    for i, j in itertools.combinations(np.flatnonzero(numbers == 1), 2):
        still, now = np.linalg.norm(stable[i] - stable[j]), np.linalg.norm(moved[i] - moved[j])
        if still > 2.0:  # 1.8 Å on one carbon, 2.5 and 3.1 Å across
            count += 1
            y = 12 / 3.24 * (now - still)
            strength = 1.84e5 * 0.02 * KCAL * np.exp(-12 * still / 3.24)
            total += strength * (np.exp(-y) - 1 + y * np.exp(-(y**2)))
    assert count == 9
    return total


def test_contact_of_two_hydrogens_in_numbers():
    """2.5 Å, by hand: 1.84e5·0.02·0.043364 = 159.6 eV, ·exp(−9.2593) = 0.01520; decay 12/3.24 = 3.704 Å⁻¹."""
    found = contact(np.array([1, 1]), np.array([[0, 0, 0], [2.5, 0, 0]]), np.array([[0, 1]]))
    np.testing.assert_allclose(found, [[0.01520, 3.704]], rtol=2e-3)


def turned(stable, numbers, start, angle):
    """The atoms at the second carbon turned about the bond of the two, and that side of the molecule."""
    first, second = np.flatnonzero(numbers == 6)[:2]
    bond = np.asarray(stable[second] - stable[first])
    near = np.linalg.norm(np.asarray(stable) - np.asarray(stable[second]), axis=1) < start
    moved, centre = np.array(stable), np.asarray(stable[second])
    rotation = Rotation.from_rotvec(angle * bond / np.linalg.norm(bond))
    moved[near] = centre + rotation.apply(moved[near] - centre)
    return jnp.asarray(moved), near


def test_ethane_has_nine_torsions_and_three_equal_minima(x64):
    """Nine terms ½V₃(1 + cos 3φ), V₃ = 2.12/9 kcal/mol; a turn by 120° changes nothing, not even contacts."""
    prior, stable = setting("C2H6")
    numbers = molecule("C2H6").numbers
    assert prior.rotors.atoms.shape == (9, 4) and prior.bonds.atoms.shape == (7, 2)
    assert prior.angles.atoms.shape == (12, 3) and not len(prior.wags.atoms)
    for turn in (0.0, np.pi / 3, 2 * np.pi / 3, np.pi, 4 * np.pi / 3):
        moved, _ = turned(stable, numbers, 1.2, turn)
        energies = [float(jnp.sum(e)) for e in term_energies(moved, stable, prior)]
        np.testing.assert_allclose(energies[:3], 0, atol=1e-9)
        assert energies[4] == pytest.approx(contact_energy(moved, np.asarray(stable), numbers), abs=1e-6)
        expected = 2.12 * KCAL * np.sin(1.5 * turn) ** 2
        assert energies[3] == pytest.approx(expected, rel=1e-3, abs=2e-3)
        if round(3 * turn / (2 * np.pi), 6).is_integer():
            assert sum(energies) == pytest.approx(0, abs=2e-3)


def test_torsions_near_the_minimum_by_hand(x64):
    """One torsion of V₂ = 0.3 and V₃ = 0.1 eV at φ⁰ = 50°, against the module's equation in angles."""

    def chain(phi):
        end = [np.cos(phi), np.sin(phi), 1.5]
        return np.array([[1.0, 0, 0], [0, 0, 0], [0, 0, 1.5], end])

    two, three, floor, start = 0.3, 0.1, 0.2, np.deg2rad(50)
    terms = Terms(np.array([[0, 1, 2, 3]]), np.array([[two, three, floor]]), np.ones(1, bool))

    def rise(phi):
        return 0.5 * two * (1 - np.cos(2 * phi)) + 0.5 * three * (1 + np.cos(3 * phi))

    slope = two * np.sin(2 * start) - 1.5 * three * np.sin(3 * start)
    curvature = 2 * two * np.cos(2 * start) - 4.5 * three * np.cos(3 * start)
    for degrees in (-170.0, -50.0, 20.0, 49.0, 50.0, 80.0, 140.0):
        phi = np.deg2rad(degrees)
        delta = phi - start
        near = ((1 + np.cos(delta)) / 2) ** 2
        added = near * (-slope * np.sin(delta) + max(floor - curvature, 0) * (1 - np.cos(delta)))
        found = rotor_energies(jnp.asarray(chain(phi)), jnp.asarray(chain(start)), terms)[0]
        assert float(found) == pytest.approx(rise(phi) - rise(start) + added, abs=1e-9)


def barrier(name, middle, angle):
    """Energy (kcal/mol) of all terms when the far side of a bond of a molecule is turned by `angle`."""
    prior, stable = setting(name)
    adjacent = bonded_pairs(molecule(name).numbers, np.asarray(stable))
    (side,) = (side for i, j, side in bridges(adjacent) if {i, j} == set(middle))
    i, j = middle if side[middle[1]] else middle[::-1]
    axis = np.asarray(stable[j] - stable[i]) / np.linalg.norm(np.asarray(stable[j] - stable[i]))
    moved, centre = np.array(stable), np.asarray(stable[j])
    moved[side] = centre + Rotation.from_rotvec(angle * axis).apply(moved[side] - centre)
    return float(prior_energy(jnp.asarray(moved), stable, prior)) / KCAL


@pytest.mark.parametrize(
    "name, middle, degrees, published",
    [
        ("C2H6", (0, 1), 60, 2.9),  # Weiss & Leroi 1968
        ("CH3OH", (0, 1), 60, 1.07),  # Lees & Baker 1968
        ("CH3SiH3", (0, 1), 60, 1.70),  # Kilb & Pierce 1957
        ("CH3CH2OH", (0, 1), 60, 3.3),  # methyl; Kakar & Quade 1980
        ("C2H4", (0, 1), 90, 65.0),  # Douglas, Rabinovitch & Looney 1955
        ("CH3CONH2", (1, 2), 90, 17.0),  # 16 to 18 of simple amides, Drakenberg & Forsén 1970
        ("butadiene", (1, 2), 90, 6.0),  # Engeln, Consalvo & Reuss 1992
    ],
)
def test_barriers_are_near_published_ones(x64, name, middle, degrees, published):
    """Rigid turns, so the published ones, with everything relaxed, are met within a factor of 1.7."""
    assert 1 / 1.7 < barrier(name, middle, np.deg2rad(degrees)) / published < 1.7


def test_bond_orders_by_length():
    """UFF's form of Pauling's rule, by hand for benzene: exp((1.458 − 1.396)/(0.1332·1.458)) = 1.38."""
    for name, middle, order in (("C2H4", (0, 1), 1.9), ("C6H6", (0, 1), 1.38), ("C2H6", (0, 1), 0.7)):
        atoms = molecule(name)
        found = bond_orders(atoms.numbers, atoms.positions, np.array([middle]))
        np.testing.assert_allclose(found, order, atol=0.03)


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
    for positions in (stable, bent, stable + 1e-4, 0.0 * stable):  # the last: all atoms on one another
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
    k = bend_rule((3.045, 3.045), 1.016, (length, length), np.pi)
    np.testing.assert_allclose(curvatures("CO2")[5:7], 6 * k / length**2, rtol=1e-3)


def test_padding_terms_are_silent(x64):
    """Masked terms with atoms 0 0 (0 0) change neither energy nor gradient."""
    prior, stable = setting("CH3CN")
    moved = stable * 1.05

    def padded(terms):
        extra = np.zeros((3, terms.atoms.shape[1]), np.int32)
        return Terms(
            np.concatenate([terms.atoms, extra]),
            np.concatenate(
                [terms.stiffness, np.full_like(terms.stiffness, 7.0, shape=(3, *terms.stiffness.shape[1:]))]
            ),
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
