"""An audit of any potential for molecules: what a surface must do before a simulation on it means anything.

Every check is one function (surface, molecules, config, seed) -> Check; where a surface gives no answer, be
it for one case, it fails, and the audit goes on. Those against density functional theory: `check_truth`.
"""

import itertools
from collections.abc import Callable, Sequence

import ase
import jax
import numpy as np
from ase import units
from ase.calculators.calculator import CalculationFailed
from ase.md.verlet import VelocityVerlet
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from jphys.data import augmented_qm9
from jphys.data.qm9 import load_small
from jphys.data.scaled import split_shapes, take, take_shapes
from jphys.data.structures import graphs
from jphys.elements import COVALENT_RADIUS, SYMBOLS
from jphys.graph import Graph, bonds_of, make_graph
from jphys.reliability import assembly as assemblies
from jphys.reliability import recovery as recoveries
from jphys.reliability.check import SAMPLE_PS, AuditConfig, Check, at_least, at_most, largest
from jphys.reliability.check_truth import frequencies, torsions
from jphys.reliability.stable_distance import stable_distance_errors
from jphys.reliability.surface import Surface, SurfaceCalculator, Watched, finite_or_none, surface_of
from jphys.training.parts import split_data

__all__ = ["CHECKS", "AuditConfig", "audit"]

ELEMENTS = (1, 6, 7, 8, 9)
FAR = 60.0  # Å between fragments that must not feel each other
STRETCHED = 0  # seed of the split of stretched molecules, that of vimpnn-qm9; others know some at rest


def audit(
    potential,
    params=None,
    *,
    config: AuditConfig | None = None,
    seed: int = 0,
    progress: bool = False,
    keep: Callable[[list[Check]], None] = lambda _: None,
) -> list[Check]:
    """All checks, in order.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        config: how much, and the limits; as `AuditConfig` has them where not given.
        seed: of noise, choices and velocities.
        progress: show a progress bar, and one within every check that asks for much.
        keep: called after every check with all of them so far: an audit of a slow calculator that is stopped
            has told what it knew.
    """
    config, surface = config or AuditConfig(), surface_of(potential, params)
    surface = Watched(surface) if progress else surface
    test = graphs(split_data(load_small(), config.split).test.structures)
    sizes = [len(graph.nodes.species) for graph in test]
    chosen = [test[i] for i in recoveries.select(sizes, n=config.molecules, seed=seed)]
    found = []
    with tqdm(CHECKS, disable=not progress) as bar:
        for check in bar:
            bar.set_description(check.__name__.replace("_", " "))
            found.append(_measured(check, surface, chosen, config, seed))
            keep(found)
    return found


def _measured(check: Callable[..., Check], surface: Surface, chosen, config: AuditConfig, seed: int) -> Check:
    """The check, failed where a surface refuses it altogether, as one that lacks an element does."""
    try:
        return check(surface, chosen, config, seed)
    except (Exception, SystemExit) as error:  # whatever a stranger's potential raises
        name, reason = check.__name__.replace("_", " "), f"{type(error).__name__}: {error}"
        return Check(name, False, None, 0.0, "", f"not measured: {reason}", {"error": reason})


