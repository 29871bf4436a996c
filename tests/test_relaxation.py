"""Relaxing cells, fixed atoms, and atoms that move farther than their edges were made for."""

import os
from types import SimpleNamespace
from typing import Any

import ase
import ase.build
import ase.filters
import ase.optimize
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.morse import MorsePotential
from ase.constraints import FixAtoms

import jphys
from jphys import md, ops
from jphys.calculator import Calculator
from jphys.graph import from_ase, make_graph
from jphys.models.potential import Potential

CONFIG = SimpleNamespace(reference_energies=(), max_z=118)
BOTTOM, WIDTH = 2.6, 1.3  # Å


def pair_sum(pair, graph):
    values = jnp.where(graph.edges.mask, 0.5 * pair(ops.edge_distances(graph)), 0.0)
    return ops.sum_at_receivers(values, graph)


def well_pair(r):
    """−cos⁴ from 1.3 to 3.9 Å with its bottom at 2.6 Å, harmonic below: ends C³ at the cutoff."""
    x = (r - BOTTOM) / WIDTH
    attractive = jnp.where(x < 1.0, -(jnp.cos(0.5 * jnp.pi * jnp.clip(x, -1.0, 1.0)) ** 4), 0.0)
    return jnp.where(x < 0, 5.0 * x**2 - 1.0, attractive)


def atom_energies(params, graph):
    return params * pair_sum(well_pair, graph)


def energy(params, graph):
    return ops.sum_over_graphs(atom_energies(params, graph), graph)


WELL = Potential(CONFIG, BOTTOM + WIDTH, lambda key, graph: {}, energy, atom_energies)
ONE = jnp.float32(1.0)


def fcc(stretch=1.0, shear=0.0, repeat=2):
    atoms = ase.build.bulk("Cu", "fcc", a=BOTTOM * np.sqrt(2), cubic=True).repeat(repeat)
    strain = stretch * (np.eye(3) + shear * np.array([[0, 1, 0], [0, 0, 0.5], [0, 0, 0]]))
    atoms.set_cell(atoms.cell.array @ strain, scale_atoms=True)
    return atoms


def ase_cell_relaxation(atoms, fmax):
    atoms = atoms.copy()
    atoms.calc = Calculator(WELL, ONE)
    moving: Any = ase.filters.FrechetCellFilter(atoms)  # all that an optimiser needs of Atoms
    ase.optimize.FIRE(moving, logfile=os.devnull).run(fmax=fmax, steps=2000)
    return atoms


@pytest.mark.parametrize(
    ("stretch", "shear"), [(1.06, 0.04), pytest.param(0.93, 0.0, marks=pytest.mark.slow)]
)
def test_a_strained_crystal_finds_its_lattice_constant(stretch, shear):
    """Nearest neighbours of fcc at the bottom of the well, second ones (3.68 Å) pull it a little closer."""
    atoms = fcc(stretch, shear, repeat=1)
    atoms.rattle(0.05, seed=0)
    found = jphys.relax(WELL, ONE, [from_ase(atoms, cutoff=WELL.cutoff)], fmax=2e-3, relax_cell=True)
    expected = ase_cell_relaxation(atoms, 2e-3)
    assert found.converged.all()
    assert found.energy[0] == pytest.approx(expected.get_potential_energy(), abs=2e-3)
    cell = found.graphs[0].globals.cell[0]
    assert np.linalg.det(cell) == pytest.approx(expected.get_volume(), rel=1e-3)
    edges = np.linalg.norm(cell, axis=1)
    np.testing.assert_allclose(edges, edges.mean(), rtol=2e-3)
    assert found.stress is not None and found.fmax[0] < 2e-3
    per_atom = np.linalg.norm(found.stress[0] * np.linalg.det(cell) / len(atoms), axis=1)
    assert per_atom.max() < 2.2e-3  # of other edges in another order: rounding


def test_stress_and_forces_are_those_of_the_relaxed_structure():
    """Stopped on the way, where both are large and the cell is far from where it began."""
    graph = from_ase(fcc(1.06, 0.04, repeat=1), cutoff=WELL.cutoff)
    found = jphys.relax(WELL, ONE, [graph], max_steps=15, relax_cell=True)
    assert found.status[0] == "max_steps" and found.n_steps[0] == 15
    assert found.stress is not None
    _, forces, stress = jphys.energy_forces_stress(WELL)(ONE, found.graphs[0])
    assert np.abs(found.graphs[0].globals.cell - graph.globals.cell).max() > 0.05
    np.testing.assert_allclose(found.forces[0], forces, atol=2e-4)
    np.testing.assert_allclose(found.stress[0], stress[0], atol=1e-5)


