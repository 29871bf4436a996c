"""Frequencies of oscillators whose answer is known."""

import jax.numpy as jnp
import numpy as np
import pytest

from jphys import ops
from jphys.graph import make_graph
from jphys.harmonic import frequencies
from jphys.reliability.vibrations import compare_frequencies, numerical_hessians

LIGHT = 2.99792458e10  # cm/s
K = 40.0  # eV/Å²


def spring(params, graph):
    """½·K·(d − 1.1)² per pair."""
    values = jnp.where(graph.edges.mask, 0.25 * K * (ops.edge_distances(graph) - 1.1) ** 2, 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(values, graph), graph)


def test_a_diatomic_swings_with_the_root_of_k_over_the_reduced_mass():
    graph = make_graph([6, 8], [[0, 0, 0], [0, 0.66, 0.88]])
    (hessian,) = numerical_hessians(spring, None, [graph])
    (found,) = frequencies(graph.nodes.species, graph.nodes.positions, hessian)
    mass = 12.011 * 15.999 / (12.011 + 15.999) * 1.66053907e-27
    assert found == pytest.approx(np.sqrt(K * 16.02176634 / mass) / (2 * np.pi * LIGHT), rel=1e-3)


def test_a_triangle_has_three_modes_and_the_breathing_one_is_known():
    corners = 1.1 / 3**0.5 * np.array([[np.cos(a), np.sin(a), 0] for a in 2 * np.pi * np.arange(3) / 3])
    graph = make_graph([6, 6, 6], corners)
    (hessian,) = numerical_hessians(spring, None, [graph])
    found = frequencies([6] * 3, corners, hessian)
    unit = np.sqrt(K * 16.02176634 / (12.011 * 1.66053907e-27)) / (2 * np.pi * LIGHT)
    np.testing.assert_allclose(found, unit * np.sqrt([1.5, 1.5, 3.0]), rtol=2e-3)


def test_hidden_motions_and_saddles():
    """Three atoms in line have 4 modes; a surface that falls sideways has imaginary ones."""
    line = np.array([[0.0, 0, 0], [1.0, 0, 0], [2.0, 0, 0]])
    assert len(frequencies([1, 1, 1], line, np.eye(9))) == 4
    assert len(frequencies([1, 1, 1], [[0, 0, 0], [1, 0, 0], [2, 0.5, 0]], np.eye(9))) == 3
    assert (frequencies([1, 1, 1], line, -np.eye(9)) < -500).all()
    with pytest.raises(ValueError, match="step must be positive, got 0"):
        numerical_hessians(spring, None, [], step=0.0)


def test_frequencies_are_compared_band_by_band():
    """A torsion below 100 cm⁻¹ counts in its band and as imaginary, not as the softest mode."""
    true = np.array([80.0, 200.0, 250.0, 1000.0, 3000.0])
    found = compare_frequencies([-60.0, 100.0, 250.0, 900.0, 3000.0], true)
    assert found["n"] == 5 and found["n_imaginary"] == 1 and found["lowest_ratio"] == 0.5
    assert found["mae"] == pytest.approx((140 + 100 + 100) / 5) and found["bias"] == pytest.approx(-68.0)
    rows = {row["from"]: (row["n"], row["median_ratio"], row["lowest_ratio"]) for row in found["bands"]}
    assert rows[0.0] == (3, 0.5, -0.75) and rows[700.0] == (1, 0.9, 0.9) and rows[300.0] == (0, None, None)
    nothing = compare_frequencies([], [])
    assert nothing["n"] == 0 and nothing["mae"] is None and nothing["lowest_ratio"] is None
