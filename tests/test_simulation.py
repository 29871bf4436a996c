"""Dynamics on surfaces whose motion is known, and reruns after overflow."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from known_surfaces import attractive, diatomic, per_graph, read, repulsive, simulate, springs

import jphys
from jphys import md, ops, units
from jphys.md.system import resting_rotations, thermal_momenta

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")


def test_a_harmonic_diatomic_swings_with_its_period():
    """T = 2π√(μ/k), k = 1 eV/Å²; the energy swings between ½·k·x² and 0, and its sum stays."""
    mass = diatomic().get_masses()
    period = 2 * np.pi * np.sqrt(mass.prod() / mass.sum()) / units.FEMTOSECOND  # fs
    steps = 400
    found = simulate(springs, diatomic(), steps=steps, every=10, dynamics=jphys.Dynamics(dt=period / steps))
    assert found.status == "finished" and len(found.step) == 41 and found.time[-1] == pytest.approx(period)
    assert found.atoms.get_distance(0, 1) == pytest.approx(1.25, abs=1e-4)
    assert found.potential[[0, 20, 40]] == pytest.approx(0.5 * 0.05**2, rel=1e-2)
    assert found.potential[10] == pytest.approx(0.0, abs=1e-6) and found.kinetic[10] == pytest.approx(
        0.00125, rel=1e-2
    )
    assert np.ptp(found.conserved) < 1e-6
    np.testing.assert_allclose(found.conserved, found.potential + found.kinetic, rtol=1e-6)


def test_first_momenta_have_the_temperature_and_no_drift():
    """Mixed masses, where jax-md's own are too hot; over 400 draws, to four standard errors."""
    mass = molecule("CH3CH2OH").get_masses()
    drawn = np.array([thermal_momenta(mass, 0.0259, seed) for seed in range(400)])
    kinetic = (drawn**2 / (2 * mass[:, None])).sum(axis=(1, 2))
    freedom = 3 * len(mass) - 3
    expected = 0.5 * freedom * 0.0259
    assert kinetic.mean() == pytest.approx(expected, rel=4 * np.sqrt(2 / freedom / 400))
    np.testing.assert_allclose(drawn.sum(axis=1), 0, atol=1e-12)
    assert thermal_momenta([1.0], 0.0259, 0).shape == (1, 3)


def test_what_does_not_rotate_has_fewer_degrees_of_freedom():
    """Water stretched, linear CO₂ stretched, water set spinning about an axis, and a crystal."""
    water, line = molecule("H2O"), molecule("CO2")
    for atoms in (water, line):
        assert resting_rotations(atoms) == 0  # momenta will be drawn
        atoms.set_momenta(atoms.positions - atoms.get_center_of_mass())
    assert (resting_rotations(water), resting_rotations(line)) == (3, 2)
    box = water.copy()
    box.set_cell([9.0, 9.0, 9.0])
    box.pbc = True
    water.set_momenta(water.get_momenta() + 0.01 * np.cross([0.0, 0.0, 1.0], water.positions))
    assert (resting_rotations(water), resting_rotations(box)) == (0, 0)


@pytest.mark.parametrize("ensemble", ["nve", "nvt_nose_hoover", "nvt_langevin"])
def test_the_motion_of_the_whole_is_no_heat(ensemble):
    """A crystal that flies: but for Langevin, whose noise stops it, its temperature is that of its inside."""
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    mass = atoms.get_masses()[:, None]
    inner = thermal_momenta(atoms.get_masses(), 300 * units.KELVIN, 1)
    atoms.set_momenta(inner + mass * [0.01, 0.0, 0.02])
    kinetic = {False: (inner**2 / (2 * mass)).sum(), True: atoms.get_kinetic_energy()}
    counted, freedom = kinetic[ensemble == "nvt_langevin"], 24 if ensemble == "nvt_langevin" else 21
    found = simulate(repulsive, atoms, steps=1, every=1, dynamics=jphys.Dynamics(ensemble=ensemble, dt=0.01))
    assert found.temperature[0] == pytest.approx(2 * counted / (freedom * units.KELVIN), rel=1e-4)
    assert found.kinetic[0] == pytest.approx(kinetic[ensemble != "nvt_nose_hoover"], rel=1e-4)
    if ensemble != "nvt_langevin":
        drift = atoms.get_momenta().sum(axis=0) * (ensemble == "nve")
        np.testing.assert_allclose(found.atoms.get_momenta().sum(axis=0), drift, atol=1e-4)


