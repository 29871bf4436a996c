"""Molecular dynamics in chunks under jit, with a trajectory on disk that survives a kill."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, get_args

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.singlepoint import SinglePointCalculator
from jax_md import quantity
from jax_md import simulate as integrators
from tqdm import tqdm

from jphys import units
from jphys.md.energies import energy_fn
from jphys.md.neighbor_list import energy_neighbor_list
from jphys.md.trajectory import Trajectory

Ensemble = Literal["nve", "nvt_nose_hoover", "nvt_langevin", "npt_nose_hoover"]
AHEAD = 3.0  # how much farther an atom may move in a step than its fastest component of velocity says
DENSE = 100  # atoms; free molecules up to this size see all pairs and need no list


@dataclasses.dataclass(frozen=True)
class Dynamics:
    """Which motion is simulated.

    Raises:
        ValueError: for an unknown ensemble or a value that no simulation can have.
    """

    ensemble: Ensemble = "nve"
    """nve, nvt_nose_hoover, nvt_langevin or npt_nose_hoover, the integrators of jax-md."""
    dt: float = 0.5
    """Time step, fs; 0.5 where hydrogen moves."""
    temperature: float = 300.0
    """K; of the thermostat, and of the first velocities where the atoms have none."""
    pressure: float = 0.0
    """GPa, for npt."""
    friction: float = 0.01
    """1/fs, for Langevin."""

    def __post_init__(self):
        if self.ensemble not in get_args(Ensemble):
            raise ValueError(
                f"ensemble must be one of {', '.join(get_args(Ensemble))}, got {self.ensemble!r}"
            )
        for name in ("dt", "friction"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, got {getattr(self, name)}")
        for name in ("dt", "friction", "temperature", "pressure"):
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")
        if not self.temperature >= 0:
            raise ValueError(f"temperature must not be negative, got {self.temperature}")
        if self.temperature == 0 and self.ensemble.endswith("nose_hoover"):
            raise ValueError(f"temperature must be positive for {self.ensemble}, got {self.temperature}")


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What a simulation gave; every array has one entry per frame, the start included."""

    atoms: ase.Atoms  # the last finite structure, with momenta
    status: str  # "finished" or "nonfinite"
    step: np.ndarray
    time: np.ndarray  # fs
    potential: np.ndarray  # eV
    kinetic: np.ndarray  # eV
    temperature: np.ndarray  # K
    conserved: np.ndarray  # eV; NaN for Langevin, which conserves nothing
    volume: np.ndarray  # Å³, 0 for molecules
    n_reruns: int  # chunks run again because the neighbour list had overflowed


COLUMNS = ("step", "time", "potential", "kinetic", "temperature", "conserved", "volume")


class NonFinite(RuntimeError):
    """A position or momentum is not finite; the message names step and time."""


