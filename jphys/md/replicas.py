"""Several simulations of one structure at once, in one compiled loop."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ase
import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from jphys.compiling import remembered
from jphys.md.ensembles import NVE, Dynamics
from jphys.md.motion import LENGTHS, Motion, boxed
from jphys.md.simulation import Simulation, check_request, nonfinite, result
from jphys.md.system import COLUMNS, System
from jphys.md.trajectory import Trajectory

STUCK = 4  # times that a list with more room served for no step


def simulate_replicas(
    potential,
    params,
    atoms: ase.Atoms,
    *,
    steps: int,
    seeds: Sequence[int],
    temperatures: Sequence[float] | None = None,
    dynamics: Dynamics = NVE,
    every: int = 20,
    trajectory: str | Path | None = None,
    resume: bool = False,
    skin: float = 0.5,
    capacity: float = 1.25,
    bonds=None,
    progress: bool = True,
    strict: bool = True,
) -> list[Simulation]:
    """Molecular dynamics of several replicas of one structure, each as `simulate` moves it.

    A step moves all of them: on an accelerator small systems cost little more together than one. They do not
    feel each other. Where one needs its pairs found anew, all get them; one that is no longer finite, or
    moves farther in a step than the skin, stops alone.

    Args:
        potential, params, steps, every, skin, capacity, bonds, progress: as in `simulate`.
        atoms: as in `simulate`, but for their momenta: those are drawn for every replica.
        seeds: one per replica, of first momenta and Langevin noise.
        temperatures: K, one per replica; None: that of dynamics.
        dynamics: ensemble, time step, pressure.
        trajectory: folder for `replica-000.extxyz`, …, with a checkpoint beside each.
        resume: go on from these checkpoints.
        strict: raise where one stopped, when the other replicas are done; else its status says so.

    Returns:
        One Simulation per seed.

    Raises:
        As `simulate`; ValueError also for no seeds, or as many temperatures as there are not seeds.
    """
    check_request(atoms, steps, every, dynamics, skin)
    if resume and trajectory is None:
        raise ValueError("resume needs a trajectory, which holds what to go on from, got None")
    if not len(seeds):
        raise ValueError("seeds must hold at least one, got none")
    warmth = [dynamics.temperature] * len(seeds) if temperatures is None else [float(t) for t in temperatures]
    if len(warmth) != len(seeds):
        raise ValueError(f"temperatures must be one per seed, {len(seeds)}, got {len(warmth)}")
    atoms = atoms.copy()
    atoms.set_momenta(np.zeros((len(atoms), 3)))
    systems = [
        System(potential, params, atoms, dataclasses.replace(dynamics, temperature=t), skin, capacity, bonds)
        for t in warmth
    ]
    files: list[Trajectory | None] = [None] * len(systems)
    if trajectory is not None:
        names = [Path(trajectory) / f"replica-{number:03d}.extxyz" for number in range(len(systems))]
        files = [Trajectory(name, resume, system.identity()) for name, system in zip(names, systems)]
    replicas = Replicas(systems, files, atoms, seeds)
    if replicas.done.max() > steps:
        most = int(replicas.done.max())
        raise ValueError(f"steps must be at least {most}, where a checkpoint is, got {steps}")
    bar = tqdm(total=steps * len(systems), unit="step", desc="simulate", disable=not progress)
    with bar:
        bar.update(int(replicas.done.sum()))
        while replicas.advance(steps, every, bar):
            pass
    stopped = np.flatnonzero(replicas.status != "finished").tolist()
    if strict and stopped:
        raise replicas.error(stopped[0])
    return replicas.results()


class Replicas:
    """Simulations of one kind in motion together, and what was written down of each."""

    def __init__(self, systems: list[System], files: list[Trajectory | None], atoms, seeds: Sequence[int]):
        self.systems, self.files, self.reruns = systems, files, 0
        for system in systems:  # one motion, also of a model whose motions are not remembered
            system.motion = systems[0].motion
        self.params, self.kT = systems[0].params, jnp.stack([system.kT for system in systems])
        states = [system.still(atoms, seed) for system, seed in zip(systems, seeds)]
        self.done, self.rows = np.zeros(len(systems), int), [[] for _ in systems]
        self.status = np.full(len(systems), "finished", object)
        for number, file in enumerate(files):
            if file is not None and file.resume:
                states[number], self.done[number], self.rows[number] = file.restore(states[number], COLUMNS)
        state, begins = jax.tree.map(lambda *leaves: jnp.stack(leaves), *states), [not r for r in self.rows]
        self._share_motion(state)
        self.carry = self._with_lists(state)
        if any(begins):
            force = self.together.force(self.params, self.carry)
            force = jnp.where(jnp.asarray(begins)[:, None, None], force, state.force)
            self.carry = dataclasses.replace(self.carry[0], force=force), self.carry[1]
        self.last = self.carry[0]
        self._record(np.array(begins))

    @property
    def broken(self) -> np.ndarray:
        """Replicas (r,) that go no farther."""
        return self.status != "finished"

    def error(self, number: int) -> RuntimeError:
        """Why a replica stopped."""
        system, done = self.systems[number], int(self.done[number])
        if self.status[number] == "nonfinite":
            return nonfinite(done, system.dynamics, f" of replica {number}")
        return RuntimeError(f"replica {number}, after step {done}: {system.too_fast()}")

    def _share_motion(self, state) -> None:
        """One motion, in a box that has room for all replicas."""
        first = self.systems[0]
        first.make_room(np.asarray(state.position))
        for system in self.systems:
            system.motion = first.motion
        self.together = together_of(first.motion)

    def _with_lists(self, state, extra: int = 0):
        """A carry: the states, and lists of one length for all of them that go on."""
        number, neighbors = int(np.argmin(self.broken)), None
        for _ in range(2 * STUCK):
            neighbor = self.together.allocate(state, number, extra)
            if neighbor is None:
                return state, None
            neighbors = self.together.found(state, neighbor)
            full = np.asarray(neighbors.did_buffer_overflow) & ~self.broken
            if not full.any():
                return state, neighbors
            number, extra = int(np.argmax(full)), 2 * extra + 4
        self.status[full] = "too fast"
        return state, neighbors

    def advance(self, steps: int, every: int, bar) -> bool:
        """Every replica to its next frame; False where none has one before it."""
        goes_on = ~self.broken & (self.done < steps)
        if not goes_on.any():
            return False
        left = np.where(goes_on, np.minimum(every - self.done % every, steps - self.done), 0)
        extra, stuck = 0, np.zeros(len(left), int)
        while left.any():
            found = self.together.run(self.params, self.carry, jnp.asarray(left), self.kT)
            count, overflow, finite = jax.device_get((found[0], *found[2:]))
            self.carry = found[1]
            self.done += count
            self.status[~finite] = "nonfinite"
            bar.update(int(count.sum()))
            blocked = overflow & finite
            stuck = np.where(blocked & (count == 0), stuck + 1, 0)
            # More room helps a full list alone; what outran one that was just made does so again.
            full = np.asarray(getattr(self.carry[1], "did_buffer_overflow", False))
            self.status[stuck > np.where(full, STUCK, 1)] = "too fast"
            left = np.where(self.broken, 0, left - count)
            if blocked.any() and left.any():
                self.reruns, extra = self.reruns + 1, 2 * extra + 4
                self._share_motion(self.carry[0])
                self.carry = self._with_lists(self.carry[0], extra)
                left = np.where(self.broken, 0, left)
        self._record(goes_on)
        return True

    def _record(self, which: np.ndarray) -> None:
        """A row and a frame of these replicas; those whose energy is not finite go no farther."""
        state, measured = self.carry[0], self.together.measure(self.params, self.carry, self.kT)
        measured, here = jax.device_get((measured, _plain(state)))
        for number in np.flatnonzero(which).tolist():
            system, carry = self.systems[number], (_one(state, here, number), None)
            row = system.row([column[number] for column in measured], carry, int(self.done[number]))
            first = not self.rows[number]
            if not np.isfinite(row["potential"]):
                self.status[number] = "nonfinite"
            if first or not self.broken[number]:
                self.rows[number].append(row)
            file = self.files[number]
            if file is not None and not self.broken[number]:
                file.write(system.frame(carry, row), carry[0], int(self.done[number]))
        fine = jnp.asarray(~self.broken)
        self.last = jax.tree.map(lambda n, o: jnp.where(_like(fine, n), n, o), state, self.last)

    def results(self) -> list[Simulation]:
        """One Simulation per replica; reruns are those of all."""
        here = jax.device_get(_plain(self.last))
        return [
            result(system, (_one(self.last, here, number), None), rows, self.status[number], self.reruns)
            for number, (system, rows) in enumerate(zip(self.systems, self.rows))
        ]


@remembered(4)
def together_of(motion: Motion) -> "Together":
    """The programs of a motion for many replicas."""
    return Together(motion)


class Together:
    """A motion of many replicas; all arrays of a carry have the replica as their first axis."""

    def __init__(self, motion: Motion):
        self.motion = motion
        self.run: Any = jax.jit(self._loop)
        self.measure: Any = jax.jit(jax.vmap(motion.values, (None, 0, 0)))
        self.force: Any = jax.jit(jax.vmap(motion.forces, (None, 0)))
        self.found: Any = jax.jit(jax.vmap(self._found_anew, (0, None)))
        self.lengths: set[int] = set()

    def allocate(self, state, number: int, extra: int):
        """A list of one replica, if any; programs for many lengths of it are dropped."""
        one = jax.tree.map(lambda leaf: leaf[number], state)
        neighbor = self.motion.allocate(one.position, extra, self.motion.box(one))
        if neighbor is None:
            return None
        if len(self.lengths | {len(neighbor.receivers)}) > LENGTHS:
            for program in (self.run, self.measure, self.force, self.found):
                program.clear_cache()
            self.lengths.clear()
        self.lengths.add(len(neighbor.receivers))
        return neighbor

    def _found_anew(self, state, neighbor):
        return neighbor.found_anew(state.position, **boxed(self.motion.box(state)))

    def _loop(self, params, carry, n_steps, kT):
        """(steps done, carry, overflow, finite), each of all replicas; see `Motion`: one that must not go on
        stays while the others move."""

        def moving(loop):
            count, _, overflow, finite = loop
            return (count < n_steps) & ~overflow & finite

        def body(loop):
            count, (state, neighbor), overflow, finite = loop
            moves = moving(loop)
            if neighbor is not None:
                outdated = jax.vmap(lambda s, n: n.outdated(s.position, **self.motion.whereabouts(s)))
                again = jax.vmap(self._found_anew)
                stale = jnp.any(outdated(state, neighbor) & moves)
                neighbor = jax.lax.cond(stale, again, lambda _, n: n, state, neighbor)
                overflow |= moves & neighbor.did_buffer_overflow
            new, covered, fine = jax.vmap(self.motion.stepped, (None, 0, 0, 0))(params, state, neighbor, kT)
            overflow |= moves & ~covered
            finite &= fine | ~moves
            kept = moves & fine & ~overflow
            new = jax.tree.map(lambda n, o: jnp.where(_like(kept, n), n, o), new, state)
            return count + kept, (new, neighbor), overflow, finite

        n = len(n_steps)
        start = (jnp.zeros(n, jnp.int32), carry, jnp.zeros(n, bool), jnp.ones(n, bool))
        return jax.lax.while_loop(lambda loop: jnp.any(moving(loop)), body, start)


def _plain(state):
    """The state, its keys as numbers: what a device gives back in one go."""
    return jax.tree.map(lambda x: jax.random.key_data(x) if _is_key(x) else x, state)


def _one(state, here, number: int):
    """One replica of the states, of which `here` is the copy on the host."""
    return jax.tree.map(
        lambda x, host: jax.random.wrap_key_data(host[number]) if _is_key(x) else host[number], state, here
    )


def _is_key(leaf) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _like(flags, leaf):
    """Flags (r,) for a leaf (r, …)."""
    return flags.reshape(len(flags), *[1] * (jnp.ndim(leaf) - 1))
