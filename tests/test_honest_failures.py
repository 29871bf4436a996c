"""What cannot be computed is said by name: atoms on one spot, NaN, no atoms; one atom is a structure.

For jphys.relax and jphys.simulate with the pretrained potential; those of the Calculator are in
test_calculator.py.
"""

from typing import Any

import ase
import numpy as np
import pytest
from ase.build import molecule

import jphys
from jphys import md
from jphys.graph import from_ase, with_positions

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


def on_one_spot() -> ase.Atoms:
    atoms = molecule("H2O")
    atoms.positions[2] = atoms.positions[1]
    return atoms


def test_a_relaxation_reports_each_structure_by_itself(pretrained):
    """The one that can relax does; a pair 0.2 Å apart is pushed apart, with finite numbers on the way."""
    potential, params = pretrained
    close = molecule("H2O")
    close.set_distance(0, 1, 0.2, fix=0)
    graphs = [from_ase(atoms) for atoms in (on_one_spot(), molecule("H2O"), ase.Atoms("O"), close)]
    lost = np.array(graphs[1].nodes.positions)
    lost[2, 1] = np.nan
    graphs.append(with_positions(graphs[1], lost))
    found = jphys.relax(potential, params, graphs, fmax=0.01, max_steps=300)
    assert found.status.tolist() == ["nonfinite", "converged", "converged", "converged", "nonfinite"]
    assert found.n_steps[[0, 2, 4]].tolist() == [0, 0, 0]
    assert np.isfinite(found.energy).tolist() == [False, True, True, True, False]
    assert found.converged.tolist() == np.isfinite(found.fmax).tolist()
    for index in (0, 2, 4):
        np.testing.assert_array_equal(found.graphs[index].nodes.positions, graphs[index].nodes.positions)
    assert found.energy[3] == pytest.approx(found.energy[1], abs=1e-3)


def test_a_crystal_of_nowhere_has_no_energy(fresh):
    """No pair is found where positions are NaN; the energy is not that of atoms alone."""
    potential, params = fresh
    crystal = ase.Atoms("CO", [[0, 0, 0], [1.2, 0, 0]], cell=[6.0, 6.0, 6.0], pbc=True)
    graph = from_ase(crystal, cutoff=potential.cutoff)
    lost = with_positions(graph, np.where([[True], [False]], np.nan, graph.nodes.positions).astype("f4"))
    found = jphys.relax(potential, params, [lost, graph], max_steps=5, relax_cell=True)
    assert found.status[0] == "nonfinite" and np.isfinite(found.energy).tolist() == [False, True]
    assert found.stress is not None
    assert np.isnan(found.stress[0]).all() and np.isfinite(found.stress[1]).all()


def test_a_relaxation_refuses_what_is_no_structure(pretrained):
    potential, params = pretrained
    water: Any = molecule("H2O")
    wrong: Any
    for wrong, said in (
        ([water], "graphs must hold Graph .* got Atoms at 0"),
        (from_ase(water), "graphs must be a sequence of Graph, got one GraphsTuple"),
        (water, "graphs must be a sequence of Graph, got one Atoms"),
    ):
        with pytest.raises(ValueError, match=said):
            jphys.relax(potential, params, wrong)
    with pytest.raises(ValueError, match="at least one atom, got 1 structures, 0 atoms in graph 1"):
        jphys.relax(potential, params, [from_ase(atoms) for atoms in (molecule("H2O"), ase.Atoms())])
    lost = molecule("H2O")
    lost.positions[1] = np.inf
    with pytest.raises(ValueError, match=r"positions must be finite, got .*inf.* at atom 1"):
        from_ase(lost)


def test_a_simulation_stops_at_the_start(pretrained, tmp_path):
    """Before a frame is written; positions that are not finite are refused in test_simulation.py."""
    potential, params = pretrained
    file = tmp_path / "run.extxyz"
    with pytest.raises(md.NonFinite, match="must be finite, got NaN or infinity at the start"):
        jphys.simulate(potential, params, on_one_spot(), steps=2, trajectory=file, progress=False)
    assert not file.exists()
    lost = molecule("H2O")
    lost.set_momenta(np.full((3, 3), np.nan))
    with pytest.raises(ValueError, match="momenta must be finite, got NaN or infinity"):
        jphys.simulate(potential, params, lost, steps=2, progress=False)
    weightless = molecule("H2O")
    weightless.set_masses(np.array([15.999, 0.0, 1.008]))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match=r"masses must be positive, got 0.0 at atom 1"):
        jphys.simulate(potential, params, weightless, steps=2, progress=False)


def test_one_atom_flies_on(pretrained):
    potential, params = pretrained
    atoms = ase.Atoms("O", momenta=[[0.0, 2.0, 0.0]])
    found = jphys.simulate(potential, params, atoms, steps=4, every=4, progress=False)
    expected = 4 * 0.5 * jphys.units.FEMTOSECOND * 2.0 / atoms.get_masses()[0]
    np.testing.assert_allclose(found.atoms.positions, [[0.0, expected, 0.0]], rtol=1e-5)
    assert np.ptp(found.potential) == 0.0