def simulate(
    potential,
    params,
    atoms: ase.Atoms,
    *,
    steps: int,
    dynamics: Dynamics = Dynamics(),
    every: int = 20,
    trajectory: str | Path | None = None,
    resume: bool = False,
    seed: int = 0,
    skin: float = 0.5,
    capacity: float = 1.25,
    bonds=None,
    progress: bool = True,
    strict: bool = True,
) -> Simulation:
    """Molecular dynamics by jax-md of a molecule, a cluster or a crystal.

    Runs `every` steps at a time in one compiled loop. Where the neighbour list overflows, or atoms moved
    farther in a step than it allows for, those steps are run again from the state before them with a new
    list: no step is kept that was computed on missing pairs.

    Args:
        potential: a Potential.
        params: its parameters.
        atoms: periodic in all directions or none; its momenta are the first ones unless all are zero.
        steps: time steps from the start of the trajectory.
        dynamics: ensemble, time step, temperature, pressure.
        every: steps between two frames.
        trajectory: extxyz file to stream the frames to, which ASE reads; a checkpoint lies beside it.
        resume: go on from the checkpoint of the trajectory.
        seed: of first momenta and Langevin noise.
        skin, capacity, bonds: as in `energy_neighbor_list`.
        progress: show a progress bar.
        strict: raise where the state is not finite; else stop with status "nonfinite".

    Returns:
        Simulation.

    Raises:
        NonFinite: naming step and time; the trajectory keeps all frames before.
        RuntimeError: where a single step moves atoms farther than the skin.
        ValueError: no atoms, partly periodic boundaries, npt of a molecule, steps or every < 1, a trajectory
            that exists without `resume` or the other way round, a checkpoint of another simulation.
    """
    if not skin > 0:
        raise ValueError(f"skin must be positive, got {skin}")
    _check(atoms, steps, every, dynamics)
    system = _System(potential, params, atoms, dynamics, skin, capacity, bonds)
    file = None if trajectory is None else Trajectory(Path(trajectory), resume, system.identity())
    carry, done = system.start(atoms, seed), 0
    if file is not None and file.resume:
        state, done, rows = file.restore(carry[0], COLUMNS)
        carry = system.with_list(state)
    else:
        rows = [system.record(carry, 0)]
        if not np.isfinite(rows[0]["potential"]):
            raise NonFinite("energy must be finite, got NaN or infinity at the start")
        if file is not None:
            file.write(system.frame(carry, rows[0]), carry[0], 0)
    reruns, status, last = 0, "finished", carry
    with tqdm(total=steps, initial=done, unit="step", desc="simulate", disable=not progress) as bar:
        while done < steps:
            carry, moved, again = system.advance(carry, min(every, steps - done))
            reruns += again
            done += moved
            bar.update(moved)
            row = system.record(carry, done)
            if system.broken or not np.isfinite(row["potential"]):
                status = "nonfinite"
                break
            rows.append(row)
            last = carry
            if file is not None:
                file.write(system.frame(carry, rows[-1]), carry[0], done)
    if status == "nonfinite" and strict:
        raise NonFinite(
            "energy, positions and momenta must be finite, got NaN or infinity"
            f" after step {done}, {done * dynamics.dt:g} fs"
        )
    table = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    return Simulation(atoms=system.frame(last, rows[-1]), status=status, n_reruns=reruns, **table)


