"""What is out of reach does not act, and atoms come into reach without a jump."""

import numpy as np
import pytest

from jphys.graph import make_graph

pytestmark = pytest.mark.usefixtures("x64")


def dimer(case, a, b, distance):
    energy, forces = case.padded(make_graph([a, b], [[0.0, 0, 0], [distance, 0, 0]]))
    return energy[0], forces[1, 0]


def test_far_fragments_add_up(case, formamide, water):
    """Without the token exactly; with it they do not, which is the price its docs name."""
    far = water[1] + np.array([40.0, 0, 0])
    bonds = [*formamide[2], *((i + 6, j + 6, kind) for i, j, kind in water[2])]
    together = make_graph(
        np.concatenate([formamide[0], water[0]]),
        np.concatenate([formamide[1], far]),
        cutoff=case.potential.cutoff,
        bonds=bonds,
    )
    energy, forces = case.padded(together)
    parts, alone = case.padded(*(make_graph(s, p, bonds=b) for s, p, b in (formamide, water)))
    if case.additive:
        np.testing.assert_allclose(energy[0], parts.sum(), rtol=0, atol=1e-10)
        np.testing.assert_allclose(forces, alone, rtol=0, atol=1e-10)
    else:
        assert abs(energy[0] - parts.sum()) > 1e-3


@pytest.mark.parametrize("a, b", [(1, 1), (6, 8)])
def test_one_neighbour_enters_smoothly(case, a, b):
    """Energy ~ (τ − d)² and force ~ τ − d just inside the cutoff τ, and both constant beyond it."""
    tau = case.potential.cutoff
    beyond, no_force = dimer(case, a, b, tau + 1e-9)
    assert no_force == 0 and dimer(case, a, b, tau + 1.0) == (beyond, 0)
    inside = [dimer(case, a, b, tau - gap) for gap in (1e-2, 1e-3, 1e-4)]
    rises, forces = (np.abs(column) for column in np.transpose([(e - beyond, f) for e, f in inside]))
    assert rises[0] > 1e-10  # there is something to enter
    assert np.all(rises < 1.3 * rises[0] * np.array([1, 1e-2, 1e-4]) + 1e-13)
    assert np.all(forces < 1.3 * forces[0] * np.array([1, 1e-1, 1e-2]) + 1e-13)


def test_a_cut_edge_list_is_as_good_as_all_pairs(additive_case, formamide):
    """Edges longer than the cutoff change nothing."""
    species, positions, _ = formamide
    stretched = 1.6 * positions
    cut = make_graph(species, stretched, cutoff=additive_case.potential.cutoff)
    whole = make_graph(species, stretched)
    energy, forces = additive_case.padded(cut)
    all_pairs, same = additive_case.padded(whole)
    np.testing.assert_allclose(all_pairs, energy, rtol=0, atol=1e-12)
    np.testing.assert_allclose(same, forces, rtol=0, atol=1e-12)
