"""Relax molecules or crystals on a learned surface, from SMILES or a file that ASE reads.

    python experiments/relax.py --smiles CCO "CC(=O)C"
    python experiments/relax.py --input my.xyz --fmax 0.005
    python experiments/relax.py --input crystal.cif --model runs/my-crystals --relax-cell

Prints the energies before and after, and writes relaxed.extxyz and, for molecules, relaxed.png. Energies are
those of the model's data: for qm9-small B3LYP/6-31G(2df,p) total energies.
"""

import contextlib
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal

import ase
import ase.io
import numpy as np
import tyro
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.stress import full_3x3_to_voigt_6_stress

import jphys
from jphys import bonds, figures
from jphys.evaluation import evaluate
from jphys.models.potential import check_bonds

READ_AS_OTHERS = ("F",)  # fluorine: extxyz reads false


@dataclasses.dataclass(frozen=True)
class Config:
    """What to relax, on which surface, and where the result goes.

    Raises:
        ValueError: without smiles and input, an output that is a file, or a threshold that is not positive.
    """

    smiles: tuple[str, ...] = ()
    """Molecules to build by RDKit."""
    input: Path | None = None
    """File that ASE reads, with any number of structures."""
    model: str = "qm9-small"
    """Name of a pretrained model, or the folder of a run or checkpoint."""
    fmax: float = 0.01
    """Converged when no force is larger, eV/Å."""
    relax_cell: bool = False
    """Relax the cells of crystals as well."""
    max_steps: int = 500
    """Steps at most."""
    method: Literal["auto", "fire", "bfgs"] = "auto"
    """Minimiser; auto: BFGS for molecules, FIRE as soon as there is a crystal."""
    output: Path = Path("relaxed")
    """Folder for relaxed.extxyz and relaxed.png."""
    seed: int = 0
    """Of RDKit's embedding."""

    def __post_init__(self):
        if not self.smiles and self.input is None:
            raise ValueError("smiles or input must be given, got neither")
        if self.input is not None and not self.input.is_file():
            raise ValueError(f"input must be an existing file, got {self.input}")
        if self.output.exists() and not self.output.is_dir():
            raise ValueError(f"output must be a folder, got the file {self.output}")
        if not self.fmax > 0:
            raise ValueError(f"fmax must be positive, got {self.fmax}")
        if self.max_steps < 1:
            raise ValueError(f"max_steps must be at least 1, got {self.max_steps}")


def fixed_atoms(atoms: ase.Atoms) -> np.ndarray:
    """(n,) bool: which atoms ASE's FixAtoms holds.

    Raises:
        ValueError: for any other constraint.
    """
    held = np.zeros(len(atoms), bool)
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixAtoms):
            raise ValueError(f"constraints must be FixAtoms, got {constraint}")
        held[constraint.index] = True
    return held


def structures(config: Config, potential: jphys.Potential) -> tuple[list[str], list[jphys.Graph], list]:
    """Names, graphs and fixed atoms of everything asked for."""
    names, made, fixed = [], [], []
    for smiles in config.smiles:
        with naming(smiles):
            species, positions, order = bonds.embed_smiles(smiles, seed=config.seed)
            jphys.reference_energy(potential, species)
            made.append(jphys.make_graph(species, positions, bonds=order))
        names.append(smiles)
        fixed.append(None)
    for index, atoms in enumerate([] if config.input is None else read(config.input)):
        names.append(str(atoms.symbols))
        with naming(f"{config.input}, structure {index} ({names[-1]})"):
            jphys.reference_energy(potential, atoms.numbers)
            made.append(graph_of(atoms, potential))
            fixed.append(fixed_atoms(atoms))
    return names, made, fixed


def graph_of(atoms: ase.Atoms, potential: jphys.Potential) -> jphys.Graph:
    """The graph of a structure of a file, with bonds perceived where the model needs them.

    Raises:
        ValueError: where no bonds fit the structure of a model that needs them.
    """
    if atoms.pbc.all():
        return jphys.graph.from_ase(atoms, cutoff=potential.cutoff)
    found = None
    if potential.needs_bonds:
        found = bonds.perceive_bonds(atoms.numbers, atoms.positions)
        check_bonds(potential, atoms.numbers, found)
    return jphys.graph.from_ase(atoms, bonds=found)


