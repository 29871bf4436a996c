"""The relaxation of `bench_simulation.py`: molecules of the shipped set, moved away from their minima."""

import os
from typing import Any, Literal

import ase
import numpy as np
import peer_torch_sim
from ase.optimize import BFGS, FIRE
from bench_timing import Candidate, measure

import jphys
from jphys.data import qm9
from jphys.data.structures import graphs, take

Method = Literal["fire", "bfgs"]
OPTIMIZERS = {"fire": FIRE, "bfgs": BFGS}


class Task:
    """Molecules to relax, by one call of jphys or by a loop of ASE over `jphys.Calculator`.

    Both have the same model, start and force threshold, and minimisers of their own with their own settings.
    """

    def __init__(self, molecules: int, noise: float, fmax: float, max_steps: int):
        rng, shipped = np.random.default_rng(0), qm9.load_small()
        self.structures = take(shipped, np.sort(rng.permutation(len(shipped))[:molecules]))
        self.structures.positions[:] += rng.normal(0.0, noise, self.structures.positions.shape)
        self.graphs = graphs(self.structures)
        self.limits: dict[str, Any] = {"fmax": fmax, "max_steps": max_steps}
        self.potential, self.params = jphys.load("qm9-small")
        self.calculator = jphys.Calculator(self.potential, self.params)
        self.steps: dict[str, dict[int, int]] = {}  # by candidate, by molecule
        self.converged: dict[str, dict[int, bool]] = {}

    def subsets(self, size: int, rounds: int) -> list[np.ndarray]:
        """Molecules (size,) for every round, different ones as long as there are others.

        The largest comes first in each: the calculator's shape then has room for the others.
        """
        rng, n = np.random.default_rng(1), len(self.graphs)
        several = np.concatenate([rng.permutation(n) for _ in range(-(-rounds * size // n))])
        chosen = several[: rounds * size].reshape(rounds, size)
        return [part[np.argsort(-self.structures.n_atoms[part])] for part in chosen]

    def warm_ase(self) -> None:
        """Compile the calculator for the largest molecule."""
        self.atoms(int(np.argmax(self.structures.n_atoms))).get_forces()

    def atoms(self, index: int) -> ase.Atoms:
        """A molecule at its start, with the calculator."""
        nodes = self.graphs[index].nodes
        return ase.Atoms(nodes.species, nodes.positions, calculator=self.calculator)

    def ours(self, method: Method) -> None:
        """All molecules in one call."""
        name = f"jphys {method}"
        found = jphys.relax(self.potential, self.params, self.graphs, method=method, **self.limits)
        self.steps[name] = dict(enumerate(found.n_steps.tolist()))
        self.converged[name] = dict(enumerate(found.converged.tolist()))

    def ase(self, method: Method, chosen: np.ndarray) -> None:
        """Some molecules, one after the other."""
        steps, converged = (known.setdefault(f"ase {method}", {}) for known in (self.steps, self.converged))
        for index in map(int, chosen):
            optimizer = OPTIMIZERS[method](self.atoms(index), logfile=os.devnull)
            converged[index] = optimizer.run(self.limits["fmax"], self.limits["max_steps"])
            steps[index] = optimizer.nsteps

    def outcome(self, name: str) -> dict[str, float]:
        """Mean number of steps and share of converged molecules of those that all ASE loops have done."""
        both = sorted(set.intersection(*(set(self.steps[f"ase {method}"]) for method in OPTIMIZERS)))
        return {
            "steps": float(np.mean([self.steps[name][index] for index in both])),
            "converged %": 100.0 * float(np.mean([self.converged[name][index] for index in both])),
        }


def run(config) -> dict[str, Any]:
    """Time per molecule of each way; of a peer where there is one."""
    task = Task(config.molecules, config.noise, config.fmax, config.max_steps)
    subsets = task.subsets(config.ase_molecules, config.rounds)
    task.warm_ase()
    candidates = [
        Candidate("jphys.relax, BFGS, all at once", lambda _: task.ours("bfgs"), config.molecules),
        Candidate("jphys.relax, FIRE, all at once", lambda _: task.ours("fire"), config.molecules),
        Candidate("ASE BFGS, one by one", lambda i: task.ase("bfgs", subsets[i]), config.ase_molecules),
        Candidate("ASE FIRE, one by one", lambda i: task.ase("fire", subsets[i]), config.ase_molecules),
    ]
    peer = None
    if config.peer == "torch-sim":
        peer = peer_torch_sim.start(str(config.peer_python), task.structures, task.limits)
        candidates.append(Candidate("torch-sim FIRE, Lennard-Jones", peer.work, config.molecules))
    measure(candidates, config.rounds)
    outcomes = [task.outcome(name) for name in ("jphys bfgs", "jphys fire", "ase bfgs", "ase fire")]
    if peer is not None:
        outcomes.append(peer.answer)
        peer.close()
    rows = [
        {
            "candidate": candidate.name,
            "ms per molecule": 1e3 * candidate.per_unit,
            **outcome,
            "µs per molecule and step": 1e6 * candidate.per_unit / outcome["steps"],
            "first call s": candidate.first_s,
            "slowest / fastest round": candidate.spread,
        }
        for candidate, outcome in zip(candidates, outcomes)
    ]
    ratios = {
        f"speed of {candidates[0].name} / {other.name}": other.per_unit / candidates[0].per_unit
        for other in candidates[1:]
    }
    return {"rows": rows, "ratios": ratios}
