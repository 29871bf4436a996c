"""Curvatures of surfaces that are multiples of each other, and of a saddle."""

import itertools

import numpy as np
import pytest

from jphys.alignment import internal_motions
from jphys.graph import make_graph
from jphys.reliability.curvature import BANDS, compare_curvatures


@pytest.fixture
def bent(rng):
    """Four atoms, and a reference with the curvatures 0.1, 0.5, 2, 5, 20 and 100 eV/Å²: one per band."""
    graph = make_graph([6, 1, 8, 1], rng.normal(size=(4, 3)))
    inside = internal_motions(graph.nodes.positions)
    turned = inside @ np.linalg.qr(rng.normal(size=(6, 6)))[0]
    return graph, turned, np.array([0.1, 0.5, 2.0, 5.0, 20.0, 100.0])


def test_each_band_has_its_ratio_whatever_rigid_motions_cost(bent):
    graph, modes, stiffness = bent
    factors = np.array([0.2, 0.4, 0.6, 0.8, 1.0, 1.2])
    rigid = np.eye(12) - modes @ modes.T
    ours = (modes * factors * stiffness) @ modes.T + 7.0 * rigid
    found = compare_curvatures([ours], [(modes * stiffness) @ modes.T], [graph])
    assert [(row["from"], row["to"]) for row in found["bands"]] == list(itertools.pairwise(BANDS))
    np.testing.assert_allclose([row["median_ratio"] for row in found["bands"]], factors, rtol=1e-5)
    assert [row["n"] for row in found["bands"]] == [1] * 6
    assert (found["n"], found["n_nonfinite"], found["negative"], found["negative_reference"]) == (1, 0, 0, 0)


def test_saddles_and_missing_answers_are_counted(bent):
    graph, modes, stiffness = bent
    reference = (modes * stiffness) @ modes.T
    saddle = (modes * np.array([-1.0, -0.04, 1, 1, 1, 1])) @ modes.T
    found = compare_curvatures([saddle, reference * np.nan], [reference, reference], [graph, graph])
    assert (found["n"], found["n_nonfinite"], found["negative"], found["negative_reference"]) == (1, 1, 1, 0)
    assert found["bands"][0]["median_ratio"] == pytest.approx(-10, rel=1e-4)
    nothing = compare_curvatures([], [], [])
    assert nothing["n"] == 0 and all(row["median_ratio"] is None for row in nothing["bands"])
