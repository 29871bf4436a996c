"""Forces, stress and Hessian of a Lennard-Jones energy against finite differences and ASE."""

import ase.build
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.calculators.lj import LennardJones

import jphys
from jphys import derivatives, ops
from jphys import graph as graphs

CUTOFF = 5.0
SIGMA, EPSILON = 2.3, 0.4


def lennard_jones(params, graph):
    """Σ_{i<j} 4ε[(σ/d)¹² − (σ/d)⁶] − its value at the cutoff: the form of ASE's calculator."""
    sigma, epsilon = params["sigma"], params["epsilon"]
    distances = ops.edge_distances(graph)
    inside = graph.edges.mask & (distances < CUTOFF)
    sixth = (sigma / jnp.where(inside, distances, CUTOFF)) ** 6
    shift = (sigma / CUTOFF) ** 12 - (sigma / CUTOFF) ** 6
    pair = jnp.where(inside, 2.0 * epsilon * (sixth**2 - sixth - shift), 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(pair, graph), graph)


PARAMS = {"sigma": SIGMA, "epsilon": EPSILON}
# Compiled as users do it: one operation at a time compiles a program for each, a thousand in this file.
energy_of = jax.jit(lennard_jones)
energy_and_forces = jax.jit(derivatives.energy_and_forces(lennard_jones))
energy_forces_stress = jax.jit(derivatives.energy_forces_stress(lennard_jones))
hessian = jax.jit(derivatives.hessian(lennard_jones))


def with_ase(atoms):
    atoms = atoms.copy()
    atoms.calc = LennardJones(sigma=SIGMA, epsilon=EPSILON, rc=CUTOFF, smooth=False)
    return atoms


@pytest.fixture
def molecule(rng):
    positions = np.array([[0, 0, 0], [2.5, 0, 0], [0, 2.4, 0.3], [1.2, 1.1, 2.2], [-1.0, -1.3, 2.0]])
    return Atoms("OCNHF", positions + rng.normal(scale=0.1, size=(5, 3)))


@pytest.fixture
def crystal(rng):
    """Rattled and sheared fcc, one atom moved out of its cell; the cutoff exceeds the cell."""
    atoms = ase.build.bulk("Cu", "fcc", a=3.9, cubic=True)
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + rng.normal(scale=0.03, size=(3, 3))), scale_atoms=True)
    atoms.rattle(0.1, seed=1)
    atoms.positions[0] -= atoms.cell.array[1]
    return atoms


def test_energy_forces_stress_are_those_of_ase(x64, molecule, crystal):
    """Both in one padded batch: the molecule's stress is 0, and padding gets nothing."""
    batch = graphs.batch([graphs.from_ase(molecule), graphs.from_ase(crystal, cutoff=CUTOFF)])
    batch = graphs.pad(batch, 12, len(batch.senders) + 5, 4)
    energy, forces, stress = energy_forces_stress(PARAMS, batch)
    theirs = [with_ase(molecule), with_ase(crystal)]
    expected = [atoms.get_potential_energy() for atoms in theirs]
    np.testing.assert_allclose(energy, [*expected, 0, 0], rtol=1e-10, atol=1e-12)
    expected = np.concatenate([atoms.get_forces() for atoms in theirs] + [np.zeros((3, 3))])
    np.testing.assert_allclose(forces, expected, rtol=1e-9, atol=1e-11)
    np.testing.assert_allclose(stress[1], theirs[1].get_stress(voigt=False), rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(stress[np.array([0, 2, 3])], 0)


def test_energy_and_forces_agree_with_finite_differences(x64, molecule):
    graph = graphs.from_ase(molecule)
    energy, forces = energy_and_forces(PARAMS, graph)
    assert energy.shape == (1,)
    step = 1e-5
    for atom in range(5):
        for axis in range(3):
            ends = []
            for sign in (1, -1):
                positions = molecule.positions.copy()
                positions[atom, axis] += sign * step
                ends.append(energy_of(PARAMS, graphs.make_graph(molecule.numbers, positions))[0])
            expected = float(-(ends[0] - ends[1]) / (2 * step))
            assert float(forces[atom, axis]) == pytest.approx(expected, abs=1e-6)


def test_stress_agrees_with_finite_strain(x64, crystal):
    """σ_ab = (E(ε_ab) − E(−ε_ab)) / (2 ε V), edges searched anew in the strained cell."""
    graph = graphs.from_ase(crystal, cutoff=CUTOFF)
    _, _, stress = energy_forces_stress(PARAMS, graph)
    step = 1e-6
    for a in range(3):
        for b in range(a, 3):
            ends = []
            for sign in (1, -1):
                strain = np.zeros((3, 3))
                strain[a, b] += sign * step / 2
                strain[b, a] += sign * step / 2
                strained = crystal.copy()
                strained.set_cell(crystal.cell.array @ (np.eye(3) + strain), scale_atoms=True)
                ends.append(energy_of(PARAMS, graphs.from_ase(strained, cutoff=CUTOFF))[0])
            expected = float((ends[0] - ends[1]) / (2 * step * crystal.get_volume()))
            assert float(stress[0, a, b]) == pytest.approx(expected, abs=1e-7)
    np.testing.assert_allclose(stress[0], stress[0].T, atol=1e-14)


def test_stretched_crystal_pulls(x64):
    """The sign of ASE: positive diagonal stress when stretched, negative when compressed."""
    for lattice, sign in ((4.3, 1), (3.2, -1)):
        graph = graphs.from_ase(ase.build.bulk("Cu", "fcc", a=lattice), cutoff=CUTOFF)
        _, _, stress = energy_forces_stress(PARAMS, graph)
        assert np.all(sign * np.diag(stress[0]) > 1e-3)


def test_stress_is_symmetric_for_any_energy(x64, crystal):
    """E = Σ_edges v_x v_y² is not invariant under rotation: its gradient over strain has a skew part."""

    def lopsided(params, graph):
        vectors = ops.edge_vectors(graph)
        per_edge = vectors[:, 0] * vectors[:, 1] ** 2 + vectors[:, 0] ** 2
        return ops.sum_over_graphs(ops.sum_at_receivers(per_edge, graph), graph)

    graph = graphs.from_ase(crystal, cutoff=CUTOFF)
    stress = jax.jit(derivatives.energy_forces_stress(lopsided))({}, graph)[2][0]
    np.testing.assert_allclose(stress, stress.T, atol=1e-12)
    assert abs(stress[0, 1]) > 1e-3


def test_hessian_of_the_tetrahedron(x64):
    """At the minimum (edges 2^{1/6}σ) every pair is a spring of 57.146 ε/σ² = 72 ε/(2^{1/3}σ²).

    Spectrum of a tetrahedron of equal springs k with unit masses: 6 zeros, k twice, 2k thrice, 4k once.
    """
    edge = 2 ** (1 / 6) * SIGMA
    corners = edge / 8**0.5 * np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    graph = graphs.make_graph([18] * 4, corners)
    matrix = np.asarray(hessian(PARAMS, graph)).reshape(12, 12)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-10)
    spring = 72 * EPSILON / (2 ** (1 / 3) * SIGMA**2)
    expected = spring * np.array([0] * 6 + [1] * 2 + [2] * 3 + [4])
    np.testing.assert_allclose(np.linalg.eigvalsh(matrix), expected, atol=1e-9)


