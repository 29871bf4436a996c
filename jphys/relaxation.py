"""What a relaxation of many structures returns, and how it is run with any minimiser."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jphys import coordinates, lanes
from jphys.coordinates import CELL_ROWS, Freedom
from jphys.derivatives import energy_function
from jphys.evaluation import energies, stresses
from jphys.graph import Graph, with_cell, with_edges_within, with_positions
from jphys.models.potential import Potential, check_elements, check_graph_bonds

STATUS = {lanes.CONVERGED: "converged", lanes.MAX_STEPS: "max_steps", lanes.NONFINITE: "nonfinite"}
SKIN = 0.5
"""Edges of crystals reach this much beyond the cutoff, Å, and are found again when that is used up."""


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """Where m structures came to rest, in the order given."""

    graphs: list[Graph]  # at the relaxed positions and cells
    energy: np.ndarray  # (m,) eV, float64
    forces: list[np.ndarray]  # m of (n_i, 3) eV/Å, 0 on fixed atoms
    stress: np.ndarray | None  # (m, 3, 3) eV/Å³, where cells relax
    fmax: np.ndarray  # (m,) eV/Å, largest |F_i|; where cells relax also |rows of Vσ/n|, eV
    status: np.ndarray  # (m,) "converged", "max_steps" or "nonfinite"
    n_steps: np.ndarray  # (m,) steps taken
    method: str  # the minimiser, "fire" or "bfgs"

    @property
    def converged(self) -> np.ndarray:
        """(m,) bool."""
        return self.status == "converged"


class Rest(NamedTuple):
    """Where one structure stopped."""

    graph: Graph
    forces: np.ndarray
    fmax: np.floating
    n_steps: int
    status: int


def relax_with(
    stepper: lanes.Stepper,
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    fmaxes: Sequence[float],
    max_steps: int,
    relax_cell: bool,
    fixed: list[np.ndarray],
    n_lanes: int,
    progress: bool,
    guide=None,
) -> list[Relaxation]:
    """Relax every graph by the given minimiser, as `jphys.md.relax_to` with what it has checked.

    Args:
        stepper: the minimiser.
        fixed: (n_i,) bool of every graph.
        guide: as for `jphys.lanes.run`.

    Returns:
        One Relaxation per threshold.
    """
    graphs = [jax.tree.map(np.asarray, graph) for graph in graphs]
    order = np.argsort(fmaxes)[::-1]
    found: list[list[Rest]] = [[] for _ in graphs]
    if graphs:
        settings = {"fmaxes": np.asarray(fmaxes)[order], "n_lanes": n_lanes, "relax_cell": relax_cell}
        settings["guide"] = guide
        with tqdm(total=len(graphs), desc="relax", leave=None, disable=not progress) as bar:
            found = _run(stepper, potential, params, graphs, fixed, max_steps, bar, **settings)
    columns = ([rests[k] for rests in found] for k in np.argsort(order))
    energy = energy_function(potential)
    return [_collect(energy, params, column, relax_cell, stepper.name) for column in columns]


def _run(stepper, potential, params, graphs, fixed, max_steps, bar, *, relax_cell, **settings):
    """m lists of one Rest per threshold. Structures that outgrow their edges go on with new ones."""
    found: list[list[Rest]] = [[] for _ in graphs]
    starts, taken, chosen = list(graphs), np.zeros(len(graphs), int), np.arange(len(graphs))
    n_atoms, (cutoff, margin) = np.array([len(g.nodes.species) for g in graphs]), reach(potential, graphs)
    freedom = Freedom(free_rows(graphs, fixed, relax_cell), n_atoms, cutoff, margin)
    may_begin_again = np.full(len(graphs), np.isfinite(stepper.rough))
    while len(chosen):
        for i in chosen[np.isfinite(margin[chosen])]:
            if not np.isfinite(starts[i].nodes.positions).all():
                continue  # ends nonfinite at once, whatever its edges
            starts[i] = with_edges_within(starts[i], float(cutoff[i]) + SKIN, bonds_of=graphs[i])
        how = {"chosen": chosen, "freedom": freedom, "max_steps": max_steps - taken, "relax_cell": relax_cell}
        how |= {"again": may_begin_again}
        bank, fmax = lanes.run(
            stepper, energy_function(potential), params, starts, bar=bar, **how, **settings
        )
        for i in chosen:
            columns = (field[i] for field in (*bank, fmax))
            rests = [_rest(starts[i], taken[i], relax_cell, *one) for one in zip(*columns)]
            found[i] = [old if old.status == lanes.CONVERGED else new for old, new in zip(found[i], rests)]
            found[i] = found[i] or rests
        again = [i for i in chosen if found[i][-1].status in (lanes.OUTDATED, lanes.NEARER)]
        for i in again:
            starts[i], outdated = found[i][-1].graph, found[i][-1].status == lanes.OUTDATED
            if outdated and found[i][-1].n_steps == taken[i]:
                raise ValueError(
                    f"max_step must be small beside {SKIN} Å: one step outran the edges of graph {i}"
                )
            may_begin_again[i] &= outdated
            taken[i] = found[i][-1].n_steps
        bar.update(-len(again))
        chosen = np.array(again, int)
    return found


def reach(potential, graphs: Sequence[Graph]) -> tuple[np.ndarray, np.ndarray]:
    """Cutoff (m,), and how far edges reach beyond it (m,): infinite for all pairs and without a cutoff."""
    cutoff, margin = np.zeros(len(graphs), np.float32), np.full(len(graphs), np.inf, np.float32)
    if isinstance(potential, Potential):
        for i, graph in enumerate(graphs):
            n = len(graph.nodes.species)
            if graph.globals.cell.any() or len(graph.senders) < n * (n - 1):
                cutoff[i], margin[i] = potential.cutoff, SKIN
    return cutoff, margin


def free_rows(graphs: Sequence[Graph], fixed: list[np.ndarray], relax_cell: bool) -> np.ndarray:
    """Which rows of the coordinates may move (m, n_rows)."""
    n_max = max(len(graph.nodes.species) for graph in graphs)
    free = np.zeros((len(graphs), n_max + CELL_ROWS * relax_cell), bool)
    for row, graph, held in zip(free, graphs, fixed, strict=True):
        row[: len(held)] = ~held
        row[n_max:] = graph.globals.cell.any()
    return free


def _rest(start: Graph, taken: int, relax_cell: bool, rows, forces, n_steps, status, fmax) -> Rest:
    """Rows and forces of one structure as a graph."""
    n_atoms = len(start.nodes.species)
    cell = np.asarray(start.globals.cell[0])
    positions, cell = coordinates.to_structure(rows, n_atoms, cell, relax_cell)
    graph = with_cell(with_positions(start, positions), cell)
    return Rest(graph, forces[:n_atoms], fmax, int(taken + n_steps), int(status))


def check_request(potential, graphs, *, fmaxes, max_steps: int, n_lanes: int) -> None:
    """Raises ValueError for what `jphys.md.relax_to` says it refuses."""
    if not len(fmaxes) or not all(fmax > 0 for fmax in fmaxes):
        raise ValueError(f"fmax must be positive, got {fmaxes}")
    for name, value, least in (("max_steps", max_steps, 0), ("n_lanes", n_lanes, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    if isinstance(graphs, Graph) or not isinstance(graphs, Sequence):
        raise ValueError(f"graphs must be a sequence of Graph, got one {type(graphs).__name__}")
    for index, graph in enumerate(graphs):
        if not isinstance(graph, Graph):
            raise ValueError(
                f"graphs must hold Graph (from_ase makes one), got {type(graph).__name__} at {index}"
            )
        if len(graph.n_node) != 1 or not len(graph.nodes.species):
            shape = f"{len(graph.n_node)} structures, {len(graph.nodes.species)} atoms"
            raise ValueError(
                f"graphs must hold one structure of at least one atom, got {shape} in graph {index}"
            )
        if isinstance(potential, Potential):
            check_elements(potential, graph.nodes.species)
            check_graph_bonds(potential, graph)


def check_fixed(fixed: Sequence | None, graphs: Sequence[Graph]) -> list[np.ndarray]:
    """One (n_i,) bool array per graph."""
    sizes = [len(graph.nodes.species) for graph in graphs]
    if fixed is None:
        return [np.zeros(size, bool) for size in sizes]
    if len(fixed) != len(graphs):
        raise ValueError(f"fixed must have one entry per graph, {len(graphs)}, got {len(fixed)}")
    held = [np.zeros(n, bool) if one is None else np.asarray(one) for one, n in zip(fixed, sizes)]
    for index, (one, size) in enumerate(zip(held, sizes)):
        if one.dtype != bool or one.shape != (size,):
            raise ValueError(
                f"fixed must be None or ({size},) bool, got {one.shape} {one.dtype} for graph {index}"
            )
    return held


def _collect(energy, params, rests: list[Rest], relax_cell: bool, method: str) -> Relaxation:
    """Results of one threshold."""
    graphs = [rest.graph for rest in rests]
    # No pair of a crystal is found where positions are NaN, and no pair has no energy.
    finite = np.array([bool(np.isfinite(graph.nodes.positions).all()) for graph in graphs], bool)
    stress = None
    if relax_cell:
        stress = np.where(finite[:, None, None], stresses(energy, params, graphs), np.nan)
    return Relaxation(
        graphs=graphs,
        energy=np.where(finite, energies(energy, params, graphs), np.nan),
        forces=[rest.forces for rest in rests],
        stress=stress,
        fmax=np.array([rest.fmax for rest in rests]),
        status=np.array([STATUS[rest.status] for rest in rests], str),
        n_steps=np.array([rest.n_steps for rest in rests], int),
        method=method,
    )


def joined(parts: Sequence[Relaxation]) -> Relaxation:
    """The relaxations of parts as one."""
    columns = {}
    for field in dataclasses.fields(Relaxation):
        first, *_ = values = [getattr(part, field.name) for part in parts]
        if isinstance(first, list):
            columns[field.name] = [one for value in values for one in value]
        else:
            columns[field.name] = np.concatenate(values) if isinstance(first, np.ndarray) else first
    return Relaxation(**columns)
