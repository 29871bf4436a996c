"""The paths of `bench_simulation.py`: nudged elastic bands between two conformers of molecules."""

import os
from typing import Any

import ase
import numpy as np
from ase.mep import NEB
from ase.optimize import FIRE
from bench_timing import Candidate, measure
from scipy.spatial.transform import Rotation

import jphys
from jphys.alignment import kabsch_distance
from jphys.data import qm9
from jphys.data.structures import graphs, take
from jphys.fragments import make_sides
from jphys.graph import Graph, with_positions
from jphys.paths import idpp, straight
from jphys.prior import bonded_pairs

IMAGES, FMAX, MAX_STEPS, SPRING = 7, 0.05, 500, 0.3
TURN = 120.0  # degrees
APART = 0.2  # Å; conformers that are closer are one


def turned(graph: Graph, rng: np.random.Generator) -> Graph | None:
    """The molecule with one side of a random bond of heavy atoms, in no ring, turned about it."""
    species, positions = graph.nodes.species, np.asarray(graph.nodes.positions, float)
    sides = make_sides(species, positions)
    can = np.flatnonzero((species[sides.ends] > 1).all(axis=1) & (sides.leaving.sum(axis=1) > 1))
    if not len(can):
        return None
    chosen = rng.choice(can)
    (start, end), side = positions[sides.ends[chosen]], sides.leaving[chosen]
    axis = np.deg2rad(TURN) * (end - start) / np.linalg.norm(end - start)
    positions[side] = Rotation.from_rotvec(axis).apply(positions[side] - end) + end
    return with_positions(graph, positions.astype(graph.nodes.positions.dtype))


def conformers(surface, n: int) -> list[tuple[Graph, Graph]]:
    """Pairs of minima with the same bonds, of random molecules of the shipped set."""
    rng, shipped = np.random.default_rng(0), qm9.load_small()
    found: list[tuple[Graph, Graph]] = []
    for part in np.array_split(rng.permutation(len(shipped)), len(shipped) // 64):
        pairs = [(graph, turned(graph, rng)) for graph in graphs(take(shipped, np.sort(part)))]
        both = [one for first, other in pairs if other is not None for one in (first, other)]
        rest = jphys.relax(surface[0], surface[1], both, fmax=1e-3)
        for i in range(0, len(both), 2):
            first, last = (np.asarray(graph.nodes.positions) for graph in rest.graphs[i : i + 2])
            bonds = [bonded_pairs(np.asarray(both[i].nodes.species), place) for place in (first, last)]
            same = np.array_equal(bonds[0], bonds[1]) and rest.converged[i : i + 2].all()
            if same and kabsch_distance(first, last) > APART:
                found.append((rest.graphs[i], rest.graphs[i + 1]))
        if len(found) >= n:
            return found[:n]
    raise ValueError(f"bands must be at most {len(found)}, the pairs that the shipped set has, got {n}")


class Task:
    """Bands to bring to their paths, by one call of jphys or by a loop of ASE over `jphys.Calculator`."""

    def __init__(self, bands: int):
        self.surface = jphys.load("qm9-small")
        self.bands = sorted(conformers(self.surface, bands), key=lambda pair: -len(pair[0].nodes.species))
        self.calculators = [jphys.Calculator(*self.surface) for _ in range(IMAGES + 2)]
        self.steps: dict[str, dict[int, int]] = {}  # by candidate, by band
        self.converged: dict[str, dict[int, bool]] = {}
        self.barriers: dict[str, dict[int, float]] = {}

    def warm_ase(self) -> None:
        """Compile the calculators for the largest molecule."""
        first, _ = self.bands[0]
        for calculator in self.calculators:
            ase.Atoms(first.nodes.species, first.nodes.positions, calculator=calculator).get_forces()

    def ours(self, method: Any) -> None:
        """All bands in one call."""
        settings = {"images": IMAGES, "fmax": FMAX, "max_steps": MAX_STEPS, "spring": SPRING}
        found = jphys.neb(*self.surface, self.bands, method=method, **settings)
        columns = found.n_steps, found.converged, found.barrier
        for known, column in zip((self.steps, self.converged, self.barriers), columns):
            known[method] = dict(enumerate(column.tolist()))

    def ase(self, chosen: np.ndarray) -> None:
        """Some bands, one after the other, from the same first guess."""
        for index in map(int, chosen):
            first, last = self.bands[index]
            chain = idpp(straight(first.nodes.positions, last.nodes.positions, IMAGES))
            atoms = [
                ase.Atoms(first.nodes.species, place, calculator=calculator)
                for place, calculator in zip(chain, self.calculators)
            ]
            band: Any = NEB(atoms, k=SPRING, climb=True, method="improvedtangent")
            optimizer = FIRE(band, logfile=os.devnull)
            self.converged.setdefault("ase", {})[index] = optimizer.run(FMAX, MAX_STEPS)
            self.steps.setdefault("ase", {})[index] = optimizer.nsteps
            heights = [one.get_potential_energy() for one in atoms]
            self.barriers.setdefault("ase", {})[index] = max(heights) - heights[0]

    def outcome(self, name: str) -> dict[str, float]:
        """Of the bands that ASE has done: steps, converged ones, barriers beside ASE's."""
        done = sorted(self.steps["ase"])
        steps, converged, barriers = (
            np.array([known[name][i] for i in done]) for known in (self.steps, self.converged, self.barriers)
        )
        theirs = np.array([self.barriers["ase"][i] for i in done])
        return {
            "bands": len(done),
            "steps": float(steps.mean()),
            "median steps": float(np.median(steps)),
            "converged %": 100.0 * float(converged.mean()),
            "barrier within 5 meV of ASE's %": 100.0 * float((np.abs(barriers - theirs) < 0.005).mean()),
        }


def run(config) -> dict[str, Any]:
    """Time per band of each way."""
    task = Task(config.bands)
    rng = np.random.default_rng(1)
    several = np.concatenate([rng.permutation(config.bands) for _ in range(config.rounds + 1)])
    parts = several[: config.rounds * config.ase_bands].reshape(config.rounds, -1)
    task.warm_ase()
    candidates = [
        Candidate("jphys.neb, all at once", lambda _: task.ours("auto"), config.bands),
        Candidate("jphys.neb, FIRE, all at once", lambda _: task.ours("fire"), config.bands),
        Candidate("ASE NEB, FIRE, one by one", lambda i: task.ase(parts[i]), config.ase_bands),
    ]
    measure(candidates, config.rounds)
    rows = [
        {
            "candidate": candidate.name,
            "ms per band": 1e3 * candidate.per_unit,
            **task.outcome(name),
            "first call s": candidate.first_s,
            "slowest / fastest round": candidate.spread,
        }
        for candidate, name in zip(candidates, ("auto", "fire", "ase"))
    ]
    ratios = {
        f"speed of {candidates[0].name} / {other.name}": other.per_unit / candidates[0].per_unit
        for other in candidates[1:]
    }
    return {"rows": rows, "ratios": ratios}
