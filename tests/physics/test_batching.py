"""Molecules of one batch, and its padding, do not know of each other."""

import numpy as np
import pytest

from jphys.graph import batch, make_graph, pad, with_positions

pytestmark = pytest.mark.usefixtures("x64")
BUDGET = (16, 240, 4)


@pytest.fixture
def both(formamide, water):
    return [make_graph(species, positions, bonds=bonds) for species, positions, bonds in (formamide, water)]


def test_batched_is_single(case, both):
    energy, forces = case.padded(*both)
    alone = [case.padded(graph) for graph in both]
    np.testing.assert_allclose(energy, np.concatenate([e for e, _ in alone]), rtol=0, atol=1e-10)
    np.testing.assert_allclose(forces, np.concatenate([f for _, f in alone]), rtol=0, atol=1e-10)
    assert abs(energy[0] - energy[1]) > 1e-2


def test_padding_changes_nothing_and_is_zero(case, both):
    """Against the same molecules without any padding; atom energies sum to the energy."""
    whole = batch(both)
    energy, forces, atoms = case.compute(whole)
    there, padded_forces, padded_atoms = case.compute(pad(whole, *BUDGET))
    np.testing.assert_allclose(there[:2], energy, rtol=0, atol=1e-10)
    np.testing.assert_allclose(padded_forces[:9], forces, rtol=0, atol=1e-10)
    np.testing.assert_allclose(padded_atoms[:9], atoms, rtol=0, atol=1e-10)
    np.testing.assert_allclose([atoms[:6].sum(), atoms[6:].sum()], energy, rtol=0, atol=1e-10)
    assert not there[2:].any() and not padded_forces[9:].any() and not padded_atoms[9:].any()


def test_what_padding_holds_does_not_matter(case, both):
    """Atoms at other places, of another element, bonded: masked all the same."""
    padded = pad(batch(both), *BUDGET)
    dirty = padded._replace(
        nodes=padded.nodes._replace(
            positions=np.where(padded.nodes.mask[:, None], padded.nodes.positions, 1.7),
            species=np.where(padded.nodes.mask, padded.nodes.species, 1),
        ),
        edges=padded.edges._replace(bond_type=np.where(padded.edges.mask, padded.edges.bond_type, 2)),
    )
    for ours, theirs in zip(case.compute(dirty), case.compute(padded)):
        np.testing.assert_array_equal(ours, theirs)


def test_nothing_crosses_between_graphs(case, both, rng):
    """The second molecule moves; energy, forces and atom energies of the first stay to the last bit."""
    padded = pad(batch(both), *BUDGET)
    positions = np.array(padded.nodes.positions)
    positions[6:9] += rng.normal(scale=0.3, size=(3, 3))
    before, after = case.compute(padded), case.compute(with_positions(padded, positions))
    assert before[0][0] == after[0][0] and before[0][1] != after[0][1]
    for ours, theirs in zip(after[1:], before[1:]):
        np.testing.assert_array_equal(ours[:6], theirs[:6])


def test_a_broken_molecule_is_seen_and_spoils_nothing(case, both):
    """NaN positions in one molecule: energy and forces NaN there and only there."""
    padded = pad(batch(both), *BUDGET)
    positions = np.array(padded.nodes.positions)
    positions[6] = np.nan
    energy, forces, _ = case.compute(with_positions(padded, positions))
    expected, expected_forces, _ = case.compute(padded)
    assert np.isnan(energy[1]) and np.isnan(forces[6]).all()
    assert energy[0] == expected[0]
    np.testing.assert_array_equal(forces[:6], expected_forces[:6])


def test_isolated_atom(case):
    """One node, no edge slot at all: finite, at rest; and the same in a padded batch."""
    atom = make_graph([8], [[1.0, 2.0, 3.0]])
    assert len(atom.senders) == 0
    energy, forces, _ = case.compute(atom)
    there, at_rest = case.padded(atom)
    assert np.isfinite(energy).all() and energy[0] != 0 and not forces.any() and not at_rest.any()
    np.testing.assert_allclose(there, energy, rtol=0, atol=1e-10)