def _check(atoms: ase.Atoms, steps: int, every: int, dynamics: Dynamics) -> None:
    if not len(atoms):
        raise ValueError("atoms must hold at least one atom, got none")
    if atoms.pbc.any() and not atoms.pbc.all():
        raise ValueError(f"pbc must be all true or all false, got {atoms.pbc.tolist()}")
    if dynamics.ensemble == "npt_nose_hoover" and not atoms.pbc.all():
        raise ValueError("ensemble must not be npt_nose_hoover for a molecule: it has no volume")
    if dynamics.ensemble == "npt_nose_hoover" and np.linalg.det(atoms.cell.array) < 0:
        raise ValueError("cell must be right-handed for npt_nose_hoover, got a negative determinant")
    for name, value in (("steps", steps), ("every", every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    if not np.isfinite(atoms.positions).all():
        raise ValueError("positions must be finite, got NaN or infinity")
    if atoms.constraints:
        raise ValueError(f"atoms must have no constraints, got {atoms.constraints}")


class _System:
    """Energy, integrator and list of one structure; a carry is (state of the integrator, list or None)."""

    def __init__(self, potential, params, atoms: ase.Atoms, dynamics: Dynamics, skin, capacity, bonds):
        self.dynamics, self.template, self.params = dynamics, atoms.copy(), params
        self.npt, self.extra, self.broken = dynamics.ensemble == "npt_nose_hoover", 0, False
        self.dt = dynamics.dt * units.FEMTOSECOND
        self.neighbor_fn = None
        if atoms.pbc.all() or len(atoms) > DENSE:
            box = atoms.cell.array.T if atoms.pbc.all() else None
            self.neighbor_fn, self.energy = energy_neighbor_list(
                potential,
                params,
                atoms.numbers,
                box,
                fractional_coordinates=self.npt if box is not None else None,
                skin=skin,
                capacity=capacity,
                bonds=bonds,
            )
        else:
            self.energy = energy_fn(potential, params, atoms.numbers, bonds=bonds)
        self.init, self.apply = self._integrator()
        self._run, self._measure = jax.jit(self._loop), jax.jit(self._values)

    def _integrator(self):
        """(init, apply) of jax-md in its units: Å, eV, amu, and the time that follows from them."""
        dynamics = self.dynamics
        dt, kT = self.dt, dynamics.temperature * units.KELVIN
        if self.npt:
            return self._at_constant_pressure(jnp.asarray(self.template.cell.array.T))
        if dynamics.ensemble == "nvt_langevin":
            gamma = dynamics.friction / units.FEMTOSECOND
            return integrators.nvt_langevin(self.energy, _move, dt, kT, gamma)
        if dynamics.ensemble == "nvt_nose_hoover":
            return integrators.nvt_nose_hoover(self.energy, _move, dt, kT)
        return integrators.nve(self.energy, _move, dt)

    def _at_constant_pressure(self, old):
        """npt_nose_hoover for a step that starts in the box `old`.

        jax-md moves R by R·(exp(x) − 1) where the box scales by exp(x), as if R were in Å. Fractional
        positions scale with the box already: that part is taken out.
        """

        def shift(R, dR, **settings):
            box = settings["box"]
            scaled = jnp.cbrt(jnp.linalg.det(box) / jnp.linalg.det(old)) - 1.0
            return R + (dR - R * scaled) @ jnp.linalg.inv(box).T

        pressure = self.dynamics.pressure * units.GIGAPASCAL
        kT = self.dynamics.temperature * units.KELVIN
        return integrators.npt_nose_hoover(self.energy, shift, self.dt, pressure, kT)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        return {
            "species": self.template.numbers.tolist(),
            "masses": self.template.get_masses().tolist(),
            "cell": np.asarray(self.template.cell.array).tolist(),
            "dynamics": dataclasses.asdict(self.dynamics),
        }

    @property
    def freedom(self) -> int:
        """Degrees of freedom: the centre of mass rests, except under Langevin's noise."""
        n = len(self.template)
        return 3 * n if n == 1 or self.dynamics.ensemble == "nvt_langevin" else 3 * n - 3

    def start(self, atoms: ase.Atoms, seed: int):
        """The first carry."""
        cell = np.asarray(atoms.cell.array)
        R = atoms.positions @ np.linalg.inv(cell) if self.npt else atoms.positions
        momenta, mass, kT = atoms.get_momenta(), atoms.get_masses(), self.dynamics.temperature * units.KELVIN
        if not momenta.any():
            momenta = thermal_momenta(mass, kT, seed)
        settings: dict[str, Any] = {"mass": jnp.asarray(mass), "momenta": jnp.asarray(momenta)}
        if self.npt:
            settings["box"] = jnp.asarray(cell.T)
        if self.dynamics.ensemble == "nve":
            settings["kT"] = kT
        neighbor = self._allocate(jnp.asarray(R), settings.get("box"))
        if neighbor is not None:
            settings["neighbor"] = neighbor
        state = self.init(jax.random.key(seed), jnp.asarray(R), **settings)
        # jax-md's thermostats count the resting centre of mass as three degrees of freedom.
        for name in {"nvt_nose_hoover": ("chain",), "npt_nose_hoover": ("thermostat",)}.get(
            self.dynamics.ensemble, ()
        ):
            chain = dataclasses.replace(getattr(state, name), degrees_of_freedom=self.freedom)
            state = dataclasses.replace(state, **{name: chain})
        return state, neighbor

    def with_list(self, state):
        """The carry of a state."""
        return state, self._allocate(state.position, self._box(state))

    def _allocate(self, R, box):
        return None if self.neighbor_fn is None else self.neighbor_fn.allocate(R, self.extra, **_boxed(box))

    def _box(self, state):
        return integrators.npt_box(state) if self.npt else None

    def _loop(self, carry, n_steps):
        """n_steps at most; stops before a step on an overflowed list and after one that is not finite."""

        def goes_on(loop):
            count, _, overflow, finite = loop
            return (count < n_steps) & ~overflow & finite

        def body(loop):
            count, (state, neighbor), overflow, _ = loop
            settings = {}
            if neighbor is not None:
                ahead = AHEAD * self.dt * jnp.max(jnp.abs(state.velocity))
                neighbor = neighbor.update(state.position, ahead=ahead, **_boxed(self._box(state)))
                settings, overflow = {"neighbor": neighbor}, neighbor.did_buffer_overflow
            old = self._box(state)
            new = (self._at_constant_pressure(old)[1] if self.npt else self.apply)(state, **settings)
            if neighbor is not None:
                overflow |= ~neighbor.covers(new.position, **_boxed(self._box(new)))
            finite = jnp.all(jnp.isfinite(new.position)) & jnp.all(jnp.isfinite(new.momentum))
            new = jax.tree.map(lambda n, o: jnp.where(finite & ~overflow, n, o), new, state)
            moved = (finite & ~overflow).astype(count.dtype)
            return count + moved, (new, neighbor), overflow, finite

        start = (jnp.zeros((), jnp.int32), carry, jnp.zeros((), bool), jnp.ones((), bool))
        return jax.lax.while_loop(goes_on, body, start)

    def advance(self, carry, n_steps: int):
        """(carry, steps done, reruns) after n_steps, or fewer where the state is no longer finite."""
        reruns, size, done, stuck, self.extra = 0, n_steps, 0, 0, 0
        while done < n_steps and not self.broken:
            count, new, overflow, finite = self._run(carry, min(size, n_steps - done))
            if bool(overflow) and bool(finite):
                stuck = stuck + 1 if size == 1 else 0
                if stuck > 4:
                    raise RuntimeError(
                        "a step must not move atoms farther than the skin of the neighbour list: choose a"
                        f" smaller dt than {self.dynamics.dt} fs or a larger skin"
                    )
                # The state before these steps, with a larger list; fewer steps, should the box shrink on.
                reruns, size, self.extra = reruns + 1, max(size // 2, 1), 2 * self.extra + 4
                carry = self.with_list(carry[0])
                continue
            carry, done, self.broken = new, done + int(count), not bool(finite)
        return carry, done, reruns

    def _values(self, carry):
        state, neighbor = carry
        settings = {} if neighbor is None else {"neighbor": neighbor}
        settings |= _boxed(self._box(state))
        potential = self.energy(state.position, **settings)
        kinetic = quantity.kinetic_energy(momentum=state.momentum, mass=state.mass)
        kT, energy = self.dynamics.temperature * units.KELVIN, potential + kinetic
        if self.dynamics.ensemble == "nvt_nose_hoover":
            energy = integrators.nvt_nose_hoover_invariant(self.energy, state, kT, **settings)
            energy -= (state.position.size - self.freedom) * kT * state.chain.position[0]
        elif self.npt:
            pressure = self.dynamics.pressure * units.GIGAPASCAL
            rest = {} if neighbor is None else {"neighbor": neighbor}
            energy = integrators.npt_nose_hoover_invariant(self.energy, state, pressure, kT, **rest)
            energy -= (state.position.size - self.freedom) * kT * state.thermostat.position[0]
        elif self.dynamics.ensemble == "nvt_langevin":
            energy = jnp.nan * energy
        return potential, kinetic, 2.0 * kinetic / (self.freedom * units.KELVIN), energy

    def record(self, carry, step: int) -> dict[str, float]:
        """One row of the table."""
        potential, kinetic, temperature, conserved = (np.asarray(v) for v in self._measure(carry))
        volume = abs(np.linalg.det(self._cell(carry))) if self.template.pbc.all() else 0.0
        values = (step, step * self.dynamics.dt, potential, kinetic, temperature, conserved, volume)
        return {name: float(value) for name, value in zip(COLUMNS, values)}

    def _cell(self, carry) -> np.ndarray:
        """Rows are lattice vectors, Å."""
        return np.asarray(self._box(carry[0]), float).T if self.npt else self.template.cell.array

    def frame(self, carry, row: dict[str, float]) -> ase.Atoms:
        """The structure with momenta, energy, forces, and the row as its info."""
        state, cell, atoms = carry[0], self._cell(carry), self.template.copy()
        R = np.asarray(state.position, float)
        atoms.set_cell(cell)
        atoms.set_positions(R @ cell if self.npt else R)
        atoms.set_momenta(np.asarray(state.momentum, float))
        forces = np.asarray(state.force, float)
        atoms.calc = SinglePointCalculator(atoms, energy=row["potential"], forces=forces)
        atoms.info = {name: value for name, value in atoms.info.items() if name not in COLUMNS}
        atoms.info.update({name: row[name] for name in COLUMNS if np.isfinite(row[name])})
        return atoms


def thermal_momenta(mass, kT: float, seed: int) -> np.ndarray:
    """Momenta (n, 3) of Maxwell and Boltzmann at kT in eV, without motion of the centre of mass.

    jax-md's own take the mean momentum from every atom, whatever its mass: light atoms come out too hot
    (ethanol starts at 520 K in place of 300 K).
    """
    mass = np.asarray(mass)[:, None]
    momenta = np.sqrt(mass * kT) * np.random.default_rng(seed).normal(size=(len(mass), 3))
    return momenta - mass * momenta.sum(axis=0) / mass.sum() if len(mass) > 1 else momenta


def _move(R, dR, **_):
    return R + dR


def _boxed(box) -> dict[str, Any]:
    return {} if box is None else {"box": box}