def test_a_drift_does_not_hide_that_a_molecule_does_not_rotate():
    atoms = molecule("H2O")
    atoms.set_momenta(0.01 * (atoms.positions - atoms.get_center_of_mass()))
    assert resting_rotations(atoms) == 3
    atoms.set_momenta(np.cross([0.0, 0.0, 1e-3], atoms.positions) + 50 * atoms.get_masses()[:, None])
    assert resting_rotations(atoms) == 0


@pytest.mark.parametrize("ensemble", ["nvt_nose_hoover", "nvt_langevin"])
def test_thermostats_reach_their_temperature(ensemble):
    """8 soft spheres in a small box, from 30 K to 300 K; 24 for 21 degrees of freedom would be 14 % off."""
    atoms = bulk("Ar", "sc", a=3.5).repeat(2)
    atoms.set_momenta(thermal_momenta(atoms.get_masses(), 30 * units.KELVIN, 1))
    dynamics = jphys.Dynamics(ensemble=ensemble, dt=4.0, friction=0.02)
    found = simulate(repulsive, atoms, steps=12_000, every=40, dynamics=dynamics)
    assert found.temperature[0] < 60
    assert found.temperature[50:].mean() == pytest.approx(300, rel=0.07)
    assert np.isnan(found.conserved).all() == (ensemble == "nvt_langevin")
    if ensemble == "nvt_nose_hoover":
        assert np.ptp(found.conserved) < 0.05 * np.ptp(found.potential + found.kinetic)


@pytest.mark.slow
def test_constant_pressure_finds_the_volume():
    """Soft spheres under 5 GPa: the box shrinks past what its first list can hold, down to many images."""
    atoms = bulk("Ar", "sc", a=3.9).repeat(3)
    dynamics = jphys.Dynamics(ensemble="npt_nose_hoover", dt=2.0, temperature=50, pressure=5.0)
    atoms.set_momenta(thermal_momenta(atoms.get_masses(), 50 * units.KELVIN, 0))
    settings = {"every": 20, "dynamics": dynamics}
    found = simulate(repulsive, atoms, steps=600, **settings)
    roomy = simulate(repulsive, atoms, steps=600, capacity=6.0, skin=1.0, **settings)
    assert roomy.n_reruns < found.n_reruns  # one step outran its skin, as the box shrank; none overflowed
    np.testing.assert_allclose(found.volume, roomy.volume, rtol=1e-5)
    np.testing.assert_allclose(found.potential, roomy.potential, rtol=1e-4)
    assert found.volume[0] == pytest.approx(atoms.get_volume(), rel=1e-5)
    assert found.volume[-1] < 0.8 * found.volume[0] and found.n_reruns > 0
    assert np.ptp(found.conserved) < 0.02 * np.ptp(found.potential)
    assert found.atoms.get_volume() == pytest.approx(found.volume[-1], rel=1e-5)
    again = found.atoms.copy()
    graph = jphys.graph.from_ase(again, cutoff=5.0)
    assert float(repulsive(1.0, graph)[0]) == pytest.approx(found.potential[-1], rel=1e-4)


def test_atoms_without_forces_stay_in_place_while_the_box_changes():
    """In units of the lattice vectors; at pressure 0 the box would stay, under 1 GPa it shrinks.

    All fly together at first: a motion of the centre of mass that the thermostat would take for none.
    """
    atoms = bulk("Ar", "sc", a=5.0).repeat((3, 2, 2))
    atoms.positions += 0.3 * atoms.cell.array.sum(axis=0)
    atoms.set_momenta(np.tile([0.4, 0.0, 0.8], (12, 1)))
    dynamics = jphys.Dynamics(ensemble="npt_nose_hoover", dt=1.0, temperature=300.0, pressure=1.0)
    found = simulate(lambda p, graph: 0.0 * repulsive(p, graph), atoms, steps=40, every=40, dynamics=dynamics)
    assert found.volume[-1] < 0.999 * found.volume[0]
    before, after = (a.cell.scaled_positions(a.positions) for a in (atoms, found.atoms))
    np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.slow
