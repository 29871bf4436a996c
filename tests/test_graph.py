"""Building graphs: what comes out, what is refused, and what `validate` catches."""

import ase.build
import numpy as np
import pytest
from ase import Atoms

from jphys import graph as graphs
from jphys.graph import make_graph

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


def test_molecule_has_all_pairs():
    graph = make_graph([8, 1, 1], WATER)
    assert list(zip(graph.receivers.tolist(), graph.senders.tolist())) == [
        (0, 1), (0, 2), (1, 0), (1, 2), (2, 0), (2, 1),
    ]  # fmt: skip
    assert graph.n_node.tolist() == [3] and graph.n_edge.tolist() == [6]
    assert graph.nodes.mask.all() and graph.edges.mask.all() and graph.globals.mask.all()
    assert not graph.globals.cell.any() and not graph.edges.shifts.any()
    np.testing.assert_array_equal(graph.nodes.positions, WATER.astype(np.float32))
    graphs.validate(graph)


def test_float64_only_where_the_user_enables_it(x64):
    assert make_graph([8, 1, 1], WATER).nodes.positions.dtype == np.float64
    assert make_graph([8, 1, 1], WATER.astype(np.float32)).nodes.positions.dtype == np.float32


def test_float32_by_default():
    graph = make_graph([29], [[0.0, 0, 0]], cell=np.eye(3) * 2.5, cutoff=3.0)
    assert graph.nodes.positions.dtype == graph.globals.cell.dtype == np.float32


def test_cutoff_drops_the_far_pair():
    graph = make_graph([8, 1, 1], WATER, cutoff=1.2)  # O–H 0.97 Å, H–H 1.53 Å
    assert set(zip(graph.receivers.tolist(), graph.senders.tolist())) == {(0, 1), (0, 2), (1, 0), (2, 0)}


def test_bonds_reach_both_directions():
    graph = make_graph([8, 1, 1], WATER, bonds=[(0, 1, 1), (2, 0, 2)])
    found = dict(zip(zip(graph.receivers.tolist(), graph.senders.tolist()), graph.edges.bond_type.tolist()))
    assert found == {(0, 1): 1, (1, 0): 1, (0, 2): 2, (2, 0): 2, (1, 2): 0, (2, 1): 0}


def test_a_bond_given_in_both_directions_is_one():
    once = make_graph([8, 1, 1], WATER, bonds=[[0, 1, 2], [0, 2, 1]])
    twice = make_graph([8, 1, 1], WATER, bonds=[[1, 0, 2], [0, 1, 2], [2, 0, 1]])
    np.testing.assert_array_equal(once.edges.bond_type, twice.edges.bond_type)


@pytest.mark.parametrize("bonds", [None, [], np.zeros((0, 3), int)])
def test_no_bonds(bonds):
    assert not make_graph([8, 1, 1], WATER, bonds=bonds).edges.bond_type.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"species": [8, 1, 0]}, "species must be atomic numbers from 1 to 94, got 0 at atom 2"),
        ({"species": [8, 1]}, r"positions must have shape \(2, 3\) to match species, got \(3, 3\)"),
        ({"positions": WATER[:, :2]}, r"positions must have shape \(3, 3\) to match species, got \(3, 2\)"),
        ({"positions": WATER * [1, 1, np.nan]}, r"positions must be finite, got .*nan.* at atom 0"),
        ({"cutoff": 0.0}, "cutoff must be positive, got 0.0"),
        ({"cutoff": -1.0}, "cutoff must be positive, got -1.0"),
        ({"cutoff": float("nan")}, "cutoff must be positive, got nan"),
        ({"cell": np.eye(3)}, "cutoff must be given for a periodic cell, got None"),
        ({"cell": np.ones(3), "cutoff": 3.0}, r"cell must have shape \(3, 3\).*got \(3,\)"),
        ({"cell": np.ones((3, 3)), "cutoff": 3.0}, "cell must be finite with a volume above 0"),
        (
            {"cell": np.diag([9, 5.9, 9]), "cutoff": 3.0, "bonds": [[0, 1, 1]]},
            r"bonds must not be given .* faces must be 6.0 Å apart, got \[9.0, 5.9, 9.0\]",
        ),
        ({"bonds": [[0, 1]]}, r"bonds must have shape \(m, 3\).*got \(1, 2\)"),
        ({"bonds": [[0, 3, 1]]}, r"bonds must join two different atoms below 3.*got \(0, 3, 1\)"),
        ({"bonds": [[-1, 1, 1]]}, r"bonds must .*got \(-1, 1, 1\)"),
        ({"bonds": [[1, 1, 1]]}, r"bonds must .*got \(1, 1, 1\)"),
        ({"bonds": [[0, 1, 1.5]]}, r"bonds must .*order 1..3, got \(0.0, 1.0, 1.5\)"),
        ({"bonds": [[0, 1, np.nan]]}, r"bonds must .*order 1..3, got \(0.0, 1.0, nan\)"),
        ({"bonds": [[0, 1, 1], [1, 0, 2]]}, r"bonds must give one order .* got 1 and 2 for \(0, 1\)"),
        ({"bonds": [[0, 1, 4]]}, r"bonds must .*order 1..3, got \(0, 1, 4\)"),
        ({"bonds": [[1, 2, 1]], "cutoff": 1.2}, r"bonds must be shorter than the cutoff.*\[1, 2\]"),
    ],
)
def test_wrong_argument_is_named_with_rule_and_value(change, message):
    arguments = {"species": [8, 1, 1], "positions": WATER} | change
    with pytest.raises(ValueError, match=message):
        make_graph(arguments.pop("species"), arguments.pop("positions"), **arguments)