def test_hessian_agrees_with_finite_differences_of_forces(x64, molecule):
    graph = graphs.from_ase(molecule)
    matrix = np.asarray(hessian(PARAMS, graph))
    step = 1e-5
    for atom, axis in ((0, 0), (3, 2)):
        ends = []
        for sign in (1, -1):
            moved = with_ase(molecule)
            moved.positions[atom, axis] += sign * step
            ends.append(moved.get_forces())
        np.testing.assert_allclose(matrix[atom, axis], -(ends[0] - ends[1]) / (2 * step), atol=1e-6)


def test_no_gradient_across_graphs(x64, molecule):
    """Moving one molecule of a batch leaves the energy and the forces of the other alone."""
    graph = graphs.from_ase(molecule)
    batch = graphs.batch([graph, graph])

    def first_energy(positions):
        return lennard_jones(PARAMS, graphs.with_positions(batch, positions))[0]

    gradient = np.asarray(jax.jit(jax.grad(first_energy))(jnp.asarray(batch.nodes.positions)))
    assert np.all(gradient[5:] == 0) and np.all(np.abs(gradient[:5]).sum(axis=1) > 0)


def test_gradient_reaches_the_parameters(x64, molecule):
    """∂E/∂ε = E/ε, because the energy is linear in ε."""
    graph = graphs.from_ase(molecule)
    gradient = jax.jit(jax.grad(lambda params: lennard_jones(params, graph)[0]))(PARAMS)
    assert float(gradient["epsilon"]) == pytest.approx(float(energy_of(PARAMS, graph)[0]) / EPSILON)


def test_a_potential_counts_as_its_energy_function():
    class Record:
        energy = staticmethod(lennard_jones)

    assert derivatives.energy_function(Record) is lennard_jones
    assert derivatives.energy_function(lennard_jones) is lennard_jones


def test_hessians_of_many_are_those_of_each(x64):
    """Molecules of one to eight atoms and a small crystal, in batches."""
    names = ("CH4", "H2O", "C2H6", "N2", "NH3")
    asked = [graphs.from_ase(ase.build.molecule(name)) for name in names]
    asked = [graphs.make_graph([18] * len(g.nodes.species), 2.5 * g.nodes.positions) for g in asked]
    asked += [graphs.make_graph([18], np.zeros((1, 3)))]
    asked += [graphs.from_ase(ase.build.bulk("Ar", "fcc", a=5.3, cubic=True), cutoff=CUTOFF)]
    for chunk in (16, 3):
        found = jphys.hessians(lennard_jones, PARAMS, asked, chunk=chunk)
        for graph, matrix in zip(asked, found, strict=True):
            alone = hessian(PARAMS, graph)
            np.testing.assert_allclose(matrix, alone, atol=1e-10)
    assert jphys.hessians(lennard_jones, PARAMS, []) == []
