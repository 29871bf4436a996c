"""GFN2-xTB against its published numbers, finite differences and itself."""

import builtins
import json

import ase
import jax
import numpy as np
import pytest

from jphys.graph import make_graph
from jphys.reliability import xtb

WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
SPECIES = np.array([8, 1, 1])


def test_without_tblite_the_message_names_the_extra(monkeypatch):
    real_import = builtins.__import__

    def blocked(name, *args, **kwargs):
        if name.startswith("tblite"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", blocked)
    with pytest.raises(ImportError, match="jphys\\[engines\\]"):
        xtb.xtb_energy_forces(SPECIES, WATER)


def test_statistics_of_a_scaled_reference():
    rng = np.random.default_rng(0)
    rise, forces = rng.uniform(1, 2, 5), [rng.normal(size=(3, 3)) for _ in range(5)]
    row = xtb.compare_surfaces(0.5 * rise, [0.25 * f for f in forces], rise, forces)
    expected = {
        "median_rise_ratio": 0.5,
        "rise_correlation": 1.0,
        "force_correlation": 1.0,
        "force_slope": 0.25,
    }
    assert {name: row[name] for name in expected} == pytest.approx(expected)
    assert row["mean_force_xtb"] == pytest.approx(np.mean([np.linalg.norm(f, axis=1) for f in forces]))


def test_a_single_atom_has_no_rise_to_compare():
    forces = [np.zeros((1, 3)), np.ones((2, 3)), np.ones((2, 3))]
    row = xtb.compare_surfaces(np.array([0.0, 1.0, 3.0]), forces, np.array([0.0, 2.0, 2.0]), forces)
    assert (row["n"], row["median_rise_ratio"]) == (3, 1.0)
    alone = xtb.compare_surfaces(np.zeros(1), forces[:1], np.zeros(1), forces[:1])
    assert (alone["n"], alone["median_rise_ratio"]) == (1, None)


def test_failures_are_counted_and_left_out():
    forces = [np.ones((2, 3)), -np.ones((2, 3)), np.ones((2, 3))]
    row = xtb.compare_surfaces(np.array([1.0, 2.0, np.inf]), forces, np.array([2.0, np.nan, 2.0]), forces)
    assert (row["n"], row["n_xtb_failed"], row["n_model_nonfinite"]) == (1, 1, 1)
    assert row["median_rise_ratio"] == 0.5
    assert row["rise_correlation"] is None
    json.dumps(row, allow_nan=False)


class TestWithEngine:
    @pytest.fixture(autouse=True)
    def engine(self):
        pytest.importorskip("tblite", reason="needs the extra `engines`")

    def test_agrees_with_the_units_of_ase(self):
        ase_calculator = pytest.importorskip("tblite.ase")
        atoms = ase.Atoms(SPECIES, WATER, calculator=ase_calculator.TBLite(verbosity=0))
        energy, forces = xtb.xtb_energy_forces(SPECIES, WATER)
        assert energy == pytest.approx(atoms.get_potential_energy(), rel=1e-7)
        np.testing.assert_allclose(forces, atoms.get_forces(), atol=1e-6)

    def test_forces_are_minus_the_slope_of_the_energy(self):
        _, forces = xtb.xtb_energy_forces(SPECIES, WATER)
        step = np.zeros((3, 3))
        step[1, 2] = 1e-3
        up, down = (xtb.xtb_energy_forces(SPECIES, WATER + s)[0] for s in (step, -step))
        assert forces[1, 2] == pytest.approx(-(up - down) / 2e-3, abs=1e-3)

    def test_nothing_is_printed(self, capfd):
        xtb.xtb_energy_forces(SPECIES, WATER)
        assert capfd.readouterr().out == ""

    def test_atoms_on_top_of_each_other_are_a_counted_failure(self):
        water = make_graph(SPECIES, WATER)
        crash = make_graph(SPECIES, np.zeros((3, 3)))
        energies, forces = xtb.surface().evaluate([water, crash])
        assert np.isfinite(energies).tolist() == [True, False]
        assert np.isnan(forces[1]).all()

    def test_xtb_follows_itself(self, graph_energy):
        ammonia = [[0, 0, 0.1], [0.94, 0, -0.27], [-0.47, 0.81, -0.27], [-0.47, -0.81, -0.27]]
        graphs = [make_graph(SPECIES, WATER), make_graph([7, 1, 1, 1], ammonia)]
        judge = graph_energy(xtb.xtb_energy_forces)
        report = xtb.compare(judge, None, graphs, sigmas=(0.05, 0.1), key=jax.random.key(0))
        assert report["n_molecules"] == 2
        for row in report["sigmas"]:
            assert row["n"] == 2
            ones = ("median_rise_ratio", "rise_correlation", "force_correlation", "force_slope")
            assert [row[name] for name in ones] == pytest.approx([1.0] * 4, abs=1e-3)
        assert report["sigmas"][1]["mean_rise_xtb"] > report["sigmas"][0]["mean_rise_xtb"] > 0


def test_curvature_at_rest_is_its_own():
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    water = make_graph(SPECIES, WATER)
    found = xtb.compare_at_rest(xtb.surface(), None, [water, water], n_molecules=1, key=jax.random.key(0))
    assert (found["n"], found["negative"]) == (1, 0)
    judged = {row["to"]: row for row in found["bands"] if row["n"]}
    assert list(judged) == [30.0, 400.0] and [row["n"] for row in judged.values()] == [1, 2]
    assert all(row["median_ratio"] == pytest.approx(1.0, abs=1e-6) for row in judged.values())
