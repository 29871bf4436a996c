"""Edge lists against those of ASE, of a loop over everything, and against a count that is known."""

import itertools

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


@pytest.fixture(params=["every pair is measured", "a tree finds them"])
def both(request, monkeypatch):
    """Both ways to find pairs, whatever the number of atoms."""
    monkeypatch.setattr(neighbors, "FEW", 10**9 if request.param.startswith("every") else 0)


def one_by_one(positions, cell, cutoff):
    """Rows (receiver, image, sender), images relative to the wrapped atoms, and the shifts: all in order."""
    cells = np.zeros(positions.shape, int)
    reach = (0, 0, 0)
    if cell is not None:
        cells = np.floor(positions @ np.linalg.inv(cell)).astype(int)
        reach = np.ceil(cutoff * np.linalg.norm(np.linalg.inv(cell), axis=0)).astype(int) + 1
    rows = []
    for i, image in itertools.product(
        range(len(positions)), itertools.product(*(range(-r, r + 1) for r in reach))
    ):
        for j in range(len(positions)):
            shift = np.array(image) + cells[i] - cells[j]
            end = positions[j] + (0.0 if cell is None else shift @ cell)
            if (any(image) or i != j) and np.linalg.norm(end - positions[i]) < cutoff:
                rows.append((j, i, *shift.tolist()))
    return np.array(rows, int).reshape(-1, 5)


def as_set(senders, receivers, shifts):
    rows = [(int(i), int(j), *map(int, shift)) for i, j, shift in zip(receivers, senders, shifts)]
    assert len(rows) == len(set(rows)), "an edge was listed twice"
    return set(rows)


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("cutoff", [1.5, 3.0, 5.5])
def test_edges_are_those_of_ase(name, cutoff, rng, both):
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


@pytest.mark.parametrize("seed", range(8))
def test_random_cells_in_the_order_of_a_loop(seed, both):
    """Skewed cells thinner and thicker than the cutoff, atoms far outside; every number in its place."""
    rng = np.random.default_rng(seed)
    cell = np.diag(rng.uniform(1.5, 7, 3)) + rng.uniform(-1.2, 1.2, (3, 3))
    cell = None if seed == 0 else cell[rng.permutation(3)]
    positions = rng.uniform(-12, 12, (int(rng.integers(3, 7)), 3)) / (6 if cell is None else 1)
    found = neighbors.within_cutoff(positions, cell, 4.0)
    assert all(part.dtype == np.int32 for part in found) and found[2].shape == (len(found[0]), 3)
    expected = one_by_one(positions, cell, 4.0)
    assert len(expected) > 0
    np.testing.assert_array_equal(np.column_stack(found), expected)


@pytest.mark.parametrize("cell", [None, np.eye(3) * 20.0, np.eye(3) * 1e7], ids=["free", "box", "vacuum"])
def test_a_tree_finds_what_all_pairs_hold(cell, monkeypatch, rng):
    """Also with two atoms on one spot, one atom alone, and one far away."""
    positions = rng.uniform(0, 18, (150, 3))
    positions[7], positions[8] = positions[40], [1e12, -3e5, 0.0]
    searched = neighbors.within_cutoff(positions, cell, 3.0)
    monkeypatch.setattr(neighbors, "FEW", 10**9)
    for ours, measured in zip(searched, neighbors.within_cutoff(positions, cell, 3.0), strict=True):
        np.testing.assert_array_equal(ours, measured)
    assert {(7, 40), (40, 7)} <= set(zip(searched[0].tolist(), searched[1].tolist()))
    assert cell is not None or 8 not in searched[0]


def test_closer_than_the_cutoff_not_at_it(both):
    chain = np.arange(4.0)[:, None] * np.array([[2.0, 0.0, 0.0]])
    assert len(neighbors.within_cutoff(chain, None, 2.0)[0]) == 0
    assert len(neighbors.within_cutoff(chain, None, np.nextafter(2.0, 3.0))[0]) == 6
    assert len(neighbors.within_cutoff(chain, np.diag([8.0, 9.0, 9.0]), 2.0)[0]) == 0
    assert len(neighbors.within_cutoff(chain, np.diag([8.0, 9.0, 9.0]), np.nextafter(2.0, 3.0))[0]) == 8


def test_every_edge_has_its_reverse_at_the_cutoff_too(x64, rng, both):
    """fcc with a = 5 Å, whose second neighbours are at the cutoff: in or out, but in both directions."""
    crystal = bulk("Al", "fcc", a=5.0).repeat(3)
    for _ in range(60):
        positions = crystal.positions + rng.uniform(-30, 30, 3)
        graph = make_graph(crystal.numbers, positions, cell=crystal.cell.array, cutoff=5.0)
        found = as_set(graph.senders, graph.receivers, graph.edges.shifts)
        assert found == as_set(graph.receivers, graph.senders, -graph.edges.shifts)
        pair, real = ops.undirected(graph)
        assert real.all() and len(pair) == len(found) // 2 >= 12 * 27 // 2


@pytest.mark.parametrize("n_atoms", [0, 1])
@pytest.mark.parametrize("cell", [None, np.eye(3) * 6.0], ids=["free", "box"])
def test_nothing_to_find(n_atoms, cell, both):
    shapes = [part.shape for part in neighbors.within_cutoff(np.ones((n_atoms, 3)), cell, 5.0)]
    assert shapes == [(0,), (0,), (0, 3)]
