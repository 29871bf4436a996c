"""ASE's optimisers, dynamics, constraints, NEB and vibrations on a jphys Calculator.

Molecules have the pretrained potential: what is measured are its own minima, barriers and frequencies, each
found in two ways or known from symmetry. How they compare with nature is another question (docs/log.md).
"""

import os

import ase
import jax
import numpy as np
import pytest
from ase import units
from ase.build import bulk, molecule
from ase.constraints import FixAtoms
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution, Stationary
from ase.md.verlet import VelocityVerlet
from ase.mep import NEB
from ase.optimize import BFGS, FIRE
from ase.vibrations import Vibrations

import jphys
from jphys.calculator import Calculator
from jphys.graph import from_ase


@pytest.fixture(scope="module")
def methanol(calculator) -> ase.Atoms:
    """At rest."""
    atoms = molecule("CH3OH", calculator=calculator)
    assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
    return atoms


@pytest.mark.parametrize("optimizer", [FIRE, BFGS])
def test_optimisers_find_the_minimum_again(calculator, methanol, optimizer):
    """Both from 0.05 Å of noise; a hundredth of an eV/Å left on a stiff bond is 0.5 mÅ."""
    atoms = methanol.copy()
    atoms.rattle(0.05, seed=0)
    atoms.calc = calculator
    before = atoms.get_potential_energy()
    assert optimizer(atoms, logfile=None).run(fmax=0.01, steps=200)
    assert before - atoms.get_potential_energy() > 0.1
    assert atoms.get_potential_energy() == pytest.approx(methanol.get_potential_energy(), abs=1e-3)
    bonds = [(0, 1), (0, 2), (1, 3), (0, 4), (0, 5)]
    found, expected = ([each.get_distance(*bond) for bond in bonds] for each in (atoms, methanol))
    np.testing.assert_allclose(found, expected, atol=3e-3)


def test_fixed_atoms_stay_and_the_rest_relaxes(calculator, methanol):
    """C and O held 0.1 Å too far apart, on the way to the minimum and in motion."""
    atoms = methanol.copy()
    atoms.set_distance(0, 1, methanol.get_distance(0, 1) + 0.1, fix=0)
    atoms.set_constraint(FixAtoms([0, 1]))
    atoms.calc = calculator
    held = atoms.positions[:2].copy()
    assert BFGS(atoms, logfile=None).run(fmax=0.01, steps=200)
    np.testing.assert_array_equal(atoms.positions[:2], held)
    free = atoms.get_forces(apply_constraint=False)
    assert np.linalg.norm(free[:2], axis=1).min() > 0.5  # they pull at each other
    assert np.linalg.norm(free[2:], axis=1).max() < 0.01
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    energy = total_energies(atoms, dt=0.25, steps=100)
    np.testing.assert_array_equal(atoms.positions[:2], held)
    assert np.linalg.norm(atoms.get_velocities()[2:]) > 0 and np.ptp(energy) < 1e-3


def total_energies(atoms, *, dt, steps, watch=lambda: None) -> np.ndarray:
    """Potential and kinetic energy (eV) at every step of velocity Verlet; dt in fs."""
    found = []

    def look():
        found.append(atoms.get_total_energy())
        watch()

    dynamics = VelocityVerlet(atoms, dt * units.fs)
    dynamics.attach(look)
    dynamics.run(steps)
    return np.array(found)


def test_a_molecule_keeps_its_total_energy(calculator, methanol):
    """200 steps from 300 K, where 0.1 eV go to and fro; Verlet's own error at 0.25 fs is 0.4 meV."""
    atoms = methanol.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
    Stationary(atoms)
    kinetic = []
    energy = total_energies(
        atoms, dt=0.25, steps=200, watch=lambda: kinetic.append(atoms.get_kinetic_energy())
    )
    assert np.ptp(kinetic) > 0.1 and np.ptp(energy) < 1e-3