def test_cells_and_molecules_in_one_batch():
    crystal = from_ase(fcc(1.04, repeat=1), cutoff=WELL.cutoff)
    pair = make_graph([29, 29], np.array([[0, 0, 0], [2.9, 0, 0]], np.float32))
    found = jphys.relax(WELL, ONE, [pair, crystal, pair], relax_cell=True, n_lanes=2)
    alone = jphys.relax(WELL, ONE, [pair], method="fire")  # as a batch with a crystal
    assert found.converged.all() and found.energy[0] == pytest.approx(-1.0, abs=1e-4)
    np.testing.assert_allclose(found.graphs[2].nodes.positions, alone.graphs[0].nodes.positions, atol=1e-5)
    assert found.stress is not None and not found.stress[0].any()
    assert not found.graphs[0].globals.cell.any() and found.n_steps[0] == alone.n_steps[0]


def test_fixed_atoms_stay():
    positions = np.random.default_rng(3).normal(size=(5, 3))
    held = np.array([True, False, True, False, False])
    atoms = ase.Atoms("C5", positions, constraint=FixAtoms(mask=held))
    atoms.calc = MorsePotential(epsilon=4.0, rho0=2.4, r0=1.2, rcut1=90.0, rcut2=99.0)
    ase.optimize.FIRE(atoms, logfile=os.devnull).run(fmax=0.005)

    def morse(params, graph):
        def pair(r):
            x = jnp.exp(-2.0 * (r - 1.2))
            return 4.0 * (x**2 - 2 * x)

        return ops.sum_over_graphs(pair_sum(pair, graph), graph)

    graph = make_graph(np.full(5, 6), positions.astype(np.float32))
    free = make_graph(np.full(3, 6), positions[:3].astype(np.float32))
    found = md.relax(morse, None, [free, graph], fixed=[None, held], fmax=0.005)
    assert found.converged.all()
    np.testing.assert_array_equal(found.graphs[1].nodes.positions[held], graph.nodes.positions[held])
    assert not found.forces[1][held].any()
    assert found.energy[0] == pytest.approx(-12.0, abs=1e-3)
    assert found.energy[1] == pytest.approx(atoms.get_potential_energy(), abs=1e-3)


def test_fixed_atoms_keep_their_place_in_a_cell_that_relaxes():
    atoms = fcc(1.05, repeat=1)
    atoms.rattle(0.1, seed=2)
    held = np.array([True, False, False, True])
    graph = from_ase(atoms, cutoff=WELL.cutoff)
    found = jphys.relax(WELL, ONE, [graph], fixed=[held], relax_cell=True)
    cell = found.graphs[0].globals.cell[0]
    scaled = found.graphs[0].nodes.positions @ np.linalg.inv(cell)
    before = atoms.get_scaled_positions(wrap=False)
    np.testing.assert_allclose(scaled[held], before[held], atol=1e-5)
    assert found.converged.all() and np.abs(scaled - before)[~held].max() > 1e-3
    assert np.linalg.det(cell) < 0.97 * atoms.get_volume()


def scattered():
    """Two clusters just within each other's reach: they fall together over several Å."""
    rng = np.random.default_rng(0)
    lumps = np.concatenate([ase.build.molecule("CH4").positions * 1.8 + [0, 0, z] for z in (0.0, 5.5)])
    return (lumps + 0.05 * rng.normal(size=lumps.shape)).astype(np.float32)


