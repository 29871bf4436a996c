"""The conservation of `bench_simulation.py`: NVE of molecules of QM9 with the shipped model."""

import itertools
from typing import Any

import ase
import numpy as np

import jphys
from jphys.data.qm9 import load_small

KICK = 600.0  # K of the first momenta at a minimum: half of it goes into the bonds
EVERY = 5.0  # fs between two energies


def molecules(n: int) -> list[ase.Atoms]:
    """Random molecules of the shipped QM9 subset."""
    data = load_small()
    ends = np.cumsum(data.n_atoms)
    chosen = np.random.default_rng(0).permutation(len(data.n_atoms))[:n]
    rows = [slice(ends[index] - data.n_atoms[index], ends[index]) for index in chosen]
    return [ase.Atoms(data.species[row], data.positions[row]) for row in rows]


def conservation(potential, params, atoms: ase.Atoms, dt: float, picoseconds: float, seed: int):
    """Temperature (K) after 0.5 ps, drift and standard deviation about it of the total energy of one run.

    The drift (meV per atom and ps) is the slope of a line by least squares; the deviation is in meV.
    """
    found = jphys.simulate(
        potential,
        params,
        atoms,
        steps=round(1000 * picoseconds / dt),
        every=round(EVERY / dt),
        dynamics=jphys.Dynamics(dt=dt, temperature=KICK),
        seed=seed,
        progress=False,
    )
    line = np.polyfit(found.time, found.conserved, 1)
    rest = found.conserved - np.polyval(line, found.time)
    warm = found.temperature[found.time >= min(500.0, found.time[-1])].mean()
    return warm, 1e6 * line[0] / len(atoms), 1e3 * rest.std()


def run(config) -> dict[str, Any]:
    """A row per molecule and time step; how the deviation falls with the step (velocity Verlet: dt²)."""
    potential, params = jphys.load("qm9-small")
    rows: list[dict[str, Any]] = []
    deviations: dict[float, list[float]] = {dt: [] for dt in config.time_steps}
    for number, atoms in enumerate(molecules(config.conserving)):
        for dt in config.time_steps:
            warm, drift, deviation = conservation(
                potential, params, atoms, dt, config.picoseconds, seed=number
            )
            deviations[dt].append(deviation)
            rows.append(
                {
                    "molecule": atoms.get_chemical_formula(),
                    "atoms": len(atoms),
                    "time step fs": dt,
                    "temperature K": float(warm),
                    "drift, meV per atom and ps": float(drift),
                    "standard deviation meV": float(deviation),
                }
            )
    ordered = sorted(config.time_steps, reverse=True)
    ratios = {
        f"deviation at {large:g} / at {small:g} fs, median (dt²: {(large / small) ** 2:g})": float(
            np.median(np.divide(deviations[large], deviations[small]))
        )
        for large, small in itertools.pairwise(ordered)
    }
    worst = max(abs(row["drift, meV per atom and ps"]) for row in rows if row["time step fs"] == ordered[-1])
    return {"rows": rows, "ratios": ratios | {f"largest drift at {ordered[-1]:g} fs": worst}}
