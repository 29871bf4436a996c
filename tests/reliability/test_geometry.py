"""Geometry as a job and conformer energies on surfaces whose answer is known: MMFF94, nothing, a refusal."""

import dataclasses

import ase.build
import numpy as np
import pytest

from jphys.bonds import embed_smiles, perceive_bonds
from jphys.graph import make_graph, with_positions
from jphys.reliability import geometry, mmff94
from jphys.reliability.conformer_energies import Conformers, conformers, order
from jphys.reliability.surface import Calculated


def graph_of(smiles, seed=0):
    species, positions, bonds = embed_smiles(smiles, seed)
    return make_graph(species, positions.astype(np.float32), bonds=bonds)


@pytest.fixture(scope="module")
def begun():
    """Propanol and acetone, which have a start; O₂, without parameters of MMFF94, has none."""
    oxygen = make_graph([8, 8], np.array([[0, 0, 0], [0, 0, 1.2]], np.float32), bonds=[[0, 1, 2]])
    return geometry.starts([graph_of("CCCO"), oxygen, graph_of("CC(C)=O")], n_embeddings=20)


def test_a_start_is_the_minimum_of_mmff94_in_the_conformer_of_the_reference(begun):
    """References are such minima themselves here, so that starts lie on them."""
    assert begun.without == {"molecule must have MMFF94 parameters": 1}
    assert len(begun.references) == len(begun.starts) == 2
    result = geometry.geometries(None, None, begun)
    assert (result.every < 0.02).all() and not result.other.any()
    assert result.n_heavy.tolist() == [4, 4] and set(result.status) == {"start"}


def test_a_start_in_another_conformer_is_none():
    """Formic acid with its O–H turned out of the plane, 90° from both minima."""
    atoms = ase.build.molecule("HCOOH")  # O, C, O, H of the first oxygen, H of carbon
    bonds = perceive_bonds(atoms.numbers, atoms.positions)
    atoms.set_dihedral(2, 1, 0, 3, 90, indices=[3])
    found = geometry.starts([make_graph(atoms.numbers, atoms.positions.astype(np.float32), bonds=bonds)])
    assert not found.starts
    assert found.without == {"no embedding comes to rest in the conformer of the reference": 1}


def test_what_the_surface_relaxes_is_compared(begun):
    """MMFF94 finds its minima, a flat surface leaves the start, one without answers is a failure."""
    moved = dataclasses.replace(
        begun,
        starts=[with_positions(g, np.asarray(g.nodes.positions) * np.float32(1.02)) for g in begun.starts],
    )
    flat = Calculated(lambda graph: (0.0, np.zeros((len(graph.nodes.species), 3))))
    silent = Calculated(lambda graph: (np.nan, np.zeros((len(graph.nodes.species), 3))))
    relaxed = geometry.geometries(mmff94.surface(), None, moved)
    stayed, lost = (geometry.geometries(surface, None, moved) for surface in (flat, silent))
    start = geometry.geometries(None, None, moved)
    assert (relaxed.every < 0.02).all() and set(relaxed.status) == {"converged"}
    np.testing.assert_allclose(stayed.heavy, start.heavy, atol=1e-6)
    assert (start.heavy > 0.02).all() and (start.every > start.heavy).all()
    assert (lost.every == geometry.CAP).all() and lost.other.all() and lost.broken.all()
    assert not relaxed.broken.any() and relaxed.seconds > 0
    rows = geometry.summary(lost)
    assert rows[-1]["failed"] == 2 and rows[-1]["heavy"] == {"median": 5.0, "mean": 5.0}


def test_a_molecule_that_broke_is_counted(begun):
    """A hydrogen of propanol 3 Å away from where it belongs."""
    (propanol, acetone), away = begun.references, np.zeros((12, 3), np.float32)
    away[-1, 0] = 3.0
    moved = with_positions(propanol, np.asarray(propanol.nodes.positions) + away)
    result = geometry.geometries(None, None, dataclasses.replace(begun, starts=[moved, acetone]))
    assert result.broken.tolist() == [True, False] and geometry.summary(result)[-1]["broken"] == 1


def test_an_atom_alone_is_where_it_should_be():
    atom = make_graph([8], np.zeros((1, 3), np.float32))
    result = geometry.geometries(None, None, geometry.Starts([atom], [atom], geometry.starts([]).without))
    assert (result.heavy[0], result.every[0], result.other[0], result.broken[0]) == (0, 0, False, False)


