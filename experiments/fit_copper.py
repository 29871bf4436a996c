"""The part of fit_to_experiment.py that is copper: a model of EMT, its lattice constant and bulk modulus."""

import dataclasses
from pathlib import Path
from typing import Any

import ase
import ase.io
import jax
import jax.numpy as jnp
import numpy as np
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from gauss_newton import record, stacked, tuned

import jphys
from jphys import units
from jphys.data import sources
from jphys.evaluation import evaluate
from jphys.graph import with_cell, with_positions
from jphys.losses import OBJECTIVES
from jphys.training.config import TrainConfig

COPPER = {"lattice constant, Å": 3.61, "bulk modulus, GPa": 137.0}  # Kittel, Solid State Physics, 8th edition
CUTOFF = 5.0  # Å, of the model of copper
TRAINED = TrainConfig(
    preset="copper",
    objective="labels",
    losses=OBJECTIVES["labels"],
    model=jphys.TransformerConfig(channels=16, blocks=1, heads=2, n_basis=16, cutoff=CUTOFF),
    epochs=60,
    batch_size=8,
    validate_every=20,
)


def labelled(n: int, seed: int) -> list[ase.Atoms]:
    """Crystals of 4 or 8 atoms of copper, stretched, sheared and rattled, with energies and forces of EMT."""
    rng, frames = np.random.default_rng(seed), []
    for k in range(n):
        atoms = bulk("Cu", "fcc", a=3.6, cubic=True) * (1 + k % 2, 1, 1)
        strain = np.eye(3) * rng.uniform(-0.08, 0.08) + 0.02 * rng.standard_normal((3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + 0.5 * (strain + strain.T)), scale_atoms=True)
        atoms.positions += rng.uniform(0, 0.12) * rng.standard_normal(atoms.positions.shape)
        atoms.calc = EMT()
        answer = {"energy": atoms.get_potential_energy(), "forces": atoms.get_forces()}
        atoms.calc = SinglePointCalculator(atoms, **answer)
        frames.append(atoms)
    return frames


def of_copper(run: Path, steps: int) -> dict[str, Any]:
    """Lattice constant and bulk modulus B = (1/9V) d²E/dη² of the primitive cell under a strain η."""
    run.mkdir(parents=True, exist_ok=True)
    data = run / "copper.extxyz"
    ase.io.write(data, labelled(240, 0))
    training = dataclasses.replace(TRAINED, resume=True)
    trained = jphys.train(training, sources.load(str(data)), folder=run / "training")
    potential, (_, params) = trained.run.potential, jphys.load(run / "training")
    start = jphys.from_ase(bulk("Cu", "fcc", a=3.6), cutoff=CUTOFF)

    def values(params):
        rest = jphys.stationary(potential, params, start, relax_cell=True).graph
        volume = jnp.abs(jnp.linalg.det(rest.globals.cell[0]))

        def strained(eta):
            moved = with_positions(rest, rest.nodes.positions * (1.0 + eta))
            return potential.energy(params, with_cell(moved, rest.globals.cell[0] * (1.0 + eta)))[0]

        modulus = jax.grad(jax.grad(strained))(0.0) / (9.0 * volume) / units.GIGAPASCAL
        return jnp.stack([(4.0 * volume) ** (1 / 3), modulus])

    measured = np.array(list(COPPER.values()))
    kept = stacked([jphys.from_ase(one, cutoff=CUTOFF) for one in labelled(64, 0)])
    new, seen = tuned(values, measured, potential, params, kept, steps)
    before, after = (judged_copper(potential, one) for one in (params, new))
    return record(list(COPPER), measured, seen, before, after)


def judged_copper(potential, params) -> dict[str, float]:
    """Errors against EMT on crystals that the training did not see."""
    frames = labelled(60, 1)
    energy, forces = evaluate(potential, params, [jphys.from_ase(one, cutoff=CUTOFF) for one in frames])
    energy = energy + [float(jphys.reference_energy(potential, one.numbers)) for one in frames]
    n = np.array([len(one) for one in frames])
    off = (energy - [one.get_potential_energy() for one in frames]) / n
    error = np.concatenate(forces) - np.concatenate([one.get_forces() for one in frames])
    return {"MAE_E / EMT, meV per atom": 1e3 * float(np.abs(off).mean())} | {
        "MAE_F / EMT, eV/Å": float(np.abs(error).mean())
    }
