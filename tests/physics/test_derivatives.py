"""Forces, stress and curvature of the potentials against finite differences and rigid motions."""

import jax
import numpy as np
import pytest

from jphys.derivatives import energy_forces_stress, hessian
from jphys.graph import make_graph

pytestmark = pytest.mark.usefixtures("x64")


def distance_terms(positions):
    """Gradients (p, 3n) and Hessians (p, 3n, 3n) of all pair distances, by their formulas."""
    n = len(positions)
    gradients, curvatures = [], []
    for i in range(n):
        for j in range(i + 1, n):
            vector = positions[j] - positions[i]
            length = np.linalg.norm(vector)
            u = vector / length
            end = np.zeros((n, 1))
            end[i], end[j] = -1, 1
            gradients.append((end * u).ravel())
            curvatures.append(np.kron(end @ end.T, (np.eye(3) - np.outer(u, u)) / length))
    return np.array(gradients), np.array(curvatures)


def at_rest(forces, matrix, positions):
    """Hessian of E + Σ c_ij d_ij with c chosen so that every force vanishes; and what force is left.

    An invariant energy has forces along the pair distances, so that such c exist, and an invariant
    energy at rest has one zero mode per rigid motion, wherever its own minimum is.
    """
    gradients, curvatures = distance_terms(positions)
    weights, *_ = np.linalg.lstsq(gradients.T, forces.ravel(), rcond=None)
    left = forces.ravel() - gradients.T @ weights
    return matrix + np.einsum("p,pab->ab", weights, curvatures), left


def test_forces_are_finite_differences(case, formamide):
    species, positions, bonds = formamide
    step = 2e-4  # the surface is C¹ where continuations join: a small step seldom meets one

    def energy(move):
        return case.padded(make_graph(species, positions + move, bonds=bonds))[0][0]

    def slope(move):
        """Five-point difference, error ~ step⁴."""
        inner, outer = energy(move) - energy(-move), energy(2 * move) - energy(-2 * move)
        return (8 * inner - outer) / (12 * step)

    expected = -np.array([slope(move) for move in step * np.eye(18).reshape(18, 6, 3)]).reshape(6, 3)
    _, forces = case.padded(make_graph(species, positions, bonds=bonds))
    assert np.abs(forces).max() > 0.1
    np.testing.assert_allclose(forces, expected, rtol=0, atol=1e-7 * max(1, np.abs(forces).max()))


def test_hessian_is_symmetric_with_one_zero_mode_per_rigid_motion(case, formamide):
    """Six for a bent molecule, five for a linear one; the other curvatures are far from zero."""
    bent = formamide[0], formamide[1], 6
    linear = np.array([6, 8, 8, 1]), np.array([[0, 0, 0], [1.15, 0, 0], [-1.2, 0, 0], [-2.2, 0, 0.0]]), 5
    for species, positions, zeros in (bent, linear):
        # No bond knowledge and one size for both: one compilation of the Hessian.
        extra = np.array([*species, *[1] * (6 - len(species))])
        places = np.concatenate([positions, 100.0 * np.arange(1, 7 - len(species))[:, None] * np.ones(3)])
        n = 3 * len(species)
        graph = make_graph(extra, places)
        matrix = np.asarray(compiled_hessian(case)(graph)).reshape(18, 18)[:n, :n]
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-9 * np.abs(matrix).max())
        _, forces = case.padded(graph)
        whole, left = at_rest(forces[: len(species)], matrix, positions)
        np.testing.assert_allclose(left, 0, atol=1e-9)
        sizes = np.sort(np.abs(np.linalg.eigvalsh(whole)))
        assert sizes[zeros - 1] < 1e-8 and sizes[zeros] > 1e-4


HESSIANS = {}


def compiled_hessian(case):
    if case.name not in HESSIANS:
        function = jax.jit(hessian(case.potential))
        HESSIANS[case.name] = lambda graph: function(case.params, graph)
    return HESSIANS[case.name]


def test_stress_is_the_finite_difference_over_strain(additive_case, crystal_atoms):
    """σ_ab = (E(ε_ab) − E(−ε_ab)) / (2 ε V), edges searched anew in the strained cell."""
    case = additive_case
    species, positions, cell = crystal_atoms
    cutoff = case.potential.cutoff
    graph = make_graph(species, positions, cell=cell, cutoff=cutoff)
    _, forces, stress = jax.jit(energy_forces_stress(case.potential))(case.params, graph)
    stress = np.asarray(stress)[0]
    step = 1e-5
    for a, b in ((0, 0), (1, 2)):
        ends = []
        for sign in (1, -1):
            strain = np.eye(3)
            strain[a, b] += sign * step / 2
            strain[b, a] += sign * step / 2
            strained = make_graph(species, positions @ strain, cell=cell @ strain, cutoff=cutoff)
            assert len(strained.senders) == len(graph.senders)
            ends.append(case.padded(strained)[0][0])
        expected = (ends[0] - ends[1]) / (2 * step * abs(np.linalg.det(cell)))
        assert stress[a, b] == pytest.approx(expected, rel=1e-6, abs=1e-8)
    np.testing.assert_allclose(np.sum(np.asarray(forces), axis=0), 0, atol=1e-10)
