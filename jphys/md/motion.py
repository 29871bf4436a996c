"""Energy, integrator and neighbour list of a kind of structure; chunks of steps under jit.

Simulations of one kind share what is compiled: the parameters of the potential are an argument of it.
"""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax_md import quantity
from jax_md import simulate as integrators

from jphys import units
from jphys.compiling import remembered
from jphys.md.energies import energy_fn
from jphys.md.ensembles import Dynamics
from jphys.md.neighbor_list import energy_neighbor_list

__all__ = ["AHEAD"]

AHEAD = 3.0  # how much farther an atom may move in a step than its fastest component of velocity says
SOME = 300.0 * units.KELVIN  # eV; jax-md wants a temperature, each step is given its own
LENGTHS = 4  # of neighbour lists whose programs are kept
DENSE = 100  # atoms; free molecules up to this size see all pairs and need no list


class Kind(NamedTuple):
    """All that a compiled motion depends on; its temperature is an argument."""

    potential: Any
    dynamics: Dynamics  # at 300 K
    species: tuple[int, ...]
    cell: tuple[tuple[float, ...], ...] | None  # rows are lattice vectors, Å; None for a free molecule
    periodic: tuple[bool, ...]  # which of them; along the others the cell is vacuum
    bonds: tuple[tuple[int, ...], ...]  # rows (i, j, order)
    fixed: tuple[int, ...]  # atoms that stay where they are
    skin: float
    capacity: float
    freedom: int  # degrees of freedom that hold heat
    moves_as_whole: bool  # whether the motion of the centre of mass is heat
    precision: str  # what JAX computes in


@remembered(4)  # thousands of mappings of memory each, of which Linux gives a process 65,530
def motion_of(kind: Kind) -> "Motion":
    """The motion of a kind, with what has been compiled of it.

    Raises:
        ValueError: as `energy_fn` and `energy_neighbor_list`.
    """
    return Motion(kind)