def test_no_more_are_asked_than_wanted():
    """The second is not looked at: it would be refused."""
    unbonded = make_graph([8, 1, 1], np.eye(3, dtype=np.float32))
    assert len(geometry.starts(iter([graph_of("CC"), unbonded]), most=1).starts) == 1


def test_a_summary_has_a_row_per_size():
    result = geometry.Geometries(
        heavy=np.array([0.1, 0.3, 0.2, 5.0]),
        every=np.array([0.2, 0.4, 0.3, 5.0]),
        n_heavy=np.array([5, 7, 9, 9]),
        other=np.array([False, True, False, True]),
        broken=np.array([False, False, True, True]),
        status=np.array(["converged", "max_steps", "converged", "nonfinite"]),
        seconds=0.1,
    )
    rows = {row["heavy_atoms"]: row for row in geometry.summary(result)}
    assert list(rows) == ["2–7", "9", "all"] and [row["n"] for row in rows.values()] == [2, 2, 4]
    assert rows["2–7"]["heavy"]["median"] == pytest.approx(0.2) and rows["2–7"]["other"] == 0.5
    assert rows["9"]["every"]["mean"] == pytest.approx(2.65)
    assert [rows["all"][name] for name in ("broken", "failed", "unfinished")] == [2, 1, 1]


def test_conformers_are_the_minima_of_the_judge():
    """Butane on MMFF94: anti, and gauche 0.034 eV above it, once for both mirror images."""
    butane = conformers(mmff94.surface(), None, graph_of("CCCC"))
    low, gauche = np.sort(butane.energies) - butane.energies.min()
    assert low == 0 and gauche == pytest.approx(0.034, abs=0.004)
    (same,) = order(mmff94.surface(), None, [butane])
    assert same["n"] == 2 and same["rank"] == pytest.approx(1)
    assert same["mae"] < 1e-3 < same["size"] == pytest.approx(0.017, abs=2e-3)


@pytest.mark.parametrize(
    ("judged", "rank", "mae"), [([0.0, 0.1, 0.3], 1.0, 0.0), ([0.3, 0.1, 0.0], -1.0, 0.2)]
)
def test_an_order_is_spearmans(judged, rank, mae):
    """On a surface without forces, whose energies are told apart by where the molecules are."""
    butane = graph_of("CCCC")
    graphs = [with_positions(butane, np.asarray(butane.nodes.positions) + np.float32(i)) for i in range(3)]
    origin = graphs[0].nodes.positions[0, 0]

    def ask(graph):
        place = round(float(graph.nodes.positions[0, 0] - origin))
        return [5.0, 5.1, 5.3][place], np.zeros((len(graph.nodes.species), 3))

    (row,) = order(Calculated(ask), None, [Conformers(graphs, np.array(judged))])
    assert row["rank"] == pytest.approx(rank) and row["mae"] == pytest.approx(mae, abs=1e-9)


def test_a_surface_without_differences_has_no_order():
    graphs = [graph_of("CCCC", seed) for seed in range(2)]
    flat = Calculated(lambda graph: (0.0, np.zeros((len(graph.nodes.species), 3))))
    (row,) = order(flat, None, [Conformers(graphs, np.array([0.0, 0.1]))])
    assert row == {"n": 2, "rank": None, "mae": pytest.approx(0.05), "size": pytest.approx(0.05)}
    silent = Calculated(lambda graph: (np.nan, np.zeros((len(graph.nodes.species), 3))))
    (row,) = order(silent, None, [Conformers(graphs, np.array([0.0, 0.1]))])
    assert row == {"n": 0, "rank": None, "mae": None, "size": None}


def test_what_is_refused():
    nothing = geometry.Starts([], [], geometry.starts([]).without)
    with pytest.raises(ValueError, match="begun must hold at least one molecule, got none"):
        geometry.geometries(None, None, nothing)
    with pytest.raises(ValueError, match="n_embeddings must be at least 1, got 0"):
        geometry.starts([], n_embeddings=0)
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        geometry.starts([], seed=-1)
    unbonded = make_graph([8, 1, 1], np.eye(3, dtype=np.float32))
    with pytest.raises(ValueError, match="references must have bonds, got none in molecule 1"):
        geometry.starts([graph_of("CC"), unbonded])
    with pytest.raises(ValueError, match="at least two conformers each, got one with 0"):
        order(mmff94.surface(), None, [Conformers([], np.empty(0))])
