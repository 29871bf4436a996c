"""Simulations of slabs and wires, and beside fixed atoms."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc100
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength
from ase.md.verlet import VelocityVerlet
from known_surfaces import EMT_CUTOFF, as_potential, copper, diatomic, read, repulsive, simulate, springs

import jphys
from jphys.md.system import System, fixed_atoms
from jphys.md.vacuum import vacuum_box
from jphys.models import ModelConfig

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


def slab(hold=True) -> Atoms:
    """Copper (100), three layers, moving; the lowest held. Its cell says nothing of the vacuum."""
    atoms = fcc100("Cu", (2, 2, 3), a=3.6, orthogonal=True)
    atoms.pbc = [True, True, False]
    atoms.positions += np.random.default_rng(0).normal(0, 0.05, atoms.positions.shape)
    atoms.set_momenta(np.random.default_rng(1).normal(0, 2.0, atoms.positions.shape))
    if hold:
        atoms.set_constraint(FixAtoms(np.flatnonzero(atoms.get_tags() == 3)))
        atoms.set_momenta(atoms.get_momenta())
    return atoms


@pytest.mark.parametrize("hold", [True, False])
def test_a_slab_moves_as_in_ase(hold):
    """Effective medium theory and ASE's own integrator, 20 steps of 2 fs."""
    ours = jphys.simulate(
        as_potential(copper, EMT_CUTOFF),
        jnp.float32(1.0),
        slab(hold),
        steps=20,
        every=20,
        dynamics=jphys.Dynamics(dt=2.0),
        progress=False,
    )
    theirs = slab(hold)
    theirs.calc = EMT()
    VelocityVerlet(theirs, 2.0 * units.fs).run(20)
    np.testing.assert_allclose(ours.atoms.positions, theirs.positions, atol=2e-4)
    np.testing.assert_allclose(ours.atoms.get_forces(), theirs.get_forces(), atol=5e-3)
    assert ours.temperature[-1] == pytest.approx(theirs.get_temperature(), rel=0.02 if hold else 0.2)
    assert ours.atoms.pbc.tolist() == [True, True, False]
    np.testing.assert_array_equal(ours.atoms.cell.array, theirs.cell.array)
    assert ours.box is not None and ours.box[2, 2] > 2 * EMT_CUTOFF + np.ptp(theirs.positions[:, 2])
    assert np.ptp(ours.conserved) < 0.02


def test_atoms_that_leave_a_surface_find_a_larger_box(tmp_path):
    """An atom on its way up at 100 Å/ps: it stays alone, and flies on as it began."""
    atoms = Atoms("Cu2", [[0, 0, 0], [0.1, 0, 4.9]], cell=[8, 8, 0], pbc=[True, True, False])
    speed = 0.1 / jphys.units.FEMTOSECOND  # of 0.1 Å/fs
    atoms.set_momenta([[1e-12, 0, 0], [0, 0, speed * atoms.get_masses()[1]]])
    settings = {"every": 50, "dynamics": jphys.Dynamics(dt=1.0)}
    found = simulate(repulsive, atoms, steps=300, **settings)
    first = vacuum_box(atoms.cell.array, atoms.pbc, atoms.positions, 5.5)
    assert found.box is not None and found.box[2, 2] > 35.0 > first[2, 2]
    assert found.atoms.positions[1, 2] > 30.0
    np.testing.assert_allclose(found.conserved, found.conserved[0], atol=1e-5)
    file = tmp_path / "a.extxyz"
    simulate(repulsive, atoms, steps=200, trajectory=file, **settings)
    resumed = simulate(repulsive, atoms, steps=300, trajectory=file, resume=True, **settings)
    np.testing.assert_allclose(resumed.conserved, found.conserved, atol=1e-5)
    np.testing.assert_allclose(resumed.atoms.positions, found.atoms.positions, atol=1e-4)
    again = simulate(repulsive, atoms, steps=300, trajectory=file, resume=True, **settings)
    assert again.box is not None and again.box[2, 2] > 35.0 and again.n_reruns == 0
    molecule = Atoms("Cu2", atoms.positions, momenta=atoms.get_momenta())
    assert simulate(repulsive, molecule, steps=1).box is None


def test_a_box_with_vacuum_keeps_what_is_periodic():
    """Skewed planes and lines; the rest stands upright on them."""
    cell, positions = [[3.0, 0, 0], [1.0, 4, 0], [9, 9, 9]], np.array([[0, 0, 0], [0, 0, 2.5]])
    found = vacuum_box(cell, [True, True, False], positions, 5.5)
    np.testing.assert_allclose(found[:2], cell[:2])
    np.testing.assert_allclose(found @ found[2], [0, 0, 19.0**2], atol=1e-9)
    wire = vacuum_box([[0, 0, 0], [0, 4.0, 0], [0, 0, 0]], [False, True, False], positions, 5.5)
    np.testing.assert_allclose(np.sort(np.linalg.norm(wire, axis=1)), [4.0, 16.0, 19.0])
    np.testing.assert_allclose(wire @ wire.T, np.diag(np.diag(wire @ wire.T)), atol=1e-9)
    with pytest.raises(ValueError, match="cell must have independent vectors where it is periodic"):
        vacuum_box(np.zeros((3, 3)), [True, False, False], positions, 5.5)


