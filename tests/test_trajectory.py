"""Trajectories are read by others and survive a kill, and only the same simulation goes on."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import bulk, molecule
from known_surfaces import as_potential, diatomic, read, repulsive, simulate, springs

import jphys

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


def test_the_trajectory_is_read_by_ase(tmp_path):
    file = tmp_path / "new" / "run.extxyz"
    found = simulate(springs, diatomic(), steps=30, every=10, trajectory=file)
    frames = read(file)
    assert [frame.info["step"] for frame in frames] == [0, 10, 20, 30]
    for frame, potential in zip(frames, found.potential):
        assert frame.get_potential_energy() == pytest.approx(potential, rel=1e-5)
    forces = -(frames[-1].get_distance(0, 1) - 1.2)
    assert frames[-1].get_forces()[1, 2] == pytest.approx(forces, rel=1e-3)
    np.testing.assert_allclose(frames[-1].get_momenta(), found.atoms.get_momenta(), atol=1e-6)


def test_labels_of_a_data_set_do_not_become_results(tmp_path):
    """Energies, forces and stresses that a file left in `info` and `arrays`."""
    atoms = diatomic()
    atoms.info.update(energy=-7.0, stress=np.eye(3), free_energy=1.0, origin="my set")
    atoms.arrays["forces"] = np.full((2, 3), 9.0)
    simulate(springs, atoms, steps=2, every=1, trajectory=tmp_path / "run.extxyz")
    for frame in read(tmp_path / "run.extxyz"):
        assert frame.info["origin"] == "my set"
        assert set(frame.calc.results) == {"energy", "forces"}
        assert frame.get_potential_energy() != -7.0 and np.abs(frame.get_forces()).max() < 9.0


PROGRAM = """
import sys
sys.path.insert(0, sys.argv[1])
import known_surfaces as t
import jphys
from ase.build import bulk
atoms = bulk("Ar", "sc", a=3.5).repeat(3)
settings = {"steps": 200000, "every": 5, "dynamics": jphys.Dynamics(ensemble="nvt_langevin", dt=4.0)}
t.simulate(t.repulsive, atoms, trajectory=sys.argv[2], **settings)
"""


@pytest.mark.smoke
@pytest.mark.slow
def test_a_killed_run_goes_on_as_if_nothing_had_happened(tmp_path):
    """kill -9 in the middle; the continued run has the frames of an uninterrupted one, noise included."""
    atoms = bulk("Ar", "sc", a=3.5).repeat(3)
    settings = {"every": 5, "dynamics": jphys.Dynamics(ensemble="nvt_langevin", dt=4.0)}
    file = tmp_path / "run.extxyz"
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here.parent)}
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", PROGRAM, str(here), str(file)], env=environment
    )
    checkpoint = file.with_name(file.name + ".checkpoint.npz")
    deadline = time.monotonic() + 120
    while not (checkpoint.exists() and file.stat().st_size > 20000) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    with file.open("a") as out:
        out.write("27\nhalf a frame")  # as if the kill had come while it was written
    reached = 5 * (file.read_text().count("step=") + 4)
    found = simulate(repulsive, atoms, steps=reached, trajectory=file, resume=True, **settings)
    whole = simulate(repulsive, atoms, steps=reached, **settings)
    np.testing.assert_array_equal(found.step, whole.step)
    np.testing.assert_allclose(found.potential, whole.potential, rtol=1e-5)
    np.testing.assert_allclose(found.atoms.positions, whole.atoms.positions, atol=1e-4)
    assert [frame.info["step"] for frame in read(file)] == list(whole.step)


def test_a_run_killed_before_its_first_checkpoint_can_begin_again(tmp_path, monkeypatch):
    """The usual `resume=file.exists()` has to work wherever the kill comes, also between two files."""
    file = tmp_path / "run.extxyz"
    for owner, last in ((np, "savez"), (os, "replace")):

        def kill(*_, **__):
            raise KeyboardInterrupt

        with monkeypatch.context() as killed:
            killed.setattr(owner, last, kill)
            with pytest.raises(KeyboardInterrupt):
                simulate(springs, diatomic(), steps=2, every=1, trajectory=file, resume=file.exists())
    found = simulate(springs, diatomic(), steps=2, every=1, trajectory=file, resume=file.exists())
    assert [frame.info["step"] for frame in read(file)] == found.step.tolist() == [0, 1, 2]


def test_only_the_same_simulation_is_continued(tmp_path):
    file, crystal = tmp_path / "run.extxyz", bulk("Ar", "sc", a=3.5)
    potential = as_potential(lambda params, graph: repulsive(params["a"], graph))
    crystal.set_momenta([[0.1, 0.0, 0.0]])

    def go_on(potential, strength=1.0, atoms=crystal, steps=2, **settings):
        settings = {"steps": steps, "every": 1, "progress": False, "trajectory": file} | settings
        return jphys.simulate(potential, {"a": jnp.float32(strength)}, atoms, **settings)

    free, config = crystal.copy(), jphys.TransformerConfig(max_z=20)
    free.pbc = False
    go_on(potential)
    for name, change in {
        "parameters": {"strength": 2.0},
        "cutoff": {"potential": dataclasses.replace(potential, cutoff=4.9)},
        "config": {"potential": dataclasses.replace(potential, config=config)},
        "pbc": {"atoms": free},
    }.items():
        with pytest.raises(ValueError, match=f"the same .*{name}.*, got another in"):
            go_on(**{"potential": potential, "resume": True} | change)
    with pytest.raises(ValueError, match="steps must be at least 2, where the checkpoint is, got 1"):
        go_on(potential, steps=1, resume=True)
    assert go_on(potential, steps=4, resume=True).step.tolist() == [0, 1, 2, 3, 4]


def test_other_bonds_are_another_simulation(tmp_path):
    file, atoms = tmp_path / "run.extxyz", molecule("H2O")
    settings = {"steps": 1, "every": 1, "trajectory": file}
    simulate(springs, atoms, bonds=[(1, 0, 1), (0, 2, 1)], **settings)
    simulate(springs, atoms, bonds=[(0, 2, 1), (0, 1, 1)], resume=True, **settings)
    with pytest.raises(ValueError, match="the same bonds, got another in"):
        simulate(springs, atoms, bonds=[(0, 2, 1)], resume=True, **settings)
