"""Edge lists against those of ASE, and against a count that is known."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list

from jphys import neighbors, ops
from jphys.graph import make_graph

CELLS = {
    "free": None,
    "cubic": np.eye(3) * 6.0,
    "small": np.eye(3) * 2.5,
    "triclinic": np.array([[3.0, 0.0, 0.0], [1.4, 2.7, 0.0], [-1.1, 0.9, 3.1]]),
    "flat": np.array([[9.0, 0.0, 0.0], [0.0, 8.0, 0.0], [7.0, 6.5, 1.6]]),
    "left-handed": np.array([[0.0, 3.0, 0.4], [3.2, 0.0, 0.0], [0.0, 0.2, 3.5]]),
}


def as_set(senders, receivers, shifts):
    rows = [(int(i), int(j), *map(int, shift)) for i, j, shift in zip(receivers, senders, shifts)]
    assert len(rows) == len(set(rows)), "an edge was listed twice"
    return set(rows)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("cutoff", [1.5, 3.0, 5.5])
def test_edges_are_those_of_ase(name, cutoff, rng):
    cell = CELLS[name]
    positions = rng.uniform(-9, 12, size=(6, 3))  # most atoms lie outside the cell
    atoms = Atoms("H6", positions, cell=cell, pbc=cell is not None)
    i, j, shifts = neighbor_list("ijS", atoms, cutoff)
    senders, receivers, ours = neighbors.within_cutoff(positions, cell, cutoff)
    assert as_set(senders, receivers, ours) == as_set(j, i, shifts)
    assert np.all(np.diff(receivers) >= 0)


def test_shifts_join_atoms_closer_than_the_cutoff(rng):
    cell, positions = CELLS["triclinic"], rng.uniform(-9, 12, size=(4, 3))
    senders, receivers, shifts = neighbors.within_cutoff(positions, cell, 4.0)
    lengths = np.linalg.norm(positions[senders] + shifts @ cell - positions[receivers], axis=1)
    assert len(lengths) > 40 and lengths.max() < 4.0 and lengths.min() > 0


@pytest.mark.parametrize(("shells", "count"), [(1.01, 12), (1.01 * 2**0.5, 18), (1.01 * 3**0.5, 42)])
def test_fcc_coordination(shells, count):
    """One atom in the primitive fcc cell sees itself: 12, 6 and 24 neighbours in the first shells."""
    distance = 2.55
    cell = distance / 2**0.5 * np.array([[0.0, 1.0, 1.0], [1.0, 0.0, 1.0], [1.0, 1.0, 0.0]])
    senders, _, shifts = neighbors.within_cutoff(np.zeros((1, 3)), cell, shells * distance)
    assert len(senders) == count and np.all(np.any(shifts != 0, axis=1))


@pytest.mark.parametrize("n_atoms", [0, 1, 2, 5])
def test_all_pairs(n_atoms):
    senders, receivers, shifts = neighbors.all_pairs(n_atoms)
    expected = [(i, j) for i in range(n_atoms) for j in range(n_atoms) if i != j]
    assert list(zip(receivers.tolist(), senders.tolist())) == expected
    assert shifts.shape == (len(expected), 3)


def test_every_edge_has_its_reverse_at_the_cutoff_too(x64, rng):
    """fcc with a = 5 Å, whose second neighbours are at the cutoff: in or out, but in both directions."""
    crystal = bulk("Al", "fcc", a=5.0).repeat(3)
    for _ in range(60):
        positions = crystal.positions + rng.uniform(-30, 30, 3)
        graph = make_graph(crystal.numbers, positions, cell=crystal.cell.array, cutoff=5.0)
        found = as_set(graph.senders, graph.receivers, graph.edges.shifts)
        assert found == as_set(graph.receivers, graph.senders, -graph.edges.shifts)
        pair, real = ops.undirected(graph)
        assert real.all() and len(pair) == len(found) // 2 >= 12 * 27 // 2


def test_no_atoms():
    assert [len(part) for part in neighbors.within_cutoff(np.zeros((0, 3)), None, 5.0)] == [0, 0, 0]
