"""Assembly: which groups, how they leave, and success on surfaces whose answer is known."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from jphys import bonds, ops
from jphys.graph import make_graph
from jphys.reliability import assembly, mmff94


def molecule(smiles):
    species, positions, found = bonds.embed_smiles(smiles)
    return make_graph(species, positions, bonds=found)


def springs_to(stable):
    """½·10·(r − r₀)² for every pair: one stable structure, known to the function."""
    lengths = ops.edge_distances(stable)

    def energy(params, graph):
        n = len(lengths)
        stretch = ops.edge_distances(graph)[:n] - lengths
        values = jnp.where(graph.edges.mask[:n], 2.5 * stretch**2, 0.0)
        rest = jnp.zeros(len(graph.senders) - n)
        return ops.sum_over_graphs(ops.sum_at_receivers(jnp.concatenate([values, rest]), graph), graph)

    return energy


@pytest.mark.parametrize(
    ("smiles", "formulas"),
    [
        ("CCO", [{6: 1, 1: 3}, {8: 1, 1: 1}]),
        ("C1CC1C#N", [{6: 1, 7: 1}]),
        ("C", []),
        ("C=C", []),
        ("c1ccccc1", []),
        ("CC(=O)N", [{6: 1, 1: 3}, {7: 1, 1: 2}]),
    ],
)
def test_groups_are_the_smaller_sides_of_acyclic_single_bonds(smiles, formulas):
    graph = molecule(smiles)
    species = np.asarray(graph.nodes.species)
    found = [
        dict(zip(*np.unique(species[group.atoms], return_counts=True))) for group in assembly.groups_of(graph)
    ]
    assert sorted(map(str, (dict(sorted(f.items())) for f in found))) == sorted(
        str(dict(sorted((np.int32(z), np.int64(n)) for z, n in f.items()))) for f in formulas
    )


def test_groups_leave_as_a_whole_along_their_bond():
    graph = molecule("CCO")
    (one,) = assembly.take_apart([graph], n_groups=1)
    (group,) = one.groups
    moved = np.asarray(one.graph.nodes.positions) - np.asarray(graph.nodes.positions)
    np.testing.assert_allclose(np.linalg.norm(moved[group.atoms], axis=1), 0.7, rtol=1e-5)
    np.testing.assert_allclose(
        moved[group.atoms], moved[group.atoms[:1]].repeat(len(group.atoms), 0), atol=1e-6
    )
    assert not np.delete(moved, group.atoms, axis=0).any()
    at = np.asarray(one.graph.nodes.positions)
    before = np.linalg.norm(np.diff(np.asarray(graph.nodes.positions)[[group.rest, group.first]], axis=0))
    after = np.linalg.norm(at[group.rest] - at[group.first])
    assert after == pytest.approx(before + 0.7, abs=1e-4)


def test_two_groups_leave_different_ways():
    graph = molecule("CC(=O)N")
    (one,) = assembly.take_apart([graph], n_groups=2)
    assert len(one.groups) == 2 and not set(one.groups[0].atoms) & set(one.groups[1].atoms)
    graphs = [molecule(smiles) for smiles in ("CCO", "C", "CC(=O)N")]
    again = assembly.take_apart(graphs, seed=3)
    assert [one.index for one in again] == [0, 2]
    np.testing.assert_array_equal(
        assembly.take_apart(graphs[:1], seed=3)[0].graph.nodes.positions, again[0].graph.nodes.positions
    )


def test_springs_bring_everything_back_and_nothing_else_does():
    graph = molecule("CCO")
    found = assembly.assembly(springs_to(graph), None, [graph], n_groups=1)
    assert found.success.all() and found.distance[0] < 0.01 and found.status[0] == "converged"
    assert found.energy[0, 0] > 1 and abs(found.energy[1, 0] - found.energy[2, 0]) < 1e-3
    flat = assembly.assembly(lambda params, g: 0.0 * g.n_node, None, [graph, molecule("C")], n_groups=1)
    assert not flat.restored.any() and not flat.success.any() and flat.n_without_group == 1
    (row, one) = assembly.summary(flat)["rows"]
    assert row["n"] == one["n"] == 1 and row["success"] == 0 and row["high"] > 0.7


def test_mmff94_cannot_lose_its_bonds():
    graphs = [molecule(smiles) for smiles in ("CCO", "CC(=O)N")]
    found = assembly.assembly(mmff94.surface(), None, graphs, max_steps=2000)
    assert found.restored.all() and found.success.all()


def test_bad_arguments_are_named():
    graph = molecule("CCO")
    cases: list[tuple[dict[str, Any], str]] = [
        ({"shift": 0.0}, "shift must be positive, got 0"),
        ({"n_groups": 3}, "n_groups must be None, 1 or 2, got 3"),
        ({"seed": -1}, "seed must not be negative, got -1"),
    ]
    for wrong, message in cases:
        with pytest.raises(ValueError, match=message):
            assembly.take_apart([graph], **wrong)
    with pytest.raises(ValueError, match="graphs must hold a molecule with a bond to cut, got 1 without one"):
        assembly.assembly(springs_to(graph), None, [molecule("C")])