def test_a_step_beyond_the_skin_is_refused():
    atoms = Atoms("Ar120", np.random.default_rng(2).uniform(-11, 11, (120, 3)))
    with pytest.raises(RuntimeError, match=r"smaller dt than 2000.0 fs or a larger skin"):
        simulate(repulsive, atoms, steps=3, every=3, skin=0.1, dynamics=jphys.Dynamics(dt=2000.0))


@pytest.mark.slow
def test_a_collapse_gives_what_a_large_list_gives():
    """A dilute cloud falls together and overflows its list; the trajectory is that of a roomy one."""
    rng = np.random.default_rng(2)
    atoms = Atoms("Ar120", rng.uniform(-11, 11, (120, 3)))
    atoms.set_momenta(np.full((120, 3), 1e-12))
    settings = {"steps": 300, "every": 50, "dynamics": jphys.Dynamics(dt=2.0)}
    tight = simulate(attractive, atoms, capacity=1.0, **settings)
    roomy = simulate(attractive, atoms, capacity=30.0, **settings)
    assert tight.n_reruns > 0 and roomy.n_reruns == 0
    assert tight.potential[-1] < 2 * tight.potential[0] < 0  # it did collapse
    np.testing.assert_allclose(tight.potential, roomy.potential, rtol=1e-3)
    np.testing.assert_allclose(tight.atoms.positions, roomy.atoms.positions, atol=2e-2)


def collapsing() -> Atoms:
    """A loose block at rest that falls together."""
    atoms = bulk("Ar", "sc", a=3.6).repeat((3, 6, 6))
    atoms.pbc = False
    atoms.rattle(0.2, seed=0)
    atoms.set_momenta(np.full((108, 3), 1e-12))
    return atoms


def colliding() -> Atoms:
    """Two blocks that fly at each other at 0.06 Å/fs, out of each other's reach at first."""
    atoms = bulk("Ar", "sc", a=2.6).repeat((3, 6, 6))
    atoms.pbc = False
    left = atoms.positions[:, 0] < 3.5
    atoms.positions[~left, 0] += 3.0
    speed = np.where(left, 0.03, -0.03)[:, None] * [1.0, 0.0, 0.0] / units.FEMTOSECOND
    atoms.set_momenta(speed * atoms.get_masses()[:, None])
    return atoms


@pytest.mark.parametrize(
    ("start", "energy"),
    [pytest.param(collapsing, attractive, marks=pytest.mark.slow), (colliding, repulsive)],
)
def test_a_list_that_overflows_gives_what_a_roomy_one_gives(start, energy):
    settings = {"steps": 60, "every": 10, "dynamics": jphys.Dynamics(dt=3.0)}
    tight = simulate(energy, start(), capacity=1.0, **settings)
    roomy = simulate(energy, start(), capacity=8.0, **settings)
    assert tight.n_reruns > 0 and roomy.n_reruns == 0
    assert np.ptp(roomy.potential) > 0.3 * abs(roomy.potential[0])  # something happened
    np.testing.assert_allclose(tight.potential, roomy.potential, rtol=1e-4)
    np.testing.assert_allclose(tight.atoms.positions, roomy.atoms.positions, atol=2e-3)


@pytest.mark.parametrize("in_forces", [True, False])
def test_a_state_that_is_not_finite_stops_with_step_and_time(tmp_path, in_forces):
    def cliff(params, graph):
        distances = ops.edge_distances(graph)
        bad = jnp.where(distances > 1.4, jnp.nan, 0.0)  # of the energy alone: its derivative is 0
        if in_forces:
            bad = 1e-6 * jnp.log(jnp.maximum(1.4 - distances, 0.0))
        pairs = (-0.5 * distances + bad) * graph.edges.mask
        return per_graph(jnp.where(graph.edges.mask, pairs, 0.0), graph)

    file = tmp_path / "run.extxyz"
    with pytest.raises(md.NonFinite, match=r"after step \d+, [\d.]+ fs"):
        simulate(cliff, diatomic(), steps=500, every=5, trajectory=file)
    frames = read(file)
    assert len(frames) > 1 and all(np.isfinite(frame.positions).all() for frame in frames)
    quiet = simulate(cliff, diatomic(), steps=500, every=5, strict=False)
    assert quiet.status == "nonfinite" and np.isfinite(quiet.atoms.positions).all()
    assert len(quiet.step) == len(frames)