@contextlib.contextmanager
def naming(place: str):
    """Errors of values, with the place where the value comes from."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


def read(file: Path) -> list[Any]:
    """All structures of a file, by ASE.

    Raises:
        ValueError: for a file that ASE cannot read, an empty one, or a structure without atoms.
    """
    try:
        found: list[Any] = list(ase.io.iread(file))
    except Exception as error:  # each of ASE's formats fails in its own way
        reason = (str(error).strip().splitlines() or ["no message"])[0]
        kind = type(error).__name__
        raise ValueError(f"input must be a file that ASE reads, got {file}: {kind}: {reason}") from error
    if not found or not all(len(atoms) for atoms in found):
        raise ValueError(f"input must hold structures with atoms, got none in {file}")
    return found


def write(file: Path, names: list[str], energies, result) -> None:
    """The relaxed structures with total energies and forces, as extxyz."""
    frames = []
    for i, (name, graph) in enumerate(zip(names, result.graphs)):
        cell = graph.globals.cell[0]
        atoms = ase.Atoms(graph.nodes.species, graph.nodes.positions, cell=cell, pbc=bool(cell.any()))
        name = name.replace("\\", "\\\\")  # extxyz takes one of two backslashes
        atoms.info.update(name=f"_JSON {json.dumps(name)}" if name in READ_AS_OTHERS else name)
        atoms.info.update(status=str(result.status[i]))
        known = {"energy": energies[i], "forces": result.forces[i]}
        if result.stress is not None and cell.any():
            known["stress"] = full_3x3_to_voigt_6_stress(result.stress[i])
        atoms.calc = SinglePointCalculator(atoms, **known)
        frames.append(atoms)
    ase.io.write(file, frames, format="extxyz")


def print_table(names: list[str], before, forces, after, result) -> None:
    """Energies and largest forces before and after."""
    print(f"{'structure':24s} {'E before eV':>14s} {'relaxed eV':>14s} {'fmax':>8s} after  steps  status")
    ends = zip(result.fmax, result.n_steps, result.status)
    for name, start, force, end, (fmax, steps, status) in zip(names, before, forces, after, ends):
        largest = np.linalg.norm(force, axis=1).max()
        print(f"{name[:24]:24s} {start:14.4f} {end:14.4f} {largest:8.3f} {fmax:.3f} {steps:6d}  {status}")


def main(config: Config) -> None:
    """Relax, print, write."""
    potential, params = jphys.load(config.model)
    names, starts, fixed = structures(config, potential)
    if config.relax_cell and not any(graph.globals.cell.any() for graph in starts):
        raise ValueError("relax_cell needs a crystal, got molecules alone")
    totals = np.array([jphys.reference_energy(potential, graph.nodes.species) for graph in starts])
    config.output.mkdir(parents=True, exist_ok=True)
    energies, forces = evaluate(potential, params, starts)
    settings = {name: getattr(config, name) for name in ("fmax", "max_steps", "method", "relax_cell")}
    result = jphys.relax(potential, params, starts, fixed=fixed, progress=True, **settings)
    print_table(names, energies + totals, forces, result.energy + totals, result)
    write(config.output / "relaxed.extxyz", names, result.energy + totals, result)
    (config.output / "relaxed.png").unlink(missing_ok=True)  # of structures that were here before
    if free := [i for i, graph in enumerate(starts) if not graph.globals.cell.any()]:
        before, after = ([graphs[i] for i in free] for graphs in (starts, result.graphs))
        figures.relaxations(before, after, config.output / "relaxed.png", [names[i] for i in free])
    print(f"written to {config.output}")
    if not result.converged.all():
        sys.exit(f"{np.sum(~result.converged)} of {len(names)} structures did not converge")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
