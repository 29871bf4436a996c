"""Replicas in one loop: each is what it would be alone."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from known_surfaces import as_potential, attractive, diatomic, read, repulsive, springs

import jphys
from jphys import ops
from jphys.md.replicas import together_of
from jphys.md.system import System

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


def replicas(energy, atoms, **settings):
    """`jphys.simulate_replicas` on a surface of strength 1."""
    return jphys.simulate_replicas(as_potential(energy), jnp.float32(1.0), atoms, progress=False, **settings)


def alone(energy, atoms, **settings):
    return jphys.simulate(as_potential(energy), jnp.float32(1.0), atoms, progress=False, **settings)


def moving():
    """Two atoms on a spring; momenta are drawn."""
    atoms = diatomic(0.1)
    atoms.set_momenta(np.zeros((2, 3)))
    return atoms


@pytest.mark.parametrize("ensemble", ["nve", "nvt_nose_hoover", "nvt_langevin"])
def test_each_is_what_it_would_be_alone(ensemble):
    seeds, temperatures = [5, 6, 5], [300.0, 300.0, 600.0]
    given = moving()
    given.set_momenta(np.ones((2, 3)))  # replicas draw their own
    dynamics = jphys.Dynamics(ensemble=ensemble, dt=0.5)
    together = replicas(
        springs, given, steps=50, every=20, seeds=seeds, temperatures=temperatures, dynamics=dynamics
    )
    for found, seed, temperature in zip(together, seeds, temperatures):
        single = jphys.Dynamics(ensemble=ensemble, dt=0.5, temperature=temperature)
        expected = alone(springs, moving(), steps=50, every=20, seed=seed, dynamics=single)
        assert found.status == "finished" and found.step.tolist() == [0, 20, 40, 50]
        np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, atol=2e-5)
        np.testing.assert_allclose(found.temperature, expected.temperature, rtol=1e-3)
        np.testing.assert_allclose(found.conserved, expected.conserved, atol=1e-5)
        np.testing.assert_allclose(found.atoms.get_forces(), expected.atoms.get_forces(), atol=1e-4)


def test_crystals_whose_box_moves():
    """Cold and hot argon of soft spheres."""
    crystal = bulk("Ar", "fcc", a=5.2, cubic=True).repeat((2, 2, 2))
    temperatures, settings = [30.0, 900.0], {"steps": 40, "every": 20, "skin": 0.4, "capacity": 1.0}
    dynamics = jphys.Dynamics(ensemble="npt_nose_hoover", dt=4.0)
    together = replicas(
        repulsive, crystal, seeds=[0, 1], temperatures=temperatures, dynamics=dynamics, **settings
    )
    for seed, (found, temperature) in enumerate(zip(together, temperatures)):
        single = jphys.Dynamics(ensemble="npt_nose_hoover", dt=4.0, temperature=temperature)
        expected = alone(repulsive, crystal, seed=seed, dynamics=single, **settings)
        np.testing.assert_allclose(found.potential, expected.potential, rtol=1e-4)
        np.testing.assert_allclose(found.volume, expected.volume, rtol=1e-5)
        np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, atol=2e-3)
    assert together[0].volume[-1] > 1.01 * crystal.get_volume()  # something happened


def test_lists_that_overflow():
    """A loose block that falls together: what roomy lists give, replica by replica."""
    block = bulk("Ar", "sc", a=3.6).repeat((3, 6, 6))
    block.pbc = False
    block.rattle(0.2, seed=0)
    settings = {"steps": 60, "every": 20}
    together = replicas(
        attractive,
        block,
        seeds=[0, 1],
        temperatures=[1.0, 30.0],
        capacity=1.0,
        dynamics=jphys.Dynamics(dt=3.0),
        **settings,
    )
    assert together[0].n_reruns > 0
    for seed, (found, temperature) in enumerate(zip(together, (1.0, 30.0))):
        single = jphys.Dynamics(dt=3.0, temperature=temperature)
        expected = alone(attractive, block, seed=seed, capacity=8.0, dynamics=single, **settings)
        assert np.ptp(expected.potential) > 0.3 * abs(expected.potential[0])  # something happened
        np.testing.assert_allclose(found.potential, expected.potential, rtol=1e-3)
        np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, atol=5e-3)


def test_where_atoms_leave_a_surface_all_get_a_larger_box():
    """One of two hot pairs of soft spheres flies apart first."""
    slab = Atoms("Cu2", [[0, 0, 0], [0.1, 0, 4.9]], cell=[8, 8, 0], pbc=[True, True, False])
    settings = {"steps": 300, "every": 50, "dynamics": jphys.Dynamics(dt=2.0)}
    together = replicas(repulsive, slab, seeds=[3, 4], temperatures=[10.0, 400000.0], **settings)
    heights = [found.box[2, 2] for found in together if found.box is not None]
    assert heights[0] == heights[1] > 30.0
    for seed, found in zip((3, 4), together):
        single = jphys.Dynamics(dt=2.0, temperature=(10.0, 400000.0)[seed - 3])
        expected = alone(repulsive, slab, seed=seed, **settings | {"dynamics": single})
        np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, atol=1e-3)


def test_wires_share_a_box_in_which_none_sees_an_image():
    """Two that grow in different directions: no energy is left where the atoms have flown apart."""
    wire = Atoms("Cu2", [[0, 0, 0], [0.1, 2, 2]], cell=[8, 0, 0], pbc=[True, False, False])
    settings = {"steps": 120, "every": 30, "dynamics": jphys.Dynamics(dt=2.0)}
    for found in replicas(repulsive, wire, seeds=[188, 183], temperatures=[40000.0, 40000.0], **settings):
        assert found.box is not None and found.n_reruns > 0
        np.testing.assert_allclose(found.conserved, found.conserved[0], rtol=2e-3)
        assert found.potential[-1] == 0.0


def test_one_that_explodes_does_not_stop_the_others(tmp_path):
    """With lists an atom outruns the skin before it is nowhere."""
    crystal = bulk("Ar", "fcc", a=5.2, cubic=True).repeat((2, 2, 2))
    settings = {"steps": 20, "every": 10, "seeds": [0, 1], "temperatures": [30.0, 3e7]}
    found = replicas(repulsive, crystal, trajectory=tmp_path / "a", strict=False, **settings)
    assert [one.status for one in found] == ["finished", "too fast"]
    assert found[0].step.tolist() == [0, 10, 20]
    with pytest.raises(RuntimeError, match="replica 1, after step 0: a step must not move atoms farther"):
        replicas(repulsive, crystal, **settings)


def brittle(params, graph):
    """Springs that break beyond 1.4 Å: no number then."""
    far = jnp.any((ops.edge_distances(graph) > 1.4) & graph.edges.mask)
    return jnp.where(far, jnp.nan, 1.0) * springs(params, graph)


def test_one_that_breaks_stops_alone(tmp_path):
    settings = {"steps": 60, "every": 20, "seeds": [1, 2], "temperatures": [30.0, 30000.0]}
    cold, hot = replicas(brittle, moving(), trajectory=tmp_path / "a", strict=False, **settings)
    assert (cold.status, hot.status) == ("finished", "nonfinite")
    assert cold.step.tolist() == [0, 20, 40, 60] and len(hot.step) < 4
    assert np.isfinite(hot.atoms.positions).all() and np.isfinite(hot.potential).all()
    assert [len(read(tmp_path / "a" / f"replica-00{i}.extxyz")) for i in (0, 1)] == [4, len(hot.step)]
    with pytest.raises(jphys.md.NonFinite, match="momenta of replica 1 must be finite, got NaN"):
        replicas(brittle, moving(), **settings)


def test_a_run_goes_on_as_if_nothing_had_happened(tmp_path):
    settings = {"seeds": [0, 1], "every": 10, "dynamics": jphys.Dynamics(ensemble="nvt_langevin")}
    whole = replicas(springs, moving(), steps=40, trajectory=tmp_path / "whole", **settings)
    replicas(springs, moving(), steps=20, trajectory=tmp_path / "parts", **settings)
    parts = replicas(springs, moving(), steps=40, trajectory=tmp_path / "parts", resume=True, **settings)
    for found, expected in zip(parts, whole):
        np.testing.assert_array_equal(found.step, expected.step)
        np.testing.assert_allclose(found.atoms.positions, expected.atoms.positions, atol=1e-6)
    with pytest.raises(ValueError, match="steps must be at least 40, where a checkpoint is, got 30"):
        replicas(springs, moving(), steps=30, trajectory=tmp_path / "parts", resume=True, **settings)


def test_other_seeds_and_temperatures_are_the_same_program():
    potential, params = as_potential(springs), jnp.float32(1.0)
    for seeds, temperatures in (([0, 1], [300.0, 400.0]), ([7, 8], [50.0, 60.0])):
        jphys.simulate_replicas(
            potential, params, moving(), steps=4, seeds=seeds, temperatures=temperatures, progress=False
        )
        single = jphys.Dynamics(temperature=temperatures[0])
        jphys.simulate(potential, params, moving(), steps=4, dynamics=single, progress=False)
    motion = System(potential, params, moving(), jphys.Dynamics(), 0.5, 1.25, None).motion
    programs: tuple[Any, ...] = (motion.init, motion.run, together_of(motion).run)
    assert [program._cache_size() for program in programs] == [1, 1, 1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"seeds": []}, "seeds must hold at least one, got none"),
        ({"seeds": [0, 1], "temperatures": [300.0]}, "temperatures must be one per seed, 2, got 1"),
        ({"seeds": [0], "temperatures": [-1.0]}, "temperature must not be negative, got -1.0"),
        ({"seeds": [0], "resume": True}, "resume needs a trajectory"),
        ({"seeds": [0], "steps": 0}, "steps must be at least 1, got 0"),
    ],
)
def test_what_no_replicas_are(settings, message):
    with pytest.raises(ValueError, match=message):
        replicas(springs, moving(), **({"steps": 1} | settings))
