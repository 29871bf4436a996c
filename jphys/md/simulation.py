"""Molecular dynamics with a trajectory on disk that survives a kill."""

import dataclasses
from pathlib import Path

import ase
import numpy as np
from ase.constraints import FixAtoms
from tqdm import tqdm

from jphys.graph import check_atoms
from jphys.md.ensembles import NVE, Dynamics
from jphys.md.system import COLUMNS, System, fixed_atoms
from jphys.md.trajectory import Trajectory


@dataclasses.dataclass(frozen=True)
class Simulation:
    """What a simulation gave; every array has one entry per frame, the start included."""

    atoms: ase.Atoms  # the last finite structure, or the start, with momenta
    status: str  # "finished", "nonfinite" or, of replicas, "too fast": farther in a step than the skin
    step: np.ndarray
    time: np.ndarray  # fs
    potential: np.ndarray  # eV
    kinetic: np.ndarray  # eV
    temperature: np.ndarray  # K; of the motion about the centre of mass, for Langevin of all motion
    conserved: np.ndarray  # eV; NaN for Langevin, which conserves nothing
    volume: np.ndarray  # Å³, 0 for molecules and slabs
    n_reruns: int  # chunks run again because the neighbour list had overflowed
    box: np.ndarray | None  # (3, 3) Å; of a slab or wire the cell with vacuum in which it ended, else None


class NonFinite(RuntimeError):
    """A position or momentum is not finite; the message names step and time."""