@pytest.mark.parametrize("ensemble", ["nve", "nvt_nose_hoover", "nvt_langevin"])
def test_fixed_atoms_stay_and_hold_no_heat(ensemble, tmp_path):
    """Bit by bit; the thermostats bring those that are free to their temperature."""
    corners = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]])
    atoms = Atoms("C4", 1.2 / 8**0.5 * corners, constraint=FixAtoms([1]))
    file = tmp_path / "tetrahedron.extxyz"
    dynamics = jphys.Dynamics(ensemble=ensemble, dt=1.0, temperature=300.0, friction=0.05)
    found = simulate(springs, atoms, steps=2000, every=10, dynamics=dynamics, seed=3, trajectory=file)
    frames = read(file)
    for frame in (found.atoms, *frames):
        np.testing.assert_allclose(frame.positions[1], atoms.positions[1], atol=1e-7)
        assert (frame.get_momenta()[1] == 0).all()
    kinetic = [frame.get_kinetic_energy() for frame in frames]
    np.testing.assert_allclose(found.temperature, np.array(kinetic) / (4.5 * jphys.units.KELVIN), rtol=1e-3)
    if ensemble != "nve":
        assert found.temperature[40:].mean() == pytest.approx(300.0, rel=0.2)
    if ensemble != "nvt_langevin":
        assert np.ptp(found.conserved) < 1e-3


def test_atoms_are_counted_once_and_momenta_drawn_where_only_fixed_ones_have_some():
    atoms = Atoms("C3", [[0, 0, 0], [0, 0, 1.2], [0, 1.0, 0.6]])
    atoms.set_momenta([[0, 0, 0], [0, 0, 0], [5.0, 0, 0]])
    atoms.set_constraint([FixAtoms([2]), FixAtoms([-1])])
    assert fixed_atoms(atoms).tolist() == [2]
    found = simulate(springs, atoms, steps=1)
    assert found.temperature[0] > 30.0
    assert found.kinetic[0] == pytest.approx(3 * found.temperature[0] * jphys.units.KELVIN, rel=1e-4)


def test_a_run_beside_fixed_atoms_is_continued_as_such(tmp_path):
    atoms, file = diatomic(0.2), tmp_path / "a.extxyz"
    atoms.set_constraint(FixAtoms([0]))
    simulate(springs, atoms, steps=4, every=2, trajectory=file)
    longer = simulate(springs, atoms, steps=8, every=2, trajectory=file, resume=True)
    assert longer.step.tolist() == [0, 2, 4, 6, 8]
    atoms.set_constraint()
    with pytest.raises(ValueError, match="the same fixed atoms, got another"):
        simulate(springs, atoms, steps=9, trajectory=file, resume=True)


def test_frames_of_an_extended_run_have_multiples_of_every(tmp_path):
    file = tmp_path / "a.extxyz"
    simulate(springs, diatomic(), steps=50, every=20, trajectory=file)
    longer = simulate(springs, diatomic(), steps=90, every=20, trajectory=file, resume=True)
    assert longer.step.tolist() == [0, 20, 40, 50, 60, 80, 90]


def test_what_a_model_says_of_its_energies_makes_no_other_simulation():
    """Checkpoints of before it said so are continued."""
    for config in (jphys.TransformerConfig(zero_point=True), ModelConfig(zero_point=False)):
        potential = dataclasses.replace(as_potential(springs), config=config)
        system = System(potential, jnp.float32(1.0), diatomic(), jphys.Dynamics(), 0.5, 1.25, None)
        told = system.identity()["config"]
        assert "zero_point" not in told and told.count("=") == len(dataclasses.fields(config)) - 1


def test_what_cannot_be_held(tmp_path):
    def refused(match, atoms, **settings):
        with pytest.raises(ValueError, match=match):
            simulate(springs, atoms, steps=1, **settings)

    atoms, crystal = diatomic(), Atoms("Cu", cell=[9, 9, 9], pbc=True)
    atoms.set_constraint(FixBondLength(0, 1))
    refused("constraints must be FixAtoms, got", atoms)
    atoms.set_constraint(FixAtoms([0, 1]))
    refused("constraints must leave at least one atom free", atoms)
    atoms.set_constraint(FixAtoms([2]))
    refused("constraints must be of atoms 0 to 1, got 2", atoms)
    pair = crystal.repeat((2, 1, 1))
    pair.set_constraint(FixAtoms([0]))
    press = jphys.Dynamics(ensemble="npt_nose_hoover")
    refused("npt_nose_hoover with fixed atoms, got 1 of them", pair, dynamics=press)
    crystal.pbc = [True, True, False]
    refused("npt_nose_hoover for a molecule or a slab", crystal, dynamics=press)
