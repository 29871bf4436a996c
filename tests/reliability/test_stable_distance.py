"""Metrics of scaled structures against curves whose minimum is known."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jphys.data import scaled
from jphys.data.qm9 import load_small
from jphys.data.scaled import SCALES, ScaledSet, scale_structures, spacings
from jphys.data.structures import take
from jphys.models import MessagePassingConfig, make_potential
from jphys.reliability.stable_distance import (
    energy_errors,
    judge,
    predict,
    stable_distance_errors,
    stable_scale,
)


def morse(scale, minimum, depth=5.0):
    return depth * (1 - np.exp(-4 * (scale - minimum))) ** 2


@pytest.fixture(scope="module")
def points() -> ScaledSet:
    """Three molecules at ten scales with Morse energies, minima at 1.0, 1.01 and 1.02."""
    shapes = take(load_small(), [5, 20, 40])
    shape, scale = np.repeat(np.arange(3), 10), np.tile(SCALES, 3)
    made = scale_structures(take(shapes, shape), scale)
    energy = morse(scale, 1.0 + 0.01 * shape) - 100.0
    made.energy[:] = energy
    return ScaledSet(made, shape, scale, spacings(shapes)[shape], {}, 0)


def test_the_minimum_of_a_morse_curve():
    """Ten scales and a spline find it within a thirtieth of a step; an end is returned exactly."""
    for minimum in (0.95, 1.0, 1.04, 1.2):
        assert stable_scale(SCALES, morse(SCALES, minimum)) == pytest.approx(minimum, abs=2.2e-3)
    assert stable_scale(SCALES, SCALES) == 0.9 and stable_scale(SCALES, -SCALES) == 1.5


def test_the_deeper_of_two_minima_counts():
    scales = np.linspace(0.9, 1.5, 61)
    curve = -np.exp(-(((scales - 1.0) / 0.03) ** 2)) - 1.5 * np.exp(-(((scales - 1.3) / 0.03) ** 2))
    assert stable_scale(scales, curve) == pytest.approx(1.3, abs=1e-3)


def test_stable_distances_are_in_angstrom(points):
    """Predicted minima 0.02 to the right of the true ones, times the mean bond length."""
    predicted = morse(points.scale, 1.02 + 0.01 * points.shape) - 100.0
    found = stable_distance_errors(points, predicted)
    expected = 0.02 * np.unique(points.spacing).mean()
    assert found["mean"] == pytest.approx(expected, rel=0.05)
    assert found["n"] == 3 and found["n_without_minimum"] == 0


def test_curves_without_a_minimum_and_broken_ones_are_counted(points):
    predicted = np.where(points.shape == 0, -points.scale, points.structures.energy)
    predicted[points.shape == 1] = np.nan
    found = stable_distance_errors(points, predicted)
    assert found["n"] == 2 and found["n_without_minimum"] == 1 and found["n_nonfinite"] == 1
    assert found["mean"] == pytest.approx(0.5 * points.spacing[0] / 2, rel=0.01)


def test_energy_errors_by_hand():
    found = energy_errors([-9.0, -20.0, np.nan], [-10.0, -24.0, -1.0], [2, 4, 3])
    assert found["mae"] == {"mean": 2.5, "std": 1.5} and found["mse"]["mean"] == 8.5
    assert found["re"]["mean"] == pytest.approx((0.1 + 4 / 24) / 2)
    assert found["mae_per_atom"]["mean"] == 0.75
    assert found["n"] == 3 and found["n_nonfinite"] == 1


def test_what_is_not_known_is_counted_and_left_out():
    """A true energy that is missing, and one of 0, which has no relative error."""
    found = energy_errors([-9.0, 1.0, -2.0], [-10.0, 0.0, np.nan], [2, 1, 1])
    assert found["mae"]["mean"] == 1.0 and found["re"]["mean"] == pytest.approx(0.1)
    assert (found["n_without_truth"], found["n_zero_truth"], found["n_nonfinite"]) == (1, 1, 0)
    with pytest.raises(ValueError, match=r"predicted must have shape \(3,\), one for each point, got \(2,\)"):
        energy_errors([1.0, 2.0], [1.0, 2.0, 3.0], [1, 1, 1])


def test_a_shape_without_distance_or_truth_leaves_the_others(points):
    predicted = morse(points.scale, 1.02 + 0.01 * points.shape) - 100.0
    whole = stable_distance_errors(points, predicted)
    spacing = np.where(points.shape == 0, np.nan, points.spacing)
    found = stable_distance_errors(dataclasses.replace(points, spacing=spacing), predicted)
    assert (found["n"], found["n_without_spacing"]) == (2, 1) and found["mean"] > 0
    energy = np.where(points.shape == 1, np.nan, points.structures.energy)
    unknown = dataclasses.replace(points, structures=dataclasses.replace(points.structures, energy=energy))
    found = stable_distance_errors(unknown, predicted)
    assert (found["n"], found["n_without_truth"], found["n_nonfinite"]) == (2, 1, 0)
    order = np.random.default_rng(0).permutation(len(points))
    shuffled = stable_distance_errors(scaled.take(points, order), predicted[order])
    assert shuffled["mean"] == pytest.approx(whole["mean"], rel=1e-9)
    with pytest.raises(ValueError, match=r"predicted must have shape \(30,\), one .*, got \(29,\)"):
        stable_distance_errors(points, predicted[:-1])
    with pytest.raises(ValueError, match=r"points must be at different scales within a shape, got .* twice"):
        stable_distance_errors(scaled.take(points, [0, 0, 1, 2]), predicted[:4])


def test_any_energy_function(points):
    """One that gives the number of atoms; a Potential gets its reference energies added."""

    def count(params, graph):
        return params * graph.n_node.astype(np.float32) * graph.globals.mask

    assert np.array_equal(predict(count, 2.0, points), 2.0 * points.structures.n_atoms)
    assert judge(count, 2.0, points)["mae"]["mean"] > 100
    references = ((1, -10.0), (6, -20.0), (7, -30.0), (8, -40.0), (9, -50.0))
    model = make_potential(MessagePassingConfig(channels=4, n_basis=4, reference_energies=references))
    params = {"f_atom": 0.0}
    silent = type(model)(
        model.config, model.cutoff, model.init, lambda p, g: jnp.zeros(g.n_node.shape), model.atom_energies
    )
    table = dict(references)
    ends = np.cumsum(points.structures.n_atoms)
    expected = [sum(table[z] for z in part) for part in np.split(points.structures.species, ends[:-1])]
    np.testing.assert_allclose(predict(silent, params, points), expected)


def test_structures_whose_atoms_cannot_feel_each_other_are_refused(points):
    """Molecules for a model of metals, and molecules without bonds."""
    metals = make_potential(MessagePassingConfig(channels=4, n_basis=4, bond_types=("metallic",)))
    with pytest.raises(ValueError, match=r"points: \S+@0.9000: species and bonds must have a pair"):
        predict(metals, {}, points)
    bare = dataclasses.replace(
        points.structures, n_bonds=0 * points.structures.n_bonds, bonds=np.zeros((0, 3), int)
    )
    molecules = make_potential(MessagePassingConfig(channels=4, n_basis=4))
    with pytest.raises(ValueError, match="bonds must be given for a potential whose energy depends on them"):
        judge(molecules, {}, dataclasses.replace(points, structures=bare))


def test_an_empty_set_is_refused(points):
    potential = make_potential(MessagePassingConfig(channels=4, n_basis=4))
    with pytest.raises(ValueError, match="points must be one or more, got none"):
        judge(potential, {}, scaled.take(points, []))
