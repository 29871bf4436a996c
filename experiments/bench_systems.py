"""What `bench_simulation.py` simulates: a molecular liquid and a metal of any number of atoms."""

import itertools
from typing import Any

import ase
import jax
import numpy as np
from ase.build import bulk, molecule

import jphys
from jphys.graph import from_ase

SYSTEMS = ("liquid", "metal")
TIME_STEP = {"liquid": 0.5, "metal": 2.0}  # fs
TEMPERATURE = 300.0  # K
DENSITY, MOLAR_MASS = 1.049, 60.05  # g/cm³ and g/mol of acetic acid
CM3_PER_MOL = 1.66054  # Å³ per molecule in 1 cm³/mol


def build(system: str, n_atoms: int) -> ase.Atoms:
    """Acetic acid at the density of the liquid, or fcc copper, with about so many atoms."""
    return supercell(acid() if system == "liquid" else bulk("Cu", "fcc", a=3.61, cubic=True), n_atoms)


def supercell(unit: ase.Atoms, n_atoms: int) -> ase.Atoms:
    """The unit repeated to about `n_atoms` atoms, as close to a cube as that allows."""
    wanted = n_atoms / len(unit)
    sides = range(1, 2 + round(2 * max(wanted, 1.0) ** (1 / 3)))

    def misfit(repeats):
        return abs(np.prod(repeats) / wanted - 1.0) + 0.1 * (repeats[-1] / repeats[0] - 1.0)

    return unit.repeat(min(itertools.combinations_with_replacement(sides, 3), key=misfit))


def acid(trials: int = 200) -> ase.Atoms:
    """16 molecules of acetic acid on a bcc lattice, each turned to where it is farthest from the others.

    Of `trials` random rotations in turn, the one with the longest shortest distance is kept.
    """
    rng, one = np.random.default_rng(0), molecule("CH3COOH")
    one.positions -= one.positions.mean(axis=0)
    length = (16 * MOLAR_MASS / DENSITY * CM3_PER_MOL) ** (1 / 3)
    corners = np.array(list(itertools.product((0.0, 0.5), repeat=3)))
    box = ase.Atoms(cell=[length] * 3, pbc=True)
    for center in length * np.concatenate([corners, corners + 0.25]):
        rotations = np.linalg.qr(rng.normal(size=(trials, 3, 3)))[0]
        placed = one.positions @ rotations + center
        gaps = placed[:, :, None] - box.positions
        gaps -= length * np.round(gaps / length)
        nearest = np.linalg.norm(gaps, axis=-1).min(axis=(1, 2), initial=np.inf)
        box += ase.Atoms(one.numbers, placed[np.argmax(nearest)])
    return box


def model(system: str, *, terms: bool = True) -> tuple[Any, Any]:
    """The shipped potential for the liquid; one of the same shape with random parameters for the metal.

    Without `terms`: its pair energies alone, the shape of the paper's model.
    """
    potential, params = jphys.load("qm9-small")
    fields = {**vars(potential.config)}
    fields |= {} if system == "liquid" else {"reference_energies": ()}
    fields |= {} if terms else {"terms": ()}
    chosen = jphys.make_potential(jphys.TransformerConfig(**fields))
    if system == "liquid":
        return chosen, {name: value for name, value in params.items() if terms or name != "bonded"}
    graph = from_ase(build(system, 4), cutoff=potential.cutoff)
    return chosen, jax.jit(chosen.init)(jax.random.key(0), graph)
