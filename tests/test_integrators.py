"""jax-md's integrators and minimisers on both energies, in float32 and float64, against numpy."""

import functools
from itertools import islice
from types import SimpleNamespace

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.neighborlist import neighbor_list
from jax_md import minimize, simulate, space

import jphys
from jphys import ops, units
from jphys.models.potential import Potential

# jax-md asks for float64 sums, which JAX gives only where it is enabled.
pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")

CUTOFF, DT, KT, PRESSURE, MASS = 4.0, 0.05, 0.02, 0.008, 20.0
SHORT = {"chain_length": 2, "chain_steps": 1, "sy_steps": 1}  # thermostats that compile in less time
CELL = np.array([[4.0, 0.0, 0.0], [1.2, 3.6, 0.0], [-0.5, 0.8, 5.0]])  # smaller than twice the cutoff
ATOMS = Atoms("Ar3", np.random.default_rng(3).uniform(0, 3, (3, 3)), cell=CELL, pbc=True)
START = ATOMS.cell.scaled_positions(ATOMS.positions)
MOMENTA = np.random.default_rng(4).normal(size=(3, 3)) * 0.5
PATHS = ("energy_fn", "energy_neighbor_list")


def spheres(params, graph):
    """ε(1 − d/c)³ per pair: soft spheres, C² at the cutoff."""
    inside = jnp.maximum(1.0 - ops.edge_distances(graph) / CUTOFF, 0.0) * graph.edges.mask
    return ops.sum_over_graphs(ops.sum_at_receivers(0.5 * params * inside**3, graph), graph)


SPHERES = Potential(
    config=SimpleNamespace(reference_energies=(), max_z=118),
    cutoff=CUTOFF,
    init=lambda key, graph: {},
    energy=spheres,
    atom_energies=spheres,
)


def by_numpy(R, cell=CELL):
    """Forces (3, 3) and dE/dε (3, 3) of the spheres at fractional positions, over the pairs of ASE."""
    atoms = Atoms("Ar3", R @ cell, cell=cell, pbc=True)
    receivers, vectors, distances = neighbor_list("iDd", atoms, CUTOFF)
    slope = -3.0 / CUTOFF * (1.0 - distances / CUTOFF) ** 2 / distances
    forces = np.zeros((3, 3))
    np.add.at(forces, receivers, slope[:, None] * vectors)
    return forces, 0.5 * np.einsum("e,ei,ej->ij", slope, vectors, vectors)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield jnp.dtype(request.param)


@pytest.fixture(params=PATHS)
def surface(request, dtype):
    return spheres_by(request.param, dtype)


@functools.cache
def spheres_by(path, dtype):
    return made(path, SPHERES, jnp.ones((), dtype), dtype)


def made(path, potential, params, dtype):
    """(energy, neighbor or None, R, box, shift) of the three atoms."""
    box, R = jnp.asarray(CELL.T, dtype), jnp.asarray(START, dtype)
    _, shift = space.periodic_general(box, fractional_coordinates=True)
    if path == "energy_fn":
        return jphys.energy_fn(potential, params, ATOMS.numbers, box=box), None, R, box, shift
    lists, energy = jphys.energy_neighbor_list(potential, params, ATOMS.numbers, box)
    return energy, lists.allocate(R), R, box, shift


def listed(neighbor):
    return {} if neighbor is None else {"neighbor": neighbor}


def run(apply, state, neighbor, steps, box_of=lambda state: {}):
    """State and list after some steps; the list has to hold."""

    def body(_, carry):
        state, neighbor = carry
        new = apply(state, **listed(neighbor))
        # Of fire_descent, jax-md keeps constants in the smallest type that holds them.
        new = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.asarray(old).dtype), new, state)
        return new, neighbor and neighbor.update(new.position, **box_of(new))

    loop = jax.jit(lambda state, neighbor: jax.lax.fori_loop(0, steps, body, (state, neighbor)))
    state, neighbor = loop(state, neighbor)
    assert neighbor is None or not bool(neighbor.did_buffer_overflow)
    return state, neighbor


def precise(dtype):
    """Rounding of 100 steps: a few hundred times that of one number."""
    return 500 * float(jnp.finfo(dtype).eps)


