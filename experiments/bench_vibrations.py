"""The vibrations of `bench_simulation.py`: normal modes of many molecules, and ASE's by differences."""

import tempfile
from typing import Any

import ase
import numpy as np
from ase.vibrations import Vibrations
from bench_timing import Candidate, measure

import jphys
from jphys.data import qm9
from jphys.data.structures import graphs, take

FMAX = 1e-3  # eV/Å


class Task:
    """Molecules at minima of `qm9-small`, whose modes are found by one call or by a loop of ASE."""

    def __init__(self, molecules: int):
        self.surface = jphys.load("qm9-small")
        shipped = qm9.load_small()
        chosen = take(shipped, np.sort(np.random.default_rng(0).permutation(len(shipped))[:molecules]))
        self.graphs = jphys.relax(self.surface[0], self.surface[1], graphs(chosen), fmax=FMAX).graphs
        self.calculator = jphys.Calculator(*self.surface)
        self.found: dict[int, np.ndarray] = {}
        self.theirs: dict[int, np.ndarray] = {}

    def atoms(self, index: int) -> ase.Atoms:
        """A molecule at its minimum, with the calculator."""
        nodes = self.graphs[index].nodes
        return ase.Atoms(nodes.species, nodes.positions, calculator=self.calculator)

    def ours(self) -> None:
        """All molecules in one call."""
        modes = jphys.vibrations(self.surface[0], self.surface[1], self.graphs)
        self.found = {index: one.wavenumbers for index, one in enumerate(modes)}

    def ase(self, chosen: np.ndarray) -> None:
        """Some molecules, one after the other, by 6n displacements of 0.01 Å."""
        for index in map(int, chosen):
            with tempfile.TemporaryDirectory() as folder:
                theirs = Vibrations(self.atoms(index), name=folder)
                theirs.run()
                waves = np.asarray(theirs.get_frequencies())
            real = np.where(np.iscomplex(waves), -np.abs(np.imag(waves)), np.real(waves))
            self.theirs[index] = np.sort(real[np.argsort(np.abs(real))[-len(self.found[index]) :]])


def run(config) -> dict[str, Any]:
    """Time per molecule of each way, and how far their wavenumbers are from each other."""
    task = Task(config.molecules)
    rng = np.random.default_rng(1)
    needed = config.rounds * config.ase_molecules
    several = [rng.permutation(config.molecules) for _ in range(-(-needed // config.molecules))]
    parts = np.concatenate(several)[:needed].reshape(config.rounds, config.ase_molecules)
    task.atoms(int(np.argmax([len(graph.nodes.species) for graph in task.graphs]))).get_forces()
    candidates = [
        Candidate("jphys.vibrations, all at once", lambda _: task.ours(), config.molecules),
        Candidate("ASE Vibrations, one by one", lambda i: task.ase(parts[i]), config.ase_molecules),
    ]
    measure(candidates, config.rounds)
    gaps = np.concatenate([np.abs(task.found[i] - waves) for i, waves in task.theirs.items()])
    rows = [
        {
            "candidate": one.name,
            "ms per molecule": 1e3 * one.per_unit,
            "first call s": one.first_s,
            "slowest / fastest round": one.spread,
        }
        for one in candidates
    ]
    ours, ase_loop = candidates
    return {
        "rows": rows,
        "ratios": {
            f"speed of {ours.name} / {ase_loop.name}": ase_loop.per_unit / ours.per_unit,
            f"median distance of {len(gaps)} wavenumbers, cm⁻¹": float(np.median(gaps)),
            "largest of them, cm⁻¹": float(gaps.max()),
        },
    }
