"""BFGS from the prior's Hessian: its update by textbook, its minima beside those of FIRE and of ASE."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, molecule
from known_surfaces import as_potential, per_graph

import jphys
from jphys import bfgs, lanes, md, ops, shapes
from jphys.bfgs import Bfgs, start_inverses, updated
from jphys.graph import from_ase, make_graph, with_positions
from jphys.md import relaxing
from jphys.modes import prior_hessian
from jphys.prior import make_prior
from jphys.relaxation import Relaxation
from jphys.reliability.surface import perturb
from jphys.shapes import Shapes

NAMES = ("CH3CH2OH", "C6H6", "CH3CONH2", "H2O", "C2H2", "isobutane")


def free_rows(graphs, n_rows):
    return np.array([np.arange(n_rows) < len(graph.nodes.species) for graph in graphs])


@pytest.mark.usefixtures("x64")
def test_the_update_is_that_of_the_textbook(rng):
    """The inverse of B + y·yᵀ/yᵀs − B·s·(B·s)ᵀ/sᵀB·s, which has B·s = y."""
    a = rng.normal(size=(6, 6))
    b, s = a @ a.T + np.eye(6), rng.normal(size=6)
    y = (b + 0.3 * np.eye(6)) @ s
    found = updated(jnp.asarray(np.linalg.inv(b)), s, y, b @ s)
    direct = b + np.outer(y, y) / (y @ s) - np.outer(b @ s, b @ s) / (s @ b @ s)
    np.testing.assert_allclose(found, np.linalg.inv(direct), atol=1e-10)
    np.testing.assert_allclose(found @ y, s, atol=1e-10)


@pytest.mark.usefixtures("x64")
@pytest.mark.parametrize("curvature", [-3.0, 0.0, 0.05])
def test_a_surface_that_curves_down_leaves_it_positive_definite(rng, curvature):
    a = rng.normal(size=(5, 5))
    b, s = a @ a.T + np.eye(5), rng.normal(size=5)
    found = updated(jnp.asarray(np.linalg.inv(b)), s, curvature * s, b @ s)
    assert np.linalg.eigvalsh(found).min() > 0
    assert s @ np.linalg.inv(found) @ s == pytest.approx(max(0.2 * s @ b @ s, curvature * s @ s), rel=1e-6)


def test_nothing_is_learned_from_no_step_or_no_answer():
    inverse = jnp.eye(3)
    zero, force = jnp.zeros(3), jnp.ones(3)
    np.testing.assert_array_equal(updated(inverse, zero, force, zero), inverse)
    np.testing.assert_array_equal(updated(inverse, force, jnp.nan * force, force), inverse)


def test_it_starts_from_the_prior_of_each_size():
    """In the place of its atoms, nothing beyond them and on fixed ones; a multiple of 1 without a prior."""
    graphs = [from_ase(molecule(name)) for name in ("CH3OH", "H2O")]
    free = free_rows(graphs, 14)
    free[0, 2] = False
    inverses = start_inverses(graphs, free, bfgs=Bfgs(shift=1.5))
    assert inverses.shape == (2, 42, 42)
    for i, (species, positions) in enumerate((g.nodes.species, g.nodes.positions) for g in graphs):
        hessian = jax.jit(prior_hessian)(positions, make_prior(species, positions))
        loose = np.flatnonzero(np.repeat(free[i], 3))
        expected = np.linalg.inv(np.asarray(hessian)[np.ix_(loose, loose)] + 1.5 * np.eye(len(loose)))
        np.testing.assert_allclose(inverses[i][np.ix_(loose, loose)], expected, rtol=1e-3, atol=1e-4)
        held = np.setdiff1d(np.arange(42), loose)
        assert not inverses[i][held].any() and not inverses[i][:, held].any()
    pair = make_graph([6, 6], np.array([[0, 0, 0], [1.5, 0, 0]], np.float32))
    lost = with_positions(pair, np.array([[0, 0, 0], [np.nan, 0, 0]], np.float32))
    crystal = make_graph([29], np.zeros((1, 3), np.float32), cell=2.5 * np.eye(3), cutoff=3.0)
    for graph in (lost, crystal):
        (found,) = start_inverses([graph], free_rows([graph], 2), bfgs=Bfgs(unknown=50.0))
        held = np.repeat(free_rows([graph], 2)[0], 3)
        np.testing.assert_allclose(found, np.diag(held / 50.0), rtol=1e-6)


def test_molecules_come_to_rest_where_fire_brings_them_in_a_third_of_the_steps(pretrained):
    """Perturbed by 0.1 Å, to 1e-3 eV/Å; one molecule holds an atom."""
    starts = perturb([from_ase(molecule(name)) for name in NAMES], 0.1, key=jax.random.key(3))
    held = np.arange(len(starts[0].nodes.species)) == 2
    settings = {"fmax": 1e-3, "fixed": [held, *[None] * 5], "max_steps": 1000}
    potential, params = pretrained
    slow = jphys.relax(potential, params, starts, method="fire", **settings)
    quick = jphys.relax(potential, params, starts, **settings)
    assert (slow.method, quick.method) == ("fire", "bfgs")
    assert slow.converged.all() and quick.converged.all() and (quick.fmax < 1e-3).all()
    assert 3 * np.median(quick.n_steps) < np.median(slow.n_steps)
    assert (quick.energy < slow.energy + 1e-3).all()
    np.testing.assert_array_equal(
        quick.graphs[0].nodes.positions[2], np.asarray(starts[0].nodes.positions)[2]
    )


@pytest.mark.usefixtures("x64")
def test_it_runs_in_float64_too():
    """A Morse pair, far enough away to begin once more on its way."""
    pair = make_graph([6, 6], np.array([[0, 0, 0], [1.0, 0.2, 0]]))

    def morse(params, graph):
        x = jnp.exp(-2.0 * (ops.edge_distances(graph) - 1.2))
        return per_graph(jnp.where(graph.edges.mask, 0.5 * params * (x**2 - 2 * x), 0.0), graph)

    found = jphys.relax(as_potential(morse), jnp.float64(4.0), [pair], fmax=1e-8, max_steps=60)
    assert found.method == "bfgs" and found.converged.all()
    assert found.graphs[0].nodes.positions.dtype == np.float64
    assert np.linalg.norm(np.diff(found.graphs[0].nodes.positions, axis=0)) == pytest.approx(1.2, abs=1e-8)


def test_a_structure_far_from_rest_begins_once_more(pretrained, monkeypatch):
    """Ethanol, 0.2 Å away: the prior is asked at the start and where forces have fallen; all steps count."""
    asked = []

    def noted(graphs, free, **settings):
        asked.append(graphs)
        return start_inverses(graphs, free, **settings)

    monkeypatch.setattr(bfgs, "start_inverses", noted)
    bfgs.bfgs_stepper.cache_clear()
    potential, params = pretrained
    graph = from_ase(molecule("CH3CH2OH"))
    (start,) = perturb([graph], 0.2, key=jax.random.key(1))
    settings: dict = {"fmax": 0.01, "max_steps": 200}
    again, once = (
        jphys.relax(potential, params, [start], bfgs=Bfgs(rough=rough), **settings) for rough in (6.0, np.inf)
    )
    assert again.converged.all() and once.converged.all()
    assert [len(graphs) for graphs in asked] == [1, 1, 1]
    (first,), (second,), (other,) = (g for g in asked)
    np.testing.assert_array_equal(first.nodes.positions, other.nodes.positions)
    forces = jphys.energy_and_forces(potential)(params, second)[1]
    assert 0.01 < np.linalg.norm(forces, axis=1).max() < 6.0
    short = jphys.relax(potential, params, [start], max_steps=int(again.n_steps[0]) - 1)
    assert short.status[0] == "max_steps" and short.n_steps[0] == again.n_steps[0] - 1
    bfgs.bfgs_stepper.cache_clear()


def test_a_crystal_without_a_prior_comes_to_rest_too():
    """Lennard-Jones argon, strained and shaken, beside FIRE."""

    def pairs(params, graph):
        r = jnp.where(graph.edges.mask, ops.edge_distances(graph), 5.0)
        x, fades = params / r, jnp.maximum(1 - (r / 5.0) ** 2, 0.0) ** 3  # C² at the cutoff
        return per_graph(8 * fades * (x**12 - x**6), graph)

    atoms = bulk("Ar", cubic=True, a=3.9) * (2, 2, 2)  # 2.9 Å apart at rest
    atoms.rattle(0.05, seed=1)
    start, potential = from_ase(atoms, cutoff=5.0), as_potential(pairs)
    settings = {"relax_cell": True, "fmax": 0.005, "max_steps": 400}
    ends = [jphys.relax(potential, jnp.float32(2.6), [start], method=m, **settings) for m in ("fire", "bfgs")]
    assert all(end.converged.all() for end in ends)
    assert ends[1].energy[0] == pytest.approx(ends[0].energy[0], abs=2e-3)


def test_who_is_relaxed_by_what(pretrained):
    """Auto: BFGS for molecules on a Potential; FIRE for crystals, functions, and where it has settings."""
    potential, water = pretrained[0], from_ase(molecule("H2O"))
    crystal = from_ase(bulk("Cu"), cutoff=3.0)

    def taken(*graphs, potential=potential, method: relaxing.Method = "auto", fire=None, bfgs=None):
        return relaxing._stepper(potential, graphs, method, fire, bfgs).name

    assert [taken(water), taken(), taken(water, bfgs=Bfgs())] == ["bfgs"] * 3
    assert taken(crystal, method="bfgs") == taken(crystal, bfgs=Bfgs()) == "bfgs"
    assert taken(water, crystal) == taken(water, potential=potential.energy) == "fire"
    assert taken(water, fire=md.Fire()) == taken(water, method="fire") == "fire"
    large = make_graph(np.ones(600, int), np.arange(1800.0).reshape(600, 3), cutoff=1.0)
    assert taken(large) == "fire"
    with pytest.raises(ValueError, match="graphs must have at most 512 atoms for bfgs, got 600"):
        taken(large, method="bfgs")


def test_many_go_in_parts(pretrained, monkeypatch):
    """By room for 16 matrices; the results are in the order of the graphs."""
    names = ("H2O", "CH3CH2OH", "CH4", "H2O") * 5
    graphs = [from_ase(molecule(name)) for name in names]
    settings: dict = {"max_steps": 60, "fmaxes": (0.05, 0.01), "n_lanes": 2}
    potential, params = pretrained
    whole = md.relax_to(potential, params, graphs, **settings)
    monkeypatch.setattr(shapes, "MATRICES", 16 * 4 * 105**2)
    for one, same in zip(md.relax_to(potential, params, graphs, **settings), whole, strict=True):
        assert isinstance(one, Relaxation) and one.method == same.method
        assert [len(g.nodes.species) for g in one.graphs] == [3, 9, 5, 3] * 5
        np.testing.assert_allclose(one.energy, same.energy, atol=1e-4)
        np.testing.assert_array_equal(one.status, same.status)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "newton"}, "method must be one of auto, fire, bfgs, got 'newton'"),
        ({"method": "bfgs", "fire": md.Fire()}, "fire must not be given beside bfgs"),
        ({"bfgs": Bfgs(), "fire": md.Fire()}, "fire must not be given beside bfgs"),
        ({"method": "fire", "bfgs": Bfgs()}, "bfgs must not be given with the method fire"),
    ],
)
def test_what_is_refused(pretrained, settings, message):
    potential, params = pretrained
    with pytest.raises(ValueError, match=message):
        jphys.relax(potential, params, [from_ase(molecule("H2O"))], **settings)


@pytest.mark.parametrize("n_graphs", [1, 16, 17, 300, 5000])
@pytest.mark.parametrize(("n_atoms", "images"), [(3, 1), (33, 1), (128, 1), (400, 1), (9, 7), (70, 7)])
def test_matrices_that_wait_are_bounded(n_graphs, n_atoms, images):
    """By the sizes to which lanes round; sixteen are always let in."""
    graph = make_graph(np.ones(n_atoms, int), np.arange(3.0 * n_atoms).reshape(-1, 3), cutoff=1.0)
    part = min(shapes.matrices_at_once(n_atoms, images=images), n_graphs)
    shape = lanes._shape(Shapes(sum), [graph] * part * images, images, 8, 1)
    bytes_ = 4 * shape.members * (3 * images * shape.n_max) ** 2
    assert bytes_ <= shapes.MATRICES or part <= 16


@pytest.mark.parametrize("name", ["max_step", "shift", "unknown", "rough"])
def test_settings_are_positive(name):
    with pytest.raises(ValueError, match=f"{name} must be positive, got 0"):
        Bfgs(**{name: 0.0})