@pytest.mark.parametrize("name", ["nve", "nvt_langevin"])
def test_trajectories_are_those_of_numpy(surface, dtype, name):
    """Velocity Verlet over 100 steps. Langevin without friction moves half a step, twice: the same."""
    energy, neighbor, R, _, shift = surface
    arguments = {"nve": (DT,), "nvt_langevin": (DT, KT, 0.0)}[name]
    init, apply = getattr(simulate, name)(energy, shift, *arguments)
    momenta = jnp.asarray(MOMENTA, dtype)
    state = init(
        jax.random.key(0), R, kT=KT, mass=jnp.asarray(MASS, dtype), momenta=momenta, **listed(neighbor)
    )
    state, _ = run(apply, state, neighbor, 100)
    position, momentum = START.copy(), MOMENTA.copy()
    forces, _ = by_numpy(position)
    for _ in range(100):
        momentum += 0.5 * DT * forces
        position += DT * momentum / MASS @ np.linalg.inv(CELL)
        forces, _ = by_numpy(position)
        momentum += 0.5 * DT * forces
    assert state.position.dtype == state.momentum.dtype == state.force.dtype == dtype
    assert np.abs(position - START).max() > 0.05
    np.testing.assert_allclose(state.position % 1.0, position % 1.0, atol=precise(dtype))
    np.testing.assert_allclose(state.momentum, momentum, atol=precise(dtype))


def test_nose_hoover_keeps_its_invariant(surface, dtype):
    energy, neighbor, R, _, shift = surface
    init, apply = simulate.nvt_nose_hoover(energy, shift, DT, KT)
    momenta = jnp.asarray(MOMENTA, dtype)
    state = init(jax.random.key(0), R, mass=jnp.asarray(MASS, dtype), momenta=momenta, **listed(neighbor))
    invariant = jax.jit(lambda s, n: simulate.nvt_nose_hoover_invariant(energy, s, KT, **listed(n)))
    later, final = run(apply, state, neighbor, 200)
    change = float(simulate.kinetic_energy(later) - simulate.kinetic_energy(state))
    assert later.position.dtype == dtype and abs(change) > 0.005
    assert float(invariant(later, final)) == pytest.approx(float(invariant(state, neighbor)), abs=1e-5)


def test_a_barostat_feels_the_analytic_virial(surface, dtype):
    """The box's momentum after a step from rest: ½·dt of the forces on it before and after,
    (1 + 1/N)·Σp²/m − tr dE/dε − 3·P·V, and a thermostat that takes less than a thousandth."""
    energy, neighbor, R, box, shift = surface
    dt = 0.01
    chains = {"barostat_kwargs": SHORT, "thermostat_kwargs": SHORT}
    init, apply = simulate.npt_nose_hoover(energy, shift, dt, PRESSURE, KT, **chains)
    momenta, mass = jnp.asarray(MOMENTA, dtype), jnp.asarray(MASS, dtype)
    state = init(jax.random.key(0), R, box, mass=mass, momenta=momenta, **listed(neighbor))
    state = apply(state, **listed(neighbor))
    _, virial = by_numpy(START)
    force = 4 / 3 * (MOMENTA**2).sum() / MASS - np.trace(virial) - 3 * PRESSURE * ATOMS.get_volume()
    assert state.position.dtype == state.box_momentum.dtype == dtype
    assert float(state.box_momentum) == pytest.approx(dt * force, rel=2e-3)


def test_fire_comes_to_rest(surface, dtype):
    energy, neighbor, R, _, shift = surface
    init, apply = minimize.fire_descent(energy, shift, dt_start=0.2, dt_max=0.8)
    state, _ = run(apply, init(R, **listed(neighbor)), neighbor, 300)
    forces, _ = by_numpy(np.asarray(state.position, float))
    assert state.position.dtype == dtype
    assert np.abs(by_numpy(START)[0]).max() > 0.1 and np.abs(forces).max() < 1e-5


def test_fire_of_the_box_finds_the_pressure(surface, dtype):
    """At rest: no forces, and the mean stress is the pressure; no shear, which soft spheres do not resist."""
    energy, neighbor, R, box, shift = surface
    init, apply = minimize.fire_descent_box(
        energy, shift, 0.2, 0.5, scalar_pressure=PRESSURE, hydrostatic_strain=True
    )
    state = init(R, box, **listed(neighbor))
    state, _ = run(apply, state, neighbor, 250, lambda s: {"box": s.box})
    cell = np.asarray(state.box, float).T
    forces, virial = by_numpy(np.asarray(state.position, float), cell)
    assert state.position.dtype == state.box.dtype == dtype
    assert np.abs(forces).max() < 1e-5
    assert np.trace(virial) / 3 / np.linalg.det(cell) == pytest.approx(-PRESSURE, abs=1e-5)


MODEL = jphys.make_potential(
    jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4, cutoff=CUTOFF, max_z=18)
)


def fifty_steps(name, surface):
    """Energy after 50 steps as a function of the parameters."""
    energy, start, R, _, shift = surface

    def last(params):
        if name == "fire_descent":
            init, apply = minimize.fire_descent(energy, shift, dt_start=0.1, dt_max=0.2)
            state = init(R, params=params, **listed(start))
        else:
            init, apply = simulate.nve(energy, shift, DT)
            momenta = jnp.asarray(MOMENTA)
            state = init(jax.random.key(0), R, KT, mass=MASS, momenta=momenta, params=params, **listed(start))

        def body(carry, _):
            state, neighbor = carry
            new = apply(state, params=params, **listed(neighbor))  # pyright: ignore[reportCallIssue]
            new = jax.tree.map(lambda new, old: jnp.asarray(new, jnp.asarray(old).dtype), new, state)
            return (new, neighbor and neighbor.update(new.position)), None

        (state, neighbor), _ = jax.lax.scan(body, (state, start), None, length=50)
        return energy(state.position, params=params, **listed(neighbor))

    return jax.jit(jax.value_and_grad(last))


