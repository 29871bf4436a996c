"""One structure in motion: its first state, chunks of steps, and what is written down of them."""

import dataclasses
import hashlib
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
from ase.calculators.calculator import all_properties
from ase.calculators.singlepoint import SinglePointCalculator

from jphys import units
from jphys.graph import bond_rows
from jphys.md.ensembles import Dynamics, Ensemble
from jphys.md.motion import SOME, Kind, Motion, motion_of, without_drift
from jphys.md.vacuum import vacuum_box, vacuum_left

COLUMNS = ("step", "time", "potential", "kinetic", "temperature", "conserved", "volume")


class System:
    """One structure in motion; a carry is (state of the integrator, list or None)."""

    def __init__(self, potential, params, atoms: ase.Atoms, dynamics: Dynamics, skin, capacity, bonds):
        self.dynamics, self.template, self.params = dynamics, _without_results(atoms), jax.device_put(params)
        self.npt, self.extra, self.broken = dynamics.ensemble == "npt_nose_hoover", 0, False
        self.fixed = fixed_atoms(atoms)
        self.momenta = first_momenta(atoms, dynamics.ensemble)
        self.n_resting = resting_rotations(atoms)
        known = bond_rows(bonds, len(atoms)).tolist()
        self.reach = potential.cutoff + skin
        kind = Kind(
            potential=potential,
            dynamics=dataclasses.replace(dynamics, temperature=SOME / units.KELVIN),
            species=tuple(atoms.numbers.tolist()),
            cell=None,
            periodic=tuple(atoms.pbc.tolist()),
            bonds=tuple(map(tuple, known)),
            fixed=tuple(self.fixed.tolist()),
            skin=skin,
            capacity=capacity,
            freedom=self.freedom,
            moves_as_whole=self.moves_as_whole,
            precision=jnp.zeros(0).dtype.name,
        )
        self.motion = self._in_a_box(kind, atoms.positions)
        self.kT = jnp.asarray(dynamics.temperature * units.KELVIN)  # eV
        self.model = {"cutoff": potential.cutoff, "config": repr(potential.config), "bonds": known}
        self.model["parameters"] = fingerprint(params)

    def _in_a_box(self, kind: Kind, positions, grown=None) -> Motion:
        """The motion of a kind in the cell of its atoms, with vacuum where that is not periodic."""
        pbc, cell = self.template.pbc, self.template.cell.array
        if pbc.any() and not pbc.all():
            cell = vacuum_box(cell, pbc, positions, self.reach, grown)
        return motion_of(kind._replace(cell=tuple(map(tuple, cell.tolist())) if pbc.any() else None))

    @property
    def box(self) -> np.ndarray | None:
        """Rows are the vectors (3, 3) Å of the box in which a slab or a wire moves; None for others."""
        kind = self.motion.kind
        return None if kind.cell is None or all(kind.periodic) else np.array(kind.cell)

    def identity(self) -> dict[str, Any]:
        """What a checkpoint must agree on."""
        return {
            "species": self.template.numbers.tolist(),
            "masses": self.template.get_masses().tolist(),
            "cell": np.asarray(self.template.cell.array).tolist(),
            "pbc": self.template.pbc.tolist(),
            "dynamics": dataclasses.asdict(self.dynamics),
            "degrees of freedom": self.freedom,
            **({"fixed atoms": self.fixed.tolist()} if len(self.fixed) else {}),
            **self.model,
        }

    @property
    def moves_as_whole(self) -> bool:
        """Whether the motion of the centre of mass is heat: that of one atom, beside fixed ones, and under
        Langevin's noise."""
        alone = len(self.template) == 1 or len(self.fixed) > 0
        return alone or self.dynamics.ensemble == "nvt_langevin"

    @property
    def freedom(self) -> int:
        """Degrees of freedom that hold heat."""
        n = len(self.template) - len(self.fixed)
        return 3 * n if self.moves_as_whole else 3 * n - 3 - self.n_resting

    def still(self, atoms: ase.Atoms, seed: int):
        """The first state, which knows no force yet."""
        cell = np.asarray(atoms.cell.array)
        R = atoms.positions @ np.linalg.inv(cell) if self.npt else atoms.positions
        momenta, mass, kT = self.momenta, atoms.get_masses(), float(self.kT)
        if not np.delete(atoms.get_momenta(), self.fixed, axis=0).any():
            momenta = thermal_momenta(mass, kT, seed, self.fixed)
        settings: dict[str, Any] = {"mass": jnp.asarray(mass), "momenta": jnp.asarray(momenta), "kT": kT}
        if self.npt:
            settings["box"] = jnp.asarray(cell.T)
        return self.motion.start(jax.random.key(seed), jnp.asarray(R), settings)

    def start(self, atoms: ase.Atoms, seed: int):
        """The first carry."""
        carry = self.with_list(self.still(atoms, seed))
        return dataclasses.replace(carry[0], force=self.motion.force(self.params, carry)), carry[1]

    def with_list(self, state):
        """The carry of a state."""
        return state, self.motion.allocate(state.position, self.extra, self.motion.box(state))

    def advance(self, carry, n_steps: int):
        """(carry, steps done, reruns) after n_steps, or fewer where the state is no longer finite."""
        reruns, size, done, stuck, self.extra = 0, n_steps, 0, 0, 0
        while done < n_steps and not self.broken:
            count, new, *flags = self.motion.run(self.params, carry, min(size, n_steps - done), self.kT)
            count, overflow, finite = jax.device_get([count, *flags])
            if overflow and finite:
                stuck = stuck + 1 if size == 1 else 0
                if stuck > 4:
                    raise self.too_fast()
                # The state before these steps, with a larger list; fewer steps, should the box shrink on.
                reruns, size, self.extra = reruns + 1, max(size // 2, 1), 2 * self.extra + 4
                self.make_room(new[0].position)
                carry = self.with_list(carry[0])
                continue
            carry, done, self.broken = new, done + int(count), not finite
        return carry, done, reruns

    def too_fast(self) -> RuntimeError:
        """What is wrong where a list with all room does not serve for one step."""
        return RuntimeError(
            "a step must not move atoms farther than the skin of the neighbour list: choose a smaller dt"
            f" than {self.dynamics.dt} fs or a larger skin"
        )

    def make_room(self, positions) -> None:
        """A larger box where atoms (…, n, 3) of a slab are too near to their images beyond the vacuum."""
        if self.box is not None and vacuum_left(self.box, self.template.pbc, positions) < self.reach:
            self.motion = self._in_a_box(self.motion.kind, positions, self.box)

    def record(self, carry, step: int) -> dict[str, float]:
        """One row of the table."""
        return self.row(jax.device_get(self.motion.measure(self.params, carry, self.kT)), carry, step)

    def row(self, measured, carry, step: int) -> dict[str, float]:
        """One row of the table, of what `Motion.measure` gave."""
        volume = abs(np.linalg.det(self._cell(carry))) if self.template.pbc.all() else 0.0
        values = (step, step * self.dynamics.dt, *measured, volume)
        return {name: float(value) for name, value in zip(COLUMNS, values)}

    def _cell(self, carry) -> np.ndarray:
        """Rows are lattice vectors, Å."""
        return np.asarray(self.motion.box(carry[0]), float).T if self.npt else self.template.cell.array

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


def thermal_momenta(mass, kT: float, seed: int, fixed=()) -> np.ndarray:
    """Momenta (n, 3) of Maxwell and Boltzmann at kT in eV, without motion of the centre of mass.

    Of atoms beside fixed ones, whose indices are given, the whole may move; the fixed ones have none.

    jax-md's own take the mean momentum from every atom, whatever its mass: light atoms come out too hot
    (ethanol starts at 520 K in place of 300 K).
    """
    mass = np.asarray(mass)[:, None]
    momenta = np.sqrt(mass * kT) * np.random.default_rng(seed).normal(size=(len(mass), 3))
    if len(fixed):
        momenta[np.asarray(fixed)] = 0.0
        return momenta
    return without_drift(momenta, mass) if len(mass) > 1 else momenta


def fixed_atoms(atoms: ase.Atoms) -> np.ndarray:
    """Indices (k,) of the atoms that `FixAtoms` holds, ascending.

    Raises:
        ValueError: for one that is not there.
    """
    held = np.zeros(len(atoms), bool)
    for one in atoms.constraints:
        beyond = one.index[(one.index < -len(atoms)) | (one.index >= len(atoms))]
        if len(beyond):
            raise ValueError(f"constraints must be of atoms 0 to {len(atoms) - 1}, got {beyond[0]}")
        held[one.index] = True
    return np.flatnonzero(held)


def first_momenta(atoms: ase.Atoms, ensemble: Ensemble) -> np.ndarray:
    """The momenta (n, 3) of the atoms; for Nosé–Hoover, which counts none of its energy, without drift; fixed
    atoms have none."""
    fixed = fixed_atoms(atoms)
    if len(fixed):
        momenta = atoms.get_momenta()
        momenta[fixed] = 0.0
        return momenta
    if len(atoms) == 1 or not ensemble.endswith("nose_hoover"):
        return atoms.get_momenta()
    return without_drift(atoms.get_momenta(), atoms.get_masses()[:, None])


def resting_rotations(atoms: ase.Atoms) -> int:
    """Rotations that never start: 3 of a free molecule that its momenta do not turn, 2 if linear; else 0.

    Neither forces between atoms nor a Nosé–Hoover thermostat give it angular momentum.
    """
    still = len(atoms) == 1 or len(fixed_atoms(atoms)) or not atoms.get_momenta().any()
    if atoms.pbc.any() or still:
        return 0
    inner = without_drift(atoms.get_momenta(), atoms.get_masses()[:, None])
    kinetic = np.sum(inner**2 / (2 * atoms.get_masses()[:, None]))
    moments, axes = atoms.get_moments_of_inertia(vectors=True)
    real = moments > 1e-6 * moments.max()
    turning = np.sum((axes @ atoms.get_angular_momentum())[real] ** 2 / (2 * moments[real]))
    return int(real.sum()) if turning < 1e-6 * kinetic else 0