def simulate(
    potential,
    params,
    atoms: ase.Atoms,
    *,
    steps: int,
    dynamics: Dynamics = NVE,
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
    """Molecular dynamics by jax-md of a molecule, a cluster, a crystal, a slab or a wire.

    Runs `every` steps at a time in one compiled loop. Where the neighbour list overflows, or atoms moved
    farther in a step than it allows for, those steps are run again from the state before them with a new
    list: no step is kept that was computed on missing pairs.

    A slab (periodic in two directions) or a wire (in one) moves in a box with vacuum along the others, so
    thick that no atom sees an image beyond it; where atoms leave, it grows. The lengths that the cell of
    `atoms` has there do not count.

    Args:
        potential: a Potential.
        params: its parameters.
        atoms: its momenta are the first ones unless all are zero; those that `FixAtoms` holds stay where they
            are, and hold no heat; forces on them are given as 0. A Nosé–Hoover thermostat counts no heat in
            the motion of the centre of mass, and the momenta are taken without it there, as by ASE's
            `Stationary(atoms, preserve_temperature=False)`.
        steps: time steps from the start of the trajectory.
        dynamics: ensemble, time step, temperature, pressure.
        every: steps between two frames, which have multiples of it; the last step has a frame too.
        trajectory: extxyz file to stream the frames to, which ASE reads; a checkpoint lies beside it.
        resume: go on from the checkpoint of the trajectory.
        seed: of first momenta and Langevin noise.
        skin, capacity, bonds: as in `energy_neighbor_list`.
        progress: show a progress bar.
        strict: raise where the state is not finite; else stop with status "nonfinite". A start that is not
            finite is then the only row of the tables, and no trajectory is written.

    Returns:
        Simulation.

    Raises:
        NonFinite: naming step and time; the trajectory keeps all frames before.
        RuntimeError: where a single step moves atoms farther than the skin.
        ValueError: no atoms, positions or momenta that are not finite, masses ≤ 0, charges or magnetic
            moments, line breaks in `atoms.info`, npt of other than a crystal or with fixed atoms, constraints
            other than `FixAtoms`, no atom that may move, steps or every < 1, `resume` without a trajectory, a
            trajectory that exists without `resume` or the other way round, a checkpoint of another simulation
            (atoms, cell, boundaries, dynamics, model, parameters, bonds) or beyond `steps`.
    """
    check_request(atoms, steps, every, dynamics, skin)
    if resume and trajectory is None:
        raise ValueError("resume needs a trajectory, which holds what to go on from, got None")
    system = System(potential, params, atoms, dynamics, skin, capacity, bonds)
    file = None if trajectory is None else Trajectory(Path(trajectory), resume, system.identity())
    carry, done, rows = _begin(system, atoms, seed, file)
    if done > steps:
        raise ValueError(f"steps must be at least {done}, where the checkpoint is, got {steps}")
    with tqdm(total=steps, initial=done, unit="step", desc="simulate", disable=not progress) as bar:
        last, done, finite, reruns = _advance(system, carry, rows, (done, steps, every), file, bar)
    if strict and not finite:
        raise nonfinite(done, dynamics)
    return result(system, last, rows, "finished" if finite else "nonfinite", reruns)


def result(system: System, last, rows: list[dict[str, float]], status: str, reruns: int) -> Simulation:
    """What came of a system whose last finite carry and rows are given."""
    table = {name: np.array([row[name] for row in rows]) for name in COLUMNS}
    atoms = system.frame(last, rows[-1])
    return Simulation(atoms=atoms, status=status, n_reruns=reruns, box=system.box, **table)


def nonfinite(done: int, dynamics: Dynamics, whose: str = "") -> NonFinite:
    """The error of a state that is not finite so many steps after the start."""
    place = f"after step {done}, {done * dynamics.dt:g} fs" if done else "at the start"
    return NonFinite(f"energy, positions and momenta{whose} must be finite, got NaN or infinity {place}")


def _advance(system: System, carry, rows: list[dict[str, float]], span, file: Trajectory | None, bar):
    """Chunks of the span (steps done, steps in all, steps of a chunk), with a row and a frame after each.

    Returns:
        The last finite carry, the steps done, whether nothing else came after that carry, and how often a
        chunk was run again.
    """
    (done, steps, every), last, reruns = span, carry, 0
    finite = bool(np.isfinite(rows[-1]["potential"]))
    while finite and done < steps:
        carry, moved, again = system.advance(carry, min(every - done % every, steps - done))
        reruns += again
        done += moved
        bar.update(moved)
        row = system.record(carry, done)
        finite = not system.broken and bool(np.isfinite(row["potential"]))
        if finite:
            last = carry
            rows.append(row)
            if file is not None:
                file.write(system.frame(carry, row), carry[0], done)
    return last, done, finite, reruns


def _begin(system: System, atoms: ase.Atoms, seed: int, file: Trajectory | None):
    """Carry, step and rows to go on from: those of the checkpoint, or the start as the first frame."""
    if file is not None and file.resume:
        state, done, rows = file.restore(system.still(atoms, seed), COLUMNS)
        system.make_room(state.position)
        return system.with_list(state), done, rows
    carry = system.start(atoms, seed)
    row = system.record(carry, 0)
    if file is not None and np.isfinite(row["potential"]):
        file.write(system.frame(carry, row), carry[0], 0)
    return carry, 0, [row]


def check_request(atoms: ase.Atoms, steps: int, every: int, dynamics: Dynamics, skin: float) -> None:
    """Refuse what nothing can be simulated of; see `simulate`."""
    if not skin > 0:
        raise ValueError(f"skin must be positive, got {skin}")
    if not len(atoms):
        raise ValueError("atoms must hold at least one atom, got none")
    closed = atoms.copy()
    closed.pbc = False
    check_atoms(closed)
    if dynamics.ensemble == "npt_nose_hoover" and not atoms.pbc.all():
        raise ValueError("ensemble must not be npt_nose_hoover for a molecule or a slab: it has no volume")
    if dynamics.ensemble == "npt_nose_hoover" and np.linalg.det(atoms.cell.array) < 0:
        raise ValueError("cell must be right-handed for npt_nose_hoover, got a negative determinant")
    for name, value in (("steps", steps), ("every", every)):
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
    for name, values in (("positions", atoms.positions), ("momenta", atoms.get_momenta())):
        if not np.isfinite(values).all():
            raise ValueError(f"{name} must be finite, got NaN or infinity")
    masses = atoms.get_masses()
    if not (masses > 0).all():
        index = int(np.argmin(masses > 0))
        raise ValueError(f"masses must be positive, got {masses[index]} at atom {index}")
    for name, value in atoms.info.items():
        if not isinstance(name, str) or any("\n" in text for text in (name, value) if isinstance(text, str)):
            raise ValueError(f"info must hold values of one line by name, got {value!r} as {name!r}")
    others = [one for one in atoms.constraints if not isinstance(one, FixAtoms)]
    if others:
        raise ValueError(f"constraints must be FixAtoms, got {others}")
    fixed = len(fixed_atoms(atoms))
    if fixed == len(atoms):
        raise ValueError("constraints must leave at least one atom free, got none")
    if fixed and dynamics.ensemble == "npt_nose_hoover":
        raise ValueError(f"ensemble must not be npt_nose_hoover with fixed atoms, got {fixed} of them")
