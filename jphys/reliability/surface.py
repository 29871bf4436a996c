"""A surface to judge: any energy function in batches on the device, any calculator one by one on the host."""

import dataclasses
import functools
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

import ase
import jax
import numpy as np
from ase.calculators.calculator import BaseCalculator, CalculationFailed, Calculator, all_changes
from ase.optimize import BFGS, FIRE
from tqdm import tqdm

from jphys.evaluation import evaluate
from jphys.graph import Graph, with_positions
from jphys.relaxation import Relaxation, check_request

__all__ = ["Calculated", "Learned", "Surface", "SurfaceCalculator", "finite_or_none", "perturb", "surface_of"]

_log = logging.getLogger(__name__)
REASONS = 20  # different ones that are counted apart; some calculators put coordinates into their messages
OTHERS = "other reasons"
MINIMISERS = {"fire": functools.partial(FIRE, dt=0.1, dtmax=0.1, maxstep=0.1), "bfgs": BFGS}


class Surface(Protocol):
    """What an evaluation asks for. Energies count from any zero that depends on the elements alone."""

    def evaluate(
        self, graphs: Sequence[Graph], *, progress: bool = False
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """Energies (m,) eV and forces, m of (n_i, 3) eV/Å; not finite where there is no answer."""
        ...

    def relax(
        self,
        graphs: Sequence[Graph],
        *,
        fmaxes: Sequence[float],
        max_steps: int,
        n_lanes: int = 32,
        progress: bool = False,
        method: Literal["fire", "bfgs"] = "fire",
    ) -> list[Relaxation]:
        """One Relaxation per threshold, as `jphys.md.relax_to`; Yi et al. have FIRE."""
        ...


def surface_of(potential, params=None) -> Surface:
    """The surface of whatever has one.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, a calculator of ASE, which
            finds charge 0 and multiplicity 1 or 2 in `atoms.info` ("charge", "spin"), or a Surface, which
            is returned as it is.
        params: the parameters of the first two.

    Raises:
        TypeError: for anything else.
    """
    if hasattr(potential, "evaluate") and hasattr(potential, "relax"):
        return potential
    if isinstance(potential, BaseCalculator):
        return Calculated(lambda graph: _ask_calculator(potential, graph))
    if callable(getattr(potential, "energy", potential)):
        return Learned(potential, params)
    raise TypeError(
        f"potential must be a Potential, a function, a calculator of ASE or a Surface, got {type(potential)}"
    )


@dataclasses.dataclass(frozen=True)
class Learned:
    """An energy function of JAX, evaluated and relaxed many structures at a time."""

    potential: Any
    params: Any

    def evaluate(self, graphs, *, progress=False):
        """See `Surface.evaluate`."""
        del progress  # seconds
        return evaluate(self.potential, self.params, graphs)

    def relax(self, graphs, *, fmaxes, max_steps, n_lanes=32, progress=False, method="fire"):
        """See `Surface.relax`: jax-md's FIRE, or `jphys.bfgs`."""
        from jphys.md import relax_to  # jax-md takes seconds to import

        how = {"max_steps": max_steps, "n_lanes": n_lanes, "progress": progress, "method": method}
        return relax_to(self.potential, self.params, graphs, fmaxes=fmaxes, **how)


@dataclasses.dataclass(frozen=True)
class Calculated:
    """A function on the host from one graph to energy (eV) and forces (n, 3) eV/Å.

    It may raise: then the structure has no answer, and the reason is counted in `problems` and logged.
    """

    ask: Callable[[Graph], tuple[float, np.ndarray]]
    problems: Counter[str] = dataclasses.field(default_factory=Counter)

    def answer(self, graph: Graph) -> tuple[float, np.ndarray]:
        """Energy and forces, NaN where there is no answer."""
        nothing = np.full((len(graph.nodes.species), 3), np.nan)
        try:
            energy, forces = (np.asarray(one, np.float64) for one in self.ask(graph))  # None becomes NaN
        except (Exception, SystemExit) as error:  # whatever a stranger's calculator raises
            return self._without(f"{type(error).__name__}: {error}"), nothing
        finite = np.isfinite(energy).all() and np.isfinite(forces).all()
        if finite and energy.size == 1 and forces.shape == nothing.shape:
            return energy.item(), forces
        return self._without("energy or forces are not finite, or forces not (n, 3)"), nothing

    def _without(self, reason: str) -> float:
        reason = (reason.splitlines() or [""])[0][:200]
        if reason not in self.problems and len(self.problems) >= REASONS:
            reason = OTHERS
        if not self.problems[reason]:
            _log.warning("no answer: %s", reason)
        self.problems[reason] += 1
        return np.nan

    def evaluate(self, graphs, *, progress=False):
        """See `Surface.evaluate`."""
        answers = [
            self.answer(graph) for graph in tqdm(graphs, desc="evaluate", leave=None, disable=not progress)
        ]
        return np.array([energy for energy, _ in answers]), [forces for _, forces in answers]

    def relax(self, graphs, *, fmaxes, max_steps, n_lanes=32, progress=False, method="fire"):
        """See `Surface.relax`: ASE's FIRE with the settings of `jphys.md.Fire`, or ASE's BFGS, one by one."""
        check_request(None, graphs, fmaxes=fmaxes, max_steps=max_steps, n_lanes=n_lanes)
        if method not in MINIMISERS:
            raise ValueError(f"method must be one of {', '.join(MINIMISERS)}, got {method!r}")
        rests = [
            self._relax_one(graph, fmaxes, max_steps, method)
            for graph in tqdm(graphs, desc="relax", leave=None, disable=not progress)
        ]
        return [_collected([rest[i] for rest in rests], method) for i in range(len(fmaxes))]

    def _relax_one(self, graph: Graph, fmaxes: Sequence[float], max_steps: int, method: str) -> list[tuple]:
        """(graph, energy, forces, largest force, status, steps) at every threshold, in their order."""
        atoms = ase.Atoms(np.asarray(graph.nodes.species), np.asarray(graph.nodes.positions, np.float64))
        atoms.calc = SurfaceCalculator(self, graph)
        minimiser = MINIMISERS[method](atoms, logfile=os.devnull)
        found: dict[int, tuple] = {}
        for i in np.argsort(fmaxes)[::-1]:
            try:
                done = minimiser.run(fmax=fmaxes[i], steps=max_steps - minimiser.nsteps)
                energy, forces = atoms.get_potential_energy(), atoms.get_forces()
                status = "converged" if done else "max_steps"
            except CalculationFailed:
                energy, forces, status = np.nan, np.full((len(atoms), 3), np.nan), "nonfinite"
            largest = float(np.linalg.norm(forces, axis=1).max())
            rest = with_positions(graph, atoms.positions.astype(graph.nodes.positions.dtype))
            found[int(i)] = (rest, energy, forces, largest, status, minimiser.nsteps)
        return [found[i] for i in range(len(fmaxes))]


@dataclasses.dataclass(frozen=True)
class Watched:
    """A surface that shows a progress bar whenever it is asked for several structures, bidden or not."""

    surface: Surface

    def evaluate(self, graphs, *, progress=False):
        """See `Surface.evaluate`."""
        return self.surface.evaluate(graphs, progress=progress or len(graphs) > 1)

    def relax(self, graphs, *, progress=False, **how):
        """See `Surface.relax`."""
        return self.surface.relax(graphs, progress=progress or len(graphs) > 1, **how)


class SurfaceCalculator(Calculator):
    """A surface as a calculator of ASE for one molecule, for its optimisers and dynamics.

    Args:
        surface: the surface.
        graph: the molecule, whose edges and bonds stay as they are.

    Raises:
        CalculationFailed: where the surface has no answer.
    """

    implemented_properties = ["energy", "forces"]  # noqa: RUF012

    def __init__(self, surface: Surface, graph: Graph):
        super().__init__()
        self.surface, self.graph = surface, graph

    def calculate(self, atoms: Any = None, properties=("energy",), system_changes=all_changes):
        """Called by ASE."""
        super().calculate(atoms, properties, system_changes)
        positions = atoms.positions.astype(self.graph.nodes.positions.dtype)
        (energy,), (forces,) = self.surface.evaluate([with_positions(self.graph, positions)])
        if not (np.isfinite(energy) and np.isfinite(forces).all()):
            raise CalculationFailed("no answer")
        self.results = {"energy": float(energy), "forces": np.asarray(forces, np.float64)}


def _ask_calculator(calculator, graph: Graph) -> tuple[float, np.ndarray]:
    cell, species = np.asarray(graph.globals.cell[0]), np.asarray(graph.nodes.species)
    # Neutral, with as few unpaired electrons as there can be: some calculators ask for it by these names.
    known = {"charge": 0, "spin": 1 + int(species.sum()) % 2}
    atoms = ase.Atoms(species, np.asarray(graph.nodes.positions), cell=cell, pbc=cell.any(), info=known)
    atoms.calc = calculator
    try:
        return atoms.get_potential_energy(), atoms.get_forces()
    except BaseException:
        # It has noted these atoms before it refused them: the next ones, moved a little, would find what it
        # prepared for those before.
        calculator.results, calculator.atoms = {}, None
        raise


def _collected(rests: list[tuple], method: str) -> Relaxation:
    graphs, energy, forces, fmax, status, n_steps = zip(*rests)
    columns = (np.array(energy), list(forces), None, np.array(fmax), np.array(status), np.array(n_steps))
    return Relaxation(list(graphs), *columns, method)


def perturb(graphs: Sequence[Graph], sigma: float, *, key) -> list[Graph]:
    """The graphs with Gaussian noise of standard deviation `sigma` (Å) on every coordinate.

    Rigid motion is not removed. Graph i draws from the i-th split of the key, so its noise does not
    depend on the other graphs, and with one key the noise of two amplitudes is the same direction.

    Raises:
        ValueError: if sigma is negative.
    """
    if not sigma >= 0:
        raise ValueError(f"sigma must be at least 0 Å, got {sigma}")
    n_max = max((len(g.nodes.species) for g in graphs), default=0)
    noise = jax.vmap(lambda k: jax.random.normal(k, (n_max, 3)))(jax.random.split(key, len(graphs)))
    moved = []
    for graph, step in zip(graphs, np.asarray(noise), strict=True):
        positions = np.asarray(graph.nodes.positions)
        step = (sigma * step[: len(positions)]).astype(positions.dtype)
        moved.append(with_positions(graph, positions + step))
    return moved


def finite_or_none(value) -> float | None:
    """A float for JSON, which knows no NaN or infinity."""
    value = float(value)
    return value if np.isfinite(value) else None
