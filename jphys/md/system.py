"""One structure in motion: its energy, integrator and neighbour list; chunks of steps under jit."""

import dataclasses
import hashlib
from typing import Any, Literal, get_args

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator
from jax_md import quantity
from jax_md import simulate as integrators

from jphys import units
from jphys.graph import bond_rows
from jphys.md.energies import energy_fn
from jphys.md.neighbor_list import energy_neighbor_list

Ensemble = Literal["nve", "nvt_nose_hoover", "nvt_langevin", "npt_nose_hoover"]
AHEAD = 3.0  # how much farther an atom may move in a step than its fastest component of velocity says
DENSE = 100  # atoms; free molecules up to this size see all pairs and need no list
COLUMNS = ("step", "time", "potential", "kinetic", "temperature", "conserved", "volume")


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
        if self.pressure and self.ensemble != "npt_nose_hoover":
            raise ValueError(f"pressure must be 0 for {self.ensemble}, got {self.pressure}")
        if self.temperature == 0 and self.ensemble.endswith("nose_hoover"):
            raise ValueError(f"temperature must be positive for {self.ensemble}, got {self.temperature}")


NVE = Dynamics()


class System:
    """Energy, integrator and list of one structure; a carry is (state of the integrator, list or None)."""

    def __init__(self, potential, params, atoms: ase.Atoms, dynamics: Dynamics, skin, capacity, bonds):
        self.dynamics, self.template = dynamics, _without_results(atoms)
        self.npt, self.extra, self.broken = dynamics.ensemble == "npt_nose_hoover", 0, False
        self.dt = dynamics.dt * units.FEMTOSECOND
        self.momenta = first_momenta(atoms, dynamics.ensemble)
        self.n_resting = resting_rotations(atoms)
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
        known = bond_rows(bonds, len(atoms)).tolist()
        self.model = {"cutoff": potential.cutoff, "config": repr(potential.config), "bonds": known}
        self.model["parameters"] = fingerprint(params)
        self.init, self.apply = self._integrator()
        self._run, self._measure = jax.jit(self._loop), jax.jit(self._values)

    def _integrator(self):
        """(init, apply) of jax-md in its units: Å, eV, amu, and the time that follows from them."""
        dynamics, dt, kT = self.dynamics, self.dt, self.dynamics.temperature * units.KELVIN
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
            "pbc": self.template.pbc.tolist(),
            "dynamics": dataclasses.asdict(self.dynamics),
            "degrees of freedom": self.freedom,
            **self.model,
        }

    @property
    def moves_as_whole(self) -> bool:
        """Whether the motion of the centre of mass is heat: that of one atom, and under Langevin's noise."""
        return len(self.template) == 1 or self.dynamics.ensemble == "nvt_langevin"

    @property
    def freedom(self) -> int:
        """Degrees of freedom that hold heat."""
        n = len(self.template)
        return 3 * n if self.moves_as_whole else 3 * n - 3 - self.n_resting

    def start(self, atoms: ase.Atoms, seed: int):
        """The first carry."""
        cell = np.asarray(atoms.cell.array)
        R = atoms.positions @ np.linalg.inv(cell) if self.npt else atoms.positions
        momenta, mass, kT = self.momenta, atoms.get_masses(), self.dynamics.temperature * units.KELVIN
        if not atoms.get_momenta().any():
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
        # jax-md's thermostats count the resting centre of mass, and rotations at rest, as degrees of freedom.
        if self.dynamics.ensemble.endswith("nose_hoover"):
            name = "thermostat" if self.npt else "chain"
            chain = dataclasses.replace(getattr(state, name), degrees_of_freedom=self.freedom)
            state = dataclasses.replace(state, **{name: chain})
        return _in_precision_of(state.position, state), neighbor

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
            count, new, *flags = self._run(carry, min(size, n_steps - done))
            count, overflow, finite = jax.device_get([count, *flags])
            if overflow and finite:
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
            carry, done, self.broken = new, done + int(count), not finite
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
        heat = kinetic
        if not self.moves_as_whole:
            momenta = without_drift(state.momentum, state.mass)
            heat = quantity.kinetic_energy(momentum=momenta, mass=state.mass)
        return potential, kinetic, 2.0 * heat / (self.freedom * units.KELVIN), energy

    def record(self, carry, step: int) -> dict[str, float]:
        """One row of the table."""
        potential, kinetic, temperature, conserved = jax.device_get(self._measure(carry))
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


def fingerprint(params) -> str:
    """A number that two sets of parameters share where they are the same, whatever device they are on."""
    leaves, structure = jax.tree.flatten(params)
    found = hashlib.sha256(str(structure).encode())
    for leaf in map(np.asarray, leaves):
        found.update(f"{leaf.dtype}{leaf.shape}".encode() + leaf.tobytes())
    return found.hexdigest()


def _without_results(atoms: ase.Atoms) -> ase.Atoms:
    """A copy without the labels that a file of training data leaves in `info` and `arrays`: extxyz gives
    them back as the results of a calculator, beside or in place of those of the simulation."""
    copy = atoms.copy()
    for name in all_properties:
        copy.info.pop(name, None)
        copy.arrays.pop(name, None)
    return copy


def _in_precision_of(position, state):
    """The state in one precision: jax-md starts thermostats in float32 whose steps return float64."""

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(position.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, state)


def thermal_momenta(mass, kT: float, seed: int) -> np.ndarray:
    """Momenta (n, 3) of Maxwell and Boltzmann at kT in eV, without motion of the centre of mass.

    jax-md's own take the mean momentum from every atom, whatever its mass: light atoms come out too hot
    (ethanol starts at 520 K in place of 300 K).
    """
    mass = np.asarray(mass)[:, None]
    momenta = np.sqrt(mass * kT) * np.random.default_rng(seed).normal(size=(len(mass), 3))
    return without_drift(momenta, mass) if len(mass) > 1 else momenta


def without_drift(momenta, mass):
    """Momenta (n, 3) of atoms with masses (n, 1) as seen from their centre of mass."""
    return momenta - mass * momenta.sum(axis=0) / mass.sum()


def first_momenta(atoms: ase.Atoms, ensemble: Ensemble) -> np.ndarray:
    """The momenta (n, 3) of the atoms; for Nosé–Hoover, which counts none of its energy, without drift."""
    if len(atoms) == 1 or not ensemble.endswith("nose_hoover"):
        return atoms.get_momenta()
    return without_drift(atoms.get_momenta(), atoms.get_masses()[:, None])


def resting_rotations(atoms: ase.Atoms) -> int:
    """Rotations that never start: 3 of a free molecule that its momenta do not turn, 2 if linear; else 0.

    Neither forces between atoms nor a Nosé–Hoover thermostat give it angular momentum.
    """
    if atoms.pbc.any() or len(atoms) == 1 or not atoms.get_momenta().any():
        return 0
    inner = without_drift(atoms.get_momenta(), atoms.get_masses()[:, None])
    kinetic = np.sum(inner**2 / (2 * atoms.get_masses()[:, None]))
    moments, axes = atoms.get_moments_of_inertia(vectors=True)
    real = moments > 1e-6 * moments.max()
    turning = np.sum((axes @ atoms.get_angular_momentum())[real] ** 2 / (2 * moments[real]))
    return int(real.sum()) if turning < 1e-6 * kinetic else 0


def _move(R, dR, **_):
    return R + dR


def _boxed(box) -> dict[str, Any]:
    return {} if box is None else {"box": box}