def test_a_start_that_is_not_finite_has_a_status_too(tmp_path):
    def nowhere(params, graph):
        return jnp.nan * springs(params, graph)

    settings = {"steps": 10, "trajectory": tmp_path / "run.extxyz"}
    with pytest.raises(md.NonFinite, match="got NaN or infinity at the start"):
        simulate(nowhere, diatomic(), **settings)
    found = simulate(nowhere, diatomic(), strict=False, **settings)
    assert found.status == "nonfinite" and found.step.tolist() == [0] and np.isnan(found.potential).all()
    np.testing.assert_allclose(found.atoms.positions, diatomic().positions, atol=1e-6)
    assert not list(tmp_path.iterdir())


def test_bad_arguments_are_named(tmp_path):
    def refused(match, atoms=None, **settings):
        with pytest.raises(ValueError, match=match):
            simulate(springs, diatomic() if atoms is None else atoms, **{"steps": 1, **settings})

    half = diatomic()
    half.pbc = [True, False, False]
    broken = diatomic()
    broken.positions[0, 0] = np.nan
    refused("atoms must hold at least one atom", atoms=Atoms())
    refused("cell must have independent vectors where it is periodic", atoms=half)
    refused("positions must be finite", atoms=broken)
    refused("initial charges must be zero", atoms=Atoms("HF", diatomic().positions, charges=[1, -1]))
    refused("initial magnetic moments must be", atoms=Atoms("HF", diatomic().positions, magmoms=[1, 0]))
    refused("steps must be at least 1, got 0", steps=0)
    refused("skin must be positive, got 0.0", skin=0.0)
    refused("resume needs a trajectory", resume=True)
    titled = diatomic()
    titled.info["title"] = "two\nlines"
    refused("info must hold values of one line", atoms=titled)
    left = Atoms("Ar", cell=[[0, 5, 0], [5, 0, 0], [0, 0, 5]], pbc=True)
    refused("cell must be right-handed", atoms=left, dynamics=jphys.Dynamics(ensemble="npt_nose_hoover"))
    file = tmp_path / "c.extxyz"
    simulate(springs, diatomic(), steps=2, every=1, trajectory=file)
    other = diatomic()
    other.set_masses(np.array([2.0, 19.0]))  # pyright: ignore[reportArgumentType]
    refused("the same masses, got another", atoms=other, trajectory=file, resume=True)
    faster = jphys.Dynamics(dt=1.0)
    refused("the same dynamics, got another", dynamics=faster, trajectory=file, resume=True)
    file.write_text("")
    refused("got a shorter", trajectory=file, resume=True)
    refused("every must be at least 1, got 0", every=0)
    refused("npt_nose_hoover for a molecule", dynamics=jphys.Dynamics(ensemble="npt_nose_hoover"))
    refused("trajectory must end in .extxyz", trajectory=tmp_path / "a.xyz")
    refused("resume needs the file", trajectory=tmp_path / "a.extxyz", resume=True)
    (tmp_path / "b.extxyz").write_text("")
    refused("trajectory must not exist yet", trajectory=tmp_path / "b.extxyz")
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"ensemble": "nvt"}, "ensemble must be one of nve, nvt_nose_hoover"),
        ({"dt": 0.0}, "dt must be positive, got 0.0"),
        ({"friction": -1.0}, "friction must be positive, got -1.0"),
        ({"temperature": -1.0}, "temperature must not be negative, got -1.0"),
        ({"ensemble": "nvt_nose_hoover", "temperature": 0.0}, "temperature must be positive for nvt_nose"),
        ({"pressure": 1.0}, "pressure must be 0 for nve, got 1.0"),
        ({"pressure": float("nan")}, "pressure must be finite, got nan"),
    )
    for settings, message in wrong:
        with pytest.raises(ValueError, match=message):
            jphys.Dynamics(**settings)


def test_one_atom_moves_straight():
    atoms = Atoms("Ar", [[0.0, 0, 0]], momenta=[[1.0, 0, 0]])
    found = simulate(springs, atoms, steps=10, every=10, dynamics=jphys.Dynamics(dt=1.0))
    expected = 10 * units.FEMTOSECOND / atoms.get_masses()[0]
    np.testing.assert_allclose(found.atoms.positions, [[expected, 0, 0]], rtol=1e-5)