@pytest.mark.parametrize("method", ["fire", "bfgs"])
def test_atoms_that_outrun_their_edges_get_new_ones(method):
    """Where they end, energy and forces are those of all pairs; FIRE ends where it does with all pairs."""
    positions = scattered()
    species = np.full(len(positions), 29)
    near = make_graph(species, positions, cutoff=WELL.cutoff)
    assert len(near.senders) < len(positions) * (len(positions) - 1)
    found = jphys.relax(WELL, ONE, [near], max_steps=2000, method=method)
    moved = np.linalg.norm(found.graphs[0].nodes.positions - positions, axis=1).max()
    assert found.converged.all() and moved > 0.5
    every = make_graph(species, found.graphs[0].nodes.positions)
    energies, forces = jphys.energy_and_forces(WELL)(ONE, every)
    assert found.energy[0] == pytest.approx(float(energies[0]), abs=1e-4)
    assert np.linalg.norm(forces, axis=1).max() < 0.0101
    if method == "fire":
        every = jphys.relax(WELL, ONE, [make_graph(species, positions)], max_steps=2000, method=method)
        assert found.energy[0] == pytest.approx(every.energy[0], abs=2e-3)
    few = jphys.relax(WELL, ONE, [near], max_steps=30, method=method)
    assert few.status[0] == "max_steps" and few.n_steps[0] == 30


def test_new_edges_compile_nothing():
    traces = []

    def counted(params, graph):
        traces.append(1)
        return energy(params, graph)

    potential = Potential(CONFIG, WELL.cutoff, WELL.init, counted, atom_energies)
    crystal = fcc(1.12)
    found = jphys.relax(potential, ONE, [from_ase(crystal, cutoff=WELL.cutoff)], relax_cell=True)
    assert found.converged.all()
    assert np.linalg.det(found.graphs[0].globals.cell[0]) < 0.75 * crystal.get_volume()  # 10 % in length
    assert len(traces) <= 6  # the loop, energies and stress: each traced once or twice, whatever the edges


def test_structures_of_any_size_share_one_compilation():
    """Molecules of two to ten atoms and two crystals; the loop is traced as often as for a single pair."""
    counts = []
    pair = make_graph([29, 29], np.array([[0, 0, 0], [2.9, 0, 0]], np.float32))
    rng = np.random.default_rng(4)
    mixed = [
        make_graph(np.full(n, 29), 2.6 * np.argwhere(np.ones((3, 3, 3)))[:n] + rng.normal(0, 0.05, (n, 3)))
        for n in (2, 3, 5, 8, 10)
    ]
    mixed += [from_ase(fcc(1.03, repeat=repeat), cutoff=WELL.cutoff) for repeat in (1, 2)]
    for graphs in ([pair], mixed):
        traces = []

        def counted(params, graph, traces=traces):
            traces.append(len(graph.nodes.species))
            return energy(params, graph)

        potential = Potential(CONFIG, WELL.cutoff, WELL.init, counted, atom_energies)
        assert jphys.relax(potential, ONE, graphs, max_steps=500).converged.all()
        counts.append(len(traces))
    assert counts[1] <= counts[0]


def test_bonds_stay_where_edges_are_found_anew():
    positions = scattered()
    species, bonds = np.full(len(positions), 6), [(0, 1, 1), (5, 7, 2)]
    graph = make_graph(species, positions, cutoff=WELL.cutoff, bonds=bonds)
    found = jphys.relax(WELL, ONE, [graph], max_steps=2000).graphs[0]
    assert len(found.senders) != len(graph.senders)
    kept = np.flatnonzero(found.edges.bond_type)
    rows = zip(found.senders[kept], found.receivers[kept], found.edges.bond_type[kept])
    assert {(int(i), int(j), int(order)) for i, j, order in rows} == {
        (0, 1, 1),
        (1, 0, 1),
        (5, 7, 2),
        (7, 5, 2),
    }
    jphys.graph.validate(found)


def test_impossible_settings_are_named():
    graph = make_graph([29, 29], np.array([[0, 0, 0], [2.9, 0, 0]], np.float32))
    with pytest.raises(ValueError, match="fixed must have one entry per graph, 1, got 2"):
        jphys.relax(WELL, ONE, [graph], fixed=[None, None])
    with pytest.raises(ValueError, match=r"fixed must be None or \(2,\) bool, got \(2,\) int64 for graph 0"):
        jphys.relax(WELL, ONE, [graph], fixed=[[0, 1]])
    crystal = from_ase(fcc(1.1), cutoff=WELL.cutoff)
    with pytest.raises(ValueError, match=r"max_step must be small beside 0\.5 Å"):
        jphys.relax(WELL, ONE, [crystal], relax_cell=True, fire=md.Fire(dt_start=5, dt_max=5, max_step=9))