class Motion:
    """Steps of one kind of structure; a carry is (state of the integrator, list or None)."""

    def __init__(self, kind: Kind):
        self.kind, self.dynamics = kind, kind.dynamics
        self.npt = kind.dynamics.ensemble == "npt_nose_hoover"
        self.dt = kind.dynamics.dt * units.FEMTOSECOND
        self.pressure = kind.dynamics.pressure * units.GIGAPASCAL
        self.neighbor_fn, self.energy = _energy_of(kind, self.npt)
        self.free = np.ones((len(kind.species), 1), bool)  # atoms that may move
        self.free[list(kind.fixed)] = False
        self.init = self._integrator(lambda R, **_: 0.0 * jnp.sum(R))[0]  # one: jax-md's are jitted
        self.apply = self._integrator(self.energy)[1]
        self.run: Any = jax.jit(self._loop)
        self.measure: Any = jax.jit(self.values)
        self.force: Any = jax.jit(self.forces)
        self.lengths: set[int] = set()  # of the lists that these are compiled for

    def start(self, key, R, settings: dict[str, Any]):
        """A state of the integrator at R that knows no force yet: 0."""
        state = self.init(key, R, **settings)
        # jax-md's thermostats count the resting centre of mass, and rotations at rest, as degrees of freedom.
        if self.dynamics.ensemble.endswith("nose_hoover"):
            name = "thermostat" if self.npt else "chain"
            chain = dataclasses.replace(getattr(state, name), degrees_of_freedom=self.kind.freedom)
            state = dataclasses.replace(state, **{name: chain})
        return _in_precision_of(state.position, state)

    def allocate(self, R, extra: int, box):
        """A new neighbour list at R, if any; programs for many lengths of it are dropped."""
        if self.neighbor_fn is None:
            return None
        neighbor = self.neighbor_fn.allocate(R, extra, **boxed(box))
        if len(self.lengths | {len(neighbor.receivers)}) > LENGTHS:
            for program in (self.run, self.measure, self.force):
                program.clear_cache()
            self.lengths.clear()
        self.lengths.add(len(neighbor.receivers))
        return neighbor

    def box(self, state):
        """The box of a state where it moves, else None."""
        return integrators.npt_box(state) if self.npt else None

    def _integrator(self, energy):
        """(init, apply) of jax-md in its units: Å, eV, amu, and the time that follows from them."""
        dynamics = self.dynamics
        if self.npt:
            return self._at_constant_pressure(energy, jnp.asarray(self.kind.cell).T)
        if dynamics.ensemble == "nvt_langevin":
            gamma = dynamics.friction / units.FEMTOSECOND
            return integrators.nvt_langevin(energy, self._move, self.dt, SOME, gamma)
        if dynamics.ensemble == "nvt_nose_hoover":
            return integrators.nvt_nose_hoover(energy, self._move, self.dt, SOME)
        return integrators.nve(energy, self._move, self.dt)

    def _move(self, R, dR, **_):
        return R + (jnp.where(self.free, dR, 0.0) if self.kind.fixed else dR)

    def _at_constant_pressure(self, energy, old):
        """npt_nose_hoover for a step that starts in the box `old`.

        jax-md moves R by R·(exp(x) − 1) where the box scales by exp(x), as if R were in Å. Fractional
        positions scale with the box already: that part is taken out.
        """

        def shift(R, dR, **settings):
            box = settings["box"]
            scaled = jnp.cbrt(jnp.linalg.det(box) / jnp.linalg.det(old)) - 1.0
            return R + (dR - R * scaled) @ jnp.linalg.inv(box).T

        return integrators.npt_nose_hoover(energy, shift, self.dt, self.pressure, SOME)

    def _loop(self, params, carry, n_steps, kT):
        """n_steps at most; stops before a step on an overflowed list and after one that is not finite."""

        def goes_on(loop):
            count, _, overflow, finite = loop
            return (count < n_steps) & ~overflow & finite

        def body(loop):
            count, (state, neighbor), overflow, _ = loop
            if neighbor is not None:
                neighbor = neighbor.update(state.position, **self.whereabouts(state))
                overflow = neighbor.did_buffer_overflow
            new, covered, finite = self.stepped(params, state, neighbor, kT)
            overflow |= ~covered
            new = jax.tree.map(lambda n, o: jnp.where(finite & ~overflow, n, o), new, state)
            moved = (finite & ~overflow).astype(count.dtype)
            return count + moved, (new, neighbor), overflow, finite

        start = (jnp.zeros((), jnp.int32), carry, jnp.zeros((), bool), jnp.ones((), bool))
        return jax.lax.while_loop(goes_on, body, start)

    def whereabouts(self, state) -> dict[str, Any]:
        """What `Neighbors.update` has to know beside positions: how far atoms will go, the box that moves."""
        return {"ahead": AHEAD * self.dt * jnp.max(jnp.abs(state.velocity)), **boxed(self.box(state))}

    def stepped(self, params, state, neighbor, kT):
        """One step: the next state, whether (bool) all pairs of it were seen, whether it is finite."""
        old = self.box(state)
        settings = {"params": params, "kT": kT} | ({} if neighbor is None else {"neighbor": neighbor})
        apply = self._at_constant_pressure(self.energy, old)[1] if self.npt else self.apply
        new = apply(state, **settings)
        if self.kind.fixed:
            new = dataclasses.replace(new, momentum=jnp.where(self.free, new.momentum, 0.0))
        covered = self._has_vacuum(new.position)
        if neighbor is not None:
            covered &= neighbor.covers(new.position, **boxed(self.box(new)))
        return new, covered, jnp.all(jnp.isfinite(new.position)) & jnp.all(jnp.isfinite(new.momentum))

    def _has_vacuum(self, R):
        """Whether (bool) no atom sees an image of another where there is vacuum between them."""
        if self.kind.cell is None or all(self.kind.periodic):
            return jnp.ones((), bool)
        axes = np.array(self.kind.cell)[~np.array(self.kind.periodic)]
        lengths = np.linalg.norm(axes, axis=1)
        along = R @ jnp.asarray(axes.T / lengths, R.dtype)
        return jnp.all(lengths - jnp.ptp(along, axis=0) >= self.kind.potential.cutoff)

    def _potential(self, R, params, carry):
        """Energy () in eV at R, in the box and with the list of a carry."""
        state, neighbor = carry
        settings = {} if neighbor is None else {"neighbor": neighbor}
        return self.energy(R, params=params, **settings, **boxed(self.box(state)))

    def forces(self, params, carry):
        """The forces (n, 3) of jax-md."""
        return -jax.grad(self._potential)(carry[0].position, params, carry)

    def values(self, params, carry, kT):
        """(potential, kinetic, temperature, conserved) of a carry."""
        state = carry[0]
        potential = self._potential(state.position, params, carry)
        kinetic = quantity.kinetic_energy(momentum=state.momentum, mass=state.mass)
        heat = kinetic
        if not self.kind.moves_as_whole:
            momenta = without_drift(state.momentum, state.mass)
            heat = quantity.kinetic_energy(momentum=momenta, mass=state.mass)
        temperature = 2.0 * heat / (self.kind.freedom * units.KELVIN)
        return potential, kinetic, temperature, self._conserved(state, potential, kinetic, kT)

    def _conserved(self, state, potential, kinetic, kT):
        """What the integrator conserves, eV; NaN for Langevin."""
        surplus = (state.position.size - self.kind.freedom) * kT

        def energy(_, **__):
            return potential

        if self.dynamics.ensemble == "nvt_nose_hoover":
            invariant = integrators.nvt_nose_hoover_invariant(energy, state, kT)
            return invariant - surplus * state.chain.position[0]
        if self.npt:
            invariant = integrators.npt_nose_hoover_invariant(energy, state, self.pressure, kT)
            return invariant - surplus * state.thermostat.position[0]
        return (jnp.nan if self.dynamics.ensemble == "nvt_langevin" else 1.0) * (potential + kinetic)