def test_from_ase():
    atoms = ase.build.bulk("Cu", "fcc", a=3.6)
    graph = graphs.from_ase(atoms, cutoff=2.6)
    assert graph.n_edge[0] == 12  # nearest neighbours of fcc
    np.testing.assert_allclose(graph.globals.cell[0], atoms.cell.array, rtol=1e-6)
    molecule = Atoms("OH2", WATER, cell=np.eye(3) * 20)  # a cell without periodicity is a box
    assert graphs.from_ase(molecule).n_edge[0] == 6 and not graphs.from_ase(molecule).globals.cell.any()
    with pytest.raises(ValueError, match=r"pbc must be all true or all false, got \[True, True, False\]"):
        graphs.from_ase(ase.build.fcc111("Cu", (1, 1, 2), vacuum=5.0), cutoff=3.0)


def test_what_a_graph_has_no_place_for_is_refused():
    charged, spins = Atoms("OH2", WATER, charges=[0, 0, 1.5]), Atoms("OH2", WATER, magmoms=np.eye(3))
    with pytest.raises(ValueError, match=r"initial charges must be zero: .* got 1.5 at atom 2"):
        graphs.from_ase(charged)
    with pytest.raises(ValueError, match=r"initial magnetic moments must be zero: .* at atom 0"):
        graphs.from_ase(spins)


@pytest.mark.parametrize(("name", "value"), [("charge", -1), ("spin", 3)])
def test_charge_and_open_shell_in_info_are_refused(name, value):
    """Where other calculators read them; a neutral singlet may say so."""
    neutral = Atoms("OH2", WATER, info={"charge": 0, "spin": 1})
    assert len(graphs.from_ase(neutral).nodes.species) == 3
    with pytest.raises(ValueError, match=rf"info\['{name}'\] must be . or absent: .* got {value}"):
        graphs.from_ase(Atoms("OH2", WATER, info={name: value}))


def test_batch_refuses_nothing():
    with pytest.raises(ValueError, match="graphs must hold at least one graph, got an empty sequence"):
        graphs.batch([])


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((2, 6, 2), "n_node must be at least 3 to hold the graph, got 2"),
        ((4, 5, 2), "n_edge must be at least 6 to hold the graph, got 5"),
        ((4, 6, 0), "n_graph must be at least 1 to hold the graph, got 0"),
        ((4, 6, 1), "padding needs one more graph and one more node"),
        ((3, 8, 2), "padding needs one more graph and one more node"),
    ],
)
def test_pad_refuses_a_budget_that_does_not_fit(sizes, message):
    with pytest.raises(ValueError, match=message):
        graphs.pad(make_graph([8, 1, 1], WATER), *sizes)


def test_padding_is_where_the_models_expect_it():
    padded = graphs.pad(make_graph([8, 1, 1], WATER), 5, 9, 4)
    assert padded.nodes.mask.tolist() == [True] * 3 + [False] * 2
    assert padded.nodes.species.tolist() == [8, 1, 1, 0, 0]
    assert padded.edges.mask.tolist() == [True] * 6 + [False] * 3
    assert padded.senders[6:].tolist() == padded.receivers[6:].tolist() == [4, 4, 4]
    assert padded.n_node.tolist() == [3, 2, 0, 0] and padded.n_edge.tolist() == [6, 3, 0, 0]
    assert padded.globals.mask.tolist() == [True, False, False, False]
    graphs.validate(padded)


def two_waters():
    return graphs.batch([make_graph([8, 1, 1], WATER), make_graph([8, 1, 1], WATER)])


def swap_edges(graph, i, j):
    order = np.arange(len(graph.senders))
    order[[i, j]] = order[[j, i]]
    return graph._replace(senders=graph.senders[order], receivers=graph.receivers[order])


def replaced(array, index, value):
    array = np.array(array)
    array[index] = value
    return array


@pytest.mark.parametrize(
    ("defect", "message"),
    [
        (lambda g: g._replace(n_node=np.array([3, 2])), "n_node must sum to 6, got 5"),
        (lambda g: g._replace(n_edge=np.array([6, 7])), "n_edge must sum to 12, got 13"),
        (lambda g: g._replace(senders=replaced(g.senders, 0, 6)), "senders must lie in 0..5, got 0..6"),
        (lambda g: g._replace(senders=replaced(g.senders, 2, -1)), "senders must lie in 0..5, got -1..5"),
        (
            lambda g: g._replace(receivers=replaced(g.receivers, -1, 9)),
            "receivers must lie in 0..5, got 0..9",
        ),
        (lambda g: swap_edges(g, 0, 5), "edges must be sorted by receiver"),
        (lambda g: g._replace(senders=replaced(g.senders, 0, 4)), "edges must join nodes of one graph"),
        (
            lambda g: g._replace(nodes=g.nodes._replace(species=replaced(g.nodes.species, 1, -1))),
            "species must not be negative",
        ),
    ],
)
def test_validate_rejects(defect, message):
    graphs.validate(two_waters())
    with pytest.raises(ValueError, match=message):
        graphs.validate(defect(two_waters()))


@pytest.mark.parametrize(
    "make", [lambda: make_graph([], np.zeros((0, 3))), lambda: make_graph([6], np.zeros((1, 3)))]
)
def test_graphs_without_edges(make):
    graph = make()
    graphs.validate(graph)
    assert graph.n_edge.tolist() == [0] and graph.edges.shifts.shape == (0, 3)