@pytest.mark.slow
def test_a_crystal_keeps_its_total_energy_while_neighbours_change(fresh, counting):
    """Verlet's error falls by four as the time step halves: no force jumps where a neighbour comes or goes.

    100 fs, twice. The third shell is just outside the cutoff: the number of edges grows by a third and then
    changes all the time, which costs two or three compilations for all 300 steps.
    """
    potential, traces = counting(fresh[0])
    calculator, counts, fluctuation = Calculator(potential, fresh[1]), set(), []
    calculator.programs.shapes.known.append((40, 600))  # tight: it has to grow on the way
    for dt, steps in ((1.0, 100), (0.5, 200)):
        atoms = bulk("Al", a=4.12, cubic=True).repeat(2)
        atoms.calc = calculator
        MaxwellBoltzmannDistribution(atoms, temperature_K=300, rng=np.random.default_rng(0))
        Stationary(atoms)
        energy = total_energies(
            atoms,
            dt=dt,
            steps=steps,
            watch=lambda atoms=atoms: counts.add(len(from_ase(atoms, cutoff=potential.cutoff).senders)),
        )
        fluctuation.append(energy.std())
    assert len(counts) > 20 and max(counts) > 1.25 * 576
    assert 2 <= len(traces) <= 3
    assert fluctuation[0] / fluctuation[1] == pytest.approx(4, abs=0.5)
    assert fluctuation[1] < 1e-4  # 3 µeV per atom, while the kinetic energy grows from 1.2 to 6.5 eV


@pytest.mark.slow
def test_ammonia_turns_inside_out(calculator):
    """NEB between mirror images: a symmetric path over a planar saddle, in nature 0.25 eV high."""
    start = molecule("NH3", calculator=calculator)
    assert BFGS(start, logfile=None).run(fmax=1e-3, steps=100)
    end = start.copy()
    end.positions[:, 2] *= -1
    images = [start, *(start.copy() for _ in range(5)), end]
    for image in images:
        image.calc = calculator
    path = NEB(images, climb=True, allow_shared_calculator=True, method="improvedtangent")
    path.interpolate()
    assert FIRE(path, logfile=os.devnull).run(fmax=0.01, steps=200)  # pyright: ignore[reportArgumentType]
    energy = np.array([image.get_potential_energy() for image in images])
    np.testing.assert_allclose(energy, energy[::-1], atol=1e-5)
    assert np.all(np.diff(energy[:4]) > 0) and 0.12 < energy[3] - energy[0] < 0.4
    saddle = images[3]
    np.testing.assert_allclose(saddle.positions[:, 2], saddle.positions[0, 2], atol=1e-4)
    np.testing.assert_allclose(
        [saddle.get_distance(0, i) for i in (1, 2, 3)], saddle.get_distance(0, 1), atol=1e-3
    )
    np.testing.assert_allclose(
        [saddle.get_angle(i, 0, j) for i, j in ((1, 2), (2, 3), (3, 1))], 120, atol=0.1
    )
    # A planar molecule stays planar: its forces have no component out of the plane.
    planar = start.copy()
    planar.positions[:, 2] = 0.0
    planar.calc = calculator
    assert BFGS(planar, logfile=None).run(fmax=1e-3, steps=100)
    assert planar.get_potential_energy() == pytest.approx(energy[3], abs=1e-4)


def frequencies(atoms, folder) -> np.ndarray:
    """ASE's, ascending, in 1/cm; imaginary ones negative. Five-point differences of the forces."""
    found = Vibrations(atoms, name=str(folder), delta=0.005, nfree=4)
    found.run()
    energies = np.asarray(found.get_energies())
    return np.sort(np.real(energies) - np.imag(energies)) / units.invcm


def test_the_saddle_of_ammonia_has_one_imaginary_frequency(calculator, tmp_path):
    counts = {}
    for name in ("bent", "planar"):
        atoms = molecule("NH3", calculator=calculator)
        if name == "planar":
            atoms.positions[:, 2] = 0.0
        assert BFGS(atoms, logfile=None).run(fmax=1e-3, steps=100)
        counts[name] = int((frequencies(atoms, tmp_path / name) < -50).sum())
    assert counts == {"bent": 0, "planar": 1}


@pytest.mark.slow
def test_vibrations_are_those_of_the_hessian(pretrained, methanol, tmp_path):
    """3N − 6 frequencies to 2 cm⁻¹ of jphys.hessian, of which ASE's difference formula takes one."""
    found = frequencies(methanol, tmp_path / "vibrations")
    potential, params = pretrained
    n = 3 * len(methanol)
    matrix = jax.jit(jphys.hessian(potential))(params, from_ase(methanol))
    mass = np.repeat(methanol.get_masses(), 3)
    squares = np.linalg.eigvalsh(np.asarray(matrix, float).reshape(n, n) / np.sqrt(mass[:, None] * mass))
    # √(eV/(Å²·amu)) as an energy: ħω, then 1/cm.
    scale = units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
    expected = np.sign(squares) * np.sqrt(np.abs(squares)) * scale
    np.testing.assert_allclose(found[6:], expected[6:], atol=2.0)
    assert np.abs(found[:6]).max() < 15 and np.abs(expected[:6]).max() < 15
    assert found[6] == pytest.approx(295, abs=60)  # the torsion, in nature