def random_parameters(potential):
    """In float64, and so large that every edge matters."""
    if potential is SPHERES:
        return jnp.ones(())
    params = jax.jit(MODEL.init)(jax.random.key(0), jphys.graph.from_ase(ATOMS, cutoff=CUTOFF))
    return jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), params)


CASES = [
    pytest.param("nve", "energy_neighbor_list", MODEL, id="nve", marks=pytest.mark.slow),
    pytest.param("fire_descent", "energy_fn", SPHERES, id="fire_descent"),
]


@pytest.mark.parametrize(("name", "path", "potential"), CASES)
def test_gradients_flow_through_fifty_steps_into_the_parameters(x64, name, path, potential):
    """Finite, and those of central differences along one direction."""
    params = random_parameters(potential)
    compute = fifty_steps(name, made(path, potential, params, jnp.dtype("float64")))
    value, gradient = compute(params)
    assert value.dtype == jnp.float64
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    direction = jax.tree.map(lambda x: jax.random.normal(jax.random.key(x.size + 1), x.shape), params)
    slope = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(gradient), jax.tree.leaves(direction)))
    h = 1e-5
    plus, minus = (
        compute(jax.tree.map(lambda p, d, s=s: p + s * h * d, params, direction))[0] for s in (1, -1)
    )
    assert abs(float(slope)) > 0.01
    assert float(slope) == pytest.approx(float((plus - minus) / (2 * h)), rel=1e-6)


def soft(atoms, **settings):
    return jphys.simulate(SPHERES, jnp.ones(()), atoms, progress=False, **settings)


def test_simulate_in_float64_is_of_second_order(x64):
    """Half the time step, a quarter of the error of the energy, here below what float32 resolves."""
    atoms = ATOMS.copy()
    atoms.set_momenta(MOMENTA)
    error = []
    for dt, steps in ((0.2, 400), (0.1, 800)):
        found = soft(atoms, steps=steps, every=steps // 20, dynamics=jphys.Dynamics(dt=dt))
        error.append(np.abs(found.conserved - found.conserved[0]).max())
    assert error[0] < 1e-6
    assert error[0] / error[1] == pytest.approx(4.0, rel=0.05)


def test_a_resumed_run_in_float64_is_the_same(x64, tmp_path):
    """At constant pressure, to rounding: the checkpoint keeps every digit."""
    file = tmp_path / "run.extxyz"
    dynamics = jphys.Dynamics(ensemble="npt_nose_hoover", dt=2.0, temperature=100.0, pressure=1.0)
    soft(ATOMS, steps=20, every=10, dynamics=dynamics, trajectory=file)
    found = soft(ATOMS, steps=40, every=10, dynamics=dynamics, trajectory=file, resume=True)
    whole = soft(ATOMS, steps=40, every=10, dynamics=dynamics)
    np.testing.assert_allclose(found.atoms.positions, whole.atoms.positions, rtol=1e-12)
    np.testing.assert_allclose(found.volume[-1], whole.volume[-1], rtol=1e-12)
    assert whole.volume[-1] != pytest.approx(ATOMS.get_volume(), rel=1e-6)


@pytest.mark.slow
def test_the_mean_pressure_is_the_one_asked_for(tmp_path):
    """8 soft spheres, centre of mass at rest, under 5 GPa: (2K·N/(N−1) − tr dE/dε)/3V over the pairs of ASE.

    The pressure swings by 0.45 GPa with the box, which forgets itself in about 1 ps: the mean of 20 ps is
    known to 0.05 GPa. The kinetic part alone is 0.3 GPa.
    """
    file, atoms = tmp_path / "run.extxyz", bulk("Ar", "sc", a=2.4).repeat(2)
    dynamics = jphys.Dynamics(ensemble="npt_nose_hoover", dt=8.0, temperature=300.0, pressure=5.0)
    soft(atoms, steps=3000, every=10, dynamics=dynamics, trajectory=file)
    found = []
    for frame in islice(ase.io.iread(file), 50, None):
        assert isinstance(frame, Atoms)
        distances = neighbor_list("d", frame, CUTOFF)
        virial = -1.5 / CUTOFF * np.sum((1.0 - distances / CUTOFF) ** 2 * distances)
        kinetic = 2.0 * frame.get_kinetic_energy() * 8 / 7
        found.append((kinetic - virial) / (3.0 * frame.get_volume()) / units.GIGAPASCAL)
    assert np.mean(found) == pytest.approx(5.0, abs=0.2)