def recovery(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Do displaced molecules come back?"""
    how = {"sigmas": (0.1,), "fmaxes": (0.01,), "max_steps": config.steps}
    result = recoveries.recovery(surface, None, chosen, **how, key=jax.random.key(seed))
    row = recoveries.summary(result)["rows"][0]
    row |= {"distances": np.round(result.distance[0, 0], 5).tolist()}
    what = "fraction of molecules displaced by 0.1 Å that relax back to within 0.1 Å"
    return at_least("recovery", row["recovered"], config.recovered, "", what, row)


def assembly(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Do molecules that were taken apart find back?"""
    result = assemblies.assembly(surface, None, chosen, max_steps=config.steps, seed=seed)
    row = assemblies.summary(result)["rows"][0] | {"n_without_group": result.n_without_group}
    what = "fraction of molecules whole again after a group was moved 0.7 Å away"
    return at_least("assembly", row["success"], config.assembled, "", what, row)


def repulsion(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Do atoms repel each other at every short distance?"""
    del chosen, config, seed
    curves = _diatomics(surface, lambda radius: np.geomspace(0.05, 0.7 * radius, 24))
    bad = {
        name: float(distance[~(np.isfinite(pull) & (pull < 0))].max())
        for name, (distance, _, pull) in curves.items()
        if not (np.isfinite(pull) & (pull < 0)).all()
    }
    what = "pairs of H C N O F that do not repel somewhere from 0.05 Å to 0.7 of their covalent radii"
    return at_most("repulsion", float(len(bad)), 0.0, "pairs", what, {"largest_distance": bad})


def smoothness(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Has a diatomic curve one minimum and no wiggles?"""
    del chosen, seed
    curves = _diatomics(surface, lambda radius: np.linspace(0.6 * radius, 6.0, 160))
    flips, shown = {}, {}
    for name, (distance, energy, pull) in curves.items():
        if np.isfinite(pull).all() and np.isfinite(energy).all():
            strong = pull[np.abs(pull) > 1e-3]
            flips[name] = int((np.sign(strong[1:]) != np.sign(strong[:-1])).sum())
            shown[name] = [np.round(x, 5).tolist() for x in (distance, energy - energy[-1])]
    value = float(np.mean(list(flips.values()))) if len(flips) == len(curves) else None
    what = "changes of sign of the force along the curve of two atoms, mean over the pairs of H C N O F"
    details = {"flips": flips, "curves": shown, "n_without_answer": len(curves) - len(flips)}
    return at_most("smoothness", value, config.flips, "flips", what, details)


def additivity(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Do far fragments leave each other alone?"""
    del seed
    pairs = list(itertools.pairwise(chosen[:12]))
    joined = [_side_by_side(a, b) for a, b in pairs]
    energies, _ = surface.evaluate([*chosen[:12], *joined])
    single, both = energies[: len(chosen[:12])], energies[len(chosen[:12]) :]
    errors = np.abs(both - single[:-1] - single[1:])
    what = f"largest energy that two molecules {FAR:.0f} Å apart feel of each other"
    details = {"errors": [finite_or_none(error) for error in errors]}
    return at_most("additivity", largest(errors), config.far_ev, "eV", what, details)


def invariance(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Is the energy that of the molecule, however its atoms are numbered and wherever it lies?"""
    rng, some = np.random.default_rng(seed), chosen[-8:]
    changed: dict[str, list[Graph]] = {"renumbered": [], "turned": [], "moved": []}
    for graph in some:
        n, positions = len(graph.nodes.species), np.asarray(graph.nodes.positions, np.float64)
        order = rng.permutation(n)
        changed["renumbered"].append(_rebuilt(graph, positions, order))
        turn = Rotation.random(rng=rng).as_matrix()
        changed["turned"].append(_rebuilt(graph, positions @ turn.T, np.arange(n)))
        changed["moved"].append(_rebuilt(graph, positions + rng.normal(size=3) * 5, np.arange(n)))
    energies, _ = surface.evaluate([*some, *(graph for made in changed.values() for graph in made)])
    blocks = energies.reshape(4, -1)
    errors = {name: largest(np.abs(block - blocks[0])) for name, block in zip(changed, blocks[1:])}
    known = [value for value in errors.values() if value is not None]
    value = max(known) if len(known) == len(errors) else None
    what = "largest change of energy by renumbering, rotation or translation"
    return at_most("invariance", value, config.invariance_ev, "eV", what, errors)


def conservation(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Is energy conserved?"""
    found = [_drift(surface, graph, config.dynamics_ps, seed) for graph in chosen[-2:]]
    drifts = [abs(slope) for slope, _ in found if slope is not None]
    value = max(drifts) if len(drifts) == len(found) else None
    what = "largest drift of the total energy in dynamics at 300 K with steps of 0.5 fs"
    details = {"runs": [{"drift": slope, "finished_ps": ps} for slope, ps in found]}
    return at_most("conservation", value, config.drift, "eV/atom/ps", what, details)


def stable_distance(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Is a stretched molecule lowest where it should be?"""
    del chosen
    points = augmented_qm9.load()
    test = take(points, split_shapes(points, seed=STRETCHED).test)
    some = take_shapes(test, np.random.default_rng(seed).permutation(test.n_shape)[: config.curves])
    predicted, _ = surface.evaluate(graphs(some.structures))
    found = stable_distance_errors(some, predicted)
    what = "mean error of the distance at which stretched molecules are lowest, against GFN2-xTB"
    value = None if found["n_nonfinite"] else found["mean"]
    return at_most("stable distance", value, config.stable_distance, "Å", what, found)


CHECKS: tuple[Callable[..., Check], ...] = (
    *(recovery, assembly, repulsion, smoothness, additivity, invariance, conservation, stable_distance),
    *(frequencies, torsions),
)


def _diatomics(surface: Surface, distances: Callable[[float], np.ndarray]) -> dict[str, tuple]:
    """Name -> distances (k,) Å, energies (k,) eV, pull (k,) eV/Å, the force that brings atoms together."""
    names, asked, grids = [], [], []
    for a, b in itertools.combinations_with_replacement(ELEMENTS, 2):
        grid = distances(float(COVALENT_RADIUS[a] + COVALENT_RADIUS[b]))
        names.append(f"{SYMBOLS[a]}–{SYMBOLS[b]}")
        grids.append(grid)
        places = np.zeros((len(grid), 2, 3))
        places[:, 1, 0] = grid
        asked += [make_graph([a, b], place, bonds=[(0, 1, 1)]) for place in places]
    energies, forces = surface.evaluate(asked)
    pulls = np.array([-force[1, 0] for force in forces])
    ends = np.cumsum([len(grid) for grid in grids])[:-1]
    return {
        name: (grid, energy, pull)
        for name, grid, energy, pull in zip(names, grids, np.split(energies, ends), np.split(pulls, ends))
    }


def _side_by_side(a: Graph, b: Graph) -> Graph:
    bonds = np.concatenate([bonds_of(a), bonds_of(b) + [len(a.nodes.species), len(a.nodes.species), 0]])
    places = [np.asarray(g.nodes.positions) - np.asarray(g.nodes.positions).mean(axis=0) for g in (a, b)]
    species = np.concatenate([np.asarray(g.nodes.species) for g in (a, b)])
    return make_graph(species, np.concatenate([places[0], places[1] + [FAR, 0, 0]]), bonds=bonds)


def _rebuilt(graph: Graph, positions: np.ndarray, order: np.ndarray) -> Graph:
    """The molecule with other positions, atom order[i] in place i."""
    place = np.argsort(order)
    bonds = bonds_of(graph)
    bonds[:, :2] = place[bonds[:, :2]]
    return make_graph(np.asarray(graph.nodes.species)[order], positions[order], bonds=bonds)


def _drift(surface: Surface, graph: Graph, length: float, seed: int) -> tuple[float | None, float]:
    """Slope of the total energy (eV per atom and ps; None where the run broke), and how far it came, ps."""
    atoms = ase.Atoms(np.asarray(graph.nodes.species), np.asarray(graph.nodes.positions, np.float64))
    atoms.calc = SurfaceCalculator(surface, graph)
    spread = np.sqrt(units.kB * 300 * atoms.get_masses()[:, None])
    momenta = spread * np.random.default_rng(seed).standard_normal((len(atoms), 3))
    atoms.set_momenta(momenta - momenta.mean(axis=0))
    run, times, totals = VelocityVerlet(atoms, timestep=0.5 * units.fs), [], []
    try:
        looks = range(round(length / SAMPLE_PS))
        for step in tqdm(looks, desc="dynamics", leave=None, disable=not isinstance(surface, Watched)):
            run.run(10)
            times.append((step + 1) * SAMPLE_PS)
            totals.append(atoms.get_total_energy())
    except (CalculationFailed, FloatingPointError):
        return None, times[-1] if times else 0.0
    slope = np.polyfit(times, totals, 1)[0] / len(atoms)
    return (float(slope) if np.isfinite(slope) else None), times[-1]