def _energy_of(kind: Kind, npt: bool):
    """(neighbor_fn or None, energy function of jax-md); its parameters are to be passed on.

    No force acts on fixed atoms.
    """
    lists, energy = _energy_of_all(kind, npt)
    if not kind.fixed:
        return lists, energy
    held = jnp.zeros((len(kind.species), 1), bool).at[np.array(kind.fixed)].set(True)

    def with_fixed(R, *arguments, **settings):
        return energy(jnp.where(held, jax.lax.stop_gradient(R), R), *arguments, **settings)

    return lists, with_fixed


def _energy_of_all(kind: Kind, npt: bool):
    species, bonds = np.array(kind.species), np.array(kind.bonds, int).reshape(-1, 3)
    if kind.cell is None and len(species) <= DENSE:
        return None, energy_fn(kind.potential, None, species, bonds=bonds)
    box = None if kind.cell is None else np.array(kind.cell).T
    return energy_neighbor_list(
        kind.potential,
        None,
        species,
        box,
        fractional_coordinates=None if box is None else npt,
        skin=kind.skin,
        capacity=kind.capacity,
        bonds=bonds,
    )


def boxed(box) -> dict[str, Any]:
    """Keyword arguments for a box that may be None."""
    return {} if box is None else {"box": box}


def without_drift(momenta, mass):
    """Momenta (n, 3) of atoms with masses (n, 1) as seen from their centre of mass."""
    return momenta - mass * momenta.sum(axis=0) / mass.sum()


def _in_precision_of(position, state):
    """The state in one precision: jax-md starts thermostats in float32 whose steps return float64."""

    def cast(leaf):
        leaf = jnp.asarray(leaf)
        return leaf.astype(position.dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, state)
