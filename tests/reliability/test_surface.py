"""Surfaces: learned ones, calculators of ASE and MMFF94 answer alike, and what fails is counted."""

from typing import Any

import jax
import numpy as np
import pytest
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones

from jphys import bonds, ops
from jphys.graph import bonds_of, make_graph, with_positions
from jphys.reliability import mmff94
from jphys.reliability.recovery import CAP, recovery, summary
from jphys.reliability.surface import OTHERS, REASONS, Calculated, surface_of


def lennard_jones(params, graph):
    """ε = σ = 1, all pairs, not cut."""
    x = 1 / ops.edge_distances(graph) ** 6
    values = jax.numpy.where(graph.edges.mask, 2.0 * (x**2 - x), 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(values, graph), graph)


@pytest.fixture
def clusters():
    """A pair and a tetrahedron of argon, a little too wide."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) / 8**0.5 * 1.2
    pair = np.array([[0, 0, 0], [1.2, 0, 0]])
    return [make_graph([18] * len(at), at.astype(np.float32)) for at in (pair, corners)]


class Broken(Calculator):
    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def calculate(self, atoms: Any = None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if len(atoms) == 2:
            raise RuntimeError("two atoms are too few")
        self.results = {"energy": np.nan, "forces": np.zeros((len(atoms), 3))}


def test_a_calculator_answers_as_the_function_does(clusters):
    learned, asked = surface_of(lennard_jones), surface_of(LennardJones(rc=100.0))
    (e1, f1), (e2, f2) = (surface.evaluate(clusters) for surface in (learned, asked))
    np.testing.assert_allclose(e2, e1, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate(f2), np.concatenate(f1), atol=1e-4)
    ends = [surface.relax(clusters, fmaxes=(0.01, 0.5), max_steps=300) for surface in (learned, asked)]
    for a, b in zip(*ends):
        assert (a.status == "converged").all() and (b.status == "converged").all()
        np.testing.assert_allclose(a.energy, b.energy, atol=2e-3)
    tight, loose = ends[1]
    np.testing.assert_allclose(tight.energy, [-1.0, -6.0], atol=1e-3)
    assert (loose.n_steps < tight.n_steps).all() and (loose.fmax < 0.5).all() and (tight.fmax < 0.01).all()


def test_steps_are_limited_in_all(clusters):
    (rest,) = surface_of(LennardJones(rc=100.0)).relax(clusters, fmaxes=(1e-9,), max_steps=7)
    assert rest.status.tolist() == ["max_steps"] * 2 and rest.n_steps.tolist() == [7, 7]


def test_what_fails_is_counted_and_the_rest_goes_on(clusters):
    surface: Any = surface_of(Broken())
    energy, forces = surface.evaluate(clusters)
    assert np.isnan(energy).all() and [len(f) for f in forces] == [2, 4]
    assert surface.problems["RuntimeError: two atoms are too few"] == 1 and len(surface.problems) == 2
    found = recovery(surface, None, clusters, sigmas=(0.0,), key=jax.random.key(0))
    assert found.failed.all() and (found.status == "nonfinite").all()
    assert (found.distance == CAP).all(), "what never moved did not recover"
    assert summary(found)["rows"][0]["recovered"] == 0


class Prepared(Calculator):
    """Springs whose strength is prepared where the elements change, as many calculators do."""

    implemented_properties = ["energy", "forces"]  # noqa: RUF012
    strength = 0.0

    def calculate(self, atoms: Any = None, properties=(), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        if "numbers" in system_changes:
            if 9 in atoms.numbers:
                raise ValueError("fluorine is unknown")
            self.strength = float(atoms.numbers.sum())
        energy = self.strength * float(np.ptp(atoms.positions))
        self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}


def test_a_refused_element_is_refused_at_every_geometry():
    """Not answered by what the calculator had prepared for the molecule before."""
    known, *others = (
        make_graph(pair, [[0, 0, 0], [x, 0, 0]])
        for pair, x in (((8, 1), 1.0), ((9, 1), 1.0), ((9, 1), 1.1), ((9, 1), 1.2))
    )
    energy, _ = surface_of(Prepared()).evaluate([known, *others, known])
    assert np.isfinite(energy[[0, -1]]).all() and np.isnan(energy[1:-1]).all()


def test_a_calculator_is_told_charge_and_multiplicity():
    class Asking(Calculator):
        implemented_properties = ["energy", "forces"]  # noqa: RUF012

        def calculate(self, atoms: Any = None, properties=(), system_changes=()):
            energy = 10 * atoms.info["charge"] + atoms.info["spin"]
            self.results = {"energy": energy, "forces": np.zeros((len(atoms), 3))}

    pairs = [make_graph(z, [[0, 0, 0], [1.2, 0, 0]]) for z in ((7, 7), (7, 8))]
    energy, _ = surface_of(Asking()).evaluate(pairs)
    assert energy.tolist() == [1, 2], "N2 is a singlet, NO a doublet"


def test_nothing_for_an_energy_is_no_answer_and_reasons_are_not_kept_without_end(clusters):
    def ask(graph) -> Any:
        x = float(graph.nodes.positions[0, 0])
        if x < 0:
            return None, None
        if x > 0:
            raise RuntimeError(f"bad place {x}\nand a long story")
        return np.array([1.0]), np.zeros((2, 3))

    pair = clusters[0]
    surface = Calculated(ask)
    places = [with_positions(pair, pair.nodes.positions + x) for x in (-1.0, 0.0, *range(1, 101))]
    energy, _ = surface.evaluate(places)
    assert np.isnan(energy).sum() == 101 and energy[1] == 1.0
    assert len(surface.problems) == REASONS + 1 and surface.problems[OTHERS] == 101 - REASONS
    assert surface.problems["RuntimeError: bad place 1.0"] == 1


def test_mmff94_is_that_of_rdkit_and_its_forces_are_its_gradient():
    species, positions, found = bonds.embed_smiles("CC(=O)Nc1ccccc1")
    graph = make_graph(species, positions, bonds=found)
    np.testing.assert_array_equal(bonds_of(graph), found)
    surface = mmff94.surface()
    assert np.abs(surface.evaluate([graph])[1][0]).max() < 0.05, "RDKit left it at its minimum"
    positions = positions + 0.1 * np.random.default_rng(0).normal(size=positions.shape)
    moved = np.repeat(positions[None], 3, axis=0)
    moved[1, 3, 1] += 0.01
    moved[2, 3, 1] -= 0.01
    energy, forces = surface.evaluate([make_graph(species, at, bonds=found) for at in moved])
    assert (energy[1] - energy[2]) / 0.02 == pytest.approx(-forces[0][3, 1], rel=0.01)


def test_mmff94_without_bonds_or_parameters_has_no_answer():
    surface = mmff94.surface()
    energy, _ = surface.evaluate([make_graph([6, 8], [[0, 0, 0], [0, 0, 1.1]])])
    assert np.isnan(energy[0]) and surface.problems["ValueError: graph must have bonds for MMFF94, got none"]


def test_other_things_are_refused():
    with pytest.raises(TypeError, match="potential must be a Potential, a function, a calculator"):
        surface_of(3)
    with pytest.raises(ValueError, match="fmax must be positive"):
        surface_of(LennardJones()).relax([], fmaxes=(), max_steps=3)
