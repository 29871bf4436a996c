"""What a relaxation of many structures returns, and how it is run with any minimiser."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np
from tqdm import tqdm

from jphys import lanes
from jphys.derivatives import energy_function
from jphys.evaluation import energies
from jphys.graph import Graph, with_positions
from jphys.models.potential import Potential, check_elements

STATUS = {lanes.CONVERGED: "converged", lanes.MAX_STEPS: "max_steps", lanes.NONFINITE: "nonfinite"}


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """Where m structures came to rest, in the order given."""

    graphs: list[Graph]  # at the relaxed positions
    energy: np.ndarray  # (m,) eV, float64
    forces: list[np.ndarray]  # m of (n_i, 3) eV/Å
    fmax: np.ndarray  # (m,) eV/Å, largest |F_i|
    status: np.ndarray  # (m,) "converged", "max_steps" or "nonfinite"
    n_steps: np.ndarray  # (m,) steps taken

    @property
    def converged(self) -> np.ndarray:
        """(m,) bool."""
        return self.status == "converged"


def relax_with(
    stepper: lanes.Stepper,
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    fmaxes: Sequence[float],
    max_steps: int,
    n_lanes: int,
    progress: bool,
) -> list[Relaxation]:
    """Relax every graph by the given minimiser: one Relaxation per threshold; see `jphys.md.relax_to`."""
    _check(potential, graphs, fmaxes, max_steps, n_lanes)
    energy = energy_function(potential)
    graphs = [jax.tree.map(np.asarray, graph) for graph in graphs]
    if not graphs:
        none = np.zeros(0)
        return [Relaxation([], none, [], none, none.astype(str), none.astype(int)) for _ in fmaxes]
    order = np.argsort(fmaxes)[::-1]
    with tqdm(total=len(graphs), desc="relax", disable=not progress) as bar:
        settings = {"max_steps": max_steps, "n_lanes": n_lanes, "bar": bar}
        bank = lanes.run(stepper, energy, params, graphs, np.asarray(fmaxes)[order], **settings)
    columns = (jax.tree.map(lambda field, k=k: field[:, k], bank) for k in np.argsort(order))
    return [_collect(energy, params, graphs, column) for column in columns]


def _check(potential, graphs, fmaxes, max_steps, n_lanes) -> None:
    if not len(fmaxes) or not all(fmax > 0 for fmax in fmaxes):
        raise ValueError(f"fmax must be positive, got {fmaxes}")
    for name, value, least in (("max_steps", max_steps, 0), ("n_lanes", n_lanes, 1)):
        if value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")
    for index, graph in enumerate(graphs):
        if len(graph.n_node) != 1 or not len(graph.nodes.species):
            shape = f"{len(graph.n_node)} structures, {len(graph.nodes.species)} atoms"
            raise ValueError(
                f"graphs must hold one structure of at least one atom, got {shape} in graph {index}"
            )
        if isinstance(potential, Potential):
            check_elements(potential, graph.nodes.species)


def _collect(energy, params, graphs: list[Graph], bank: lanes.Bank) -> Relaxation:
    """Results of one threshold (m, …), without the padding."""
    sizes = [len(graph.nodes.species) for graph in graphs]
    relaxed = [
        with_positions(graph, positions[:size])
        for graph, positions, size in zip(graphs, bank.positions, sizes, strict=True)
    ]
    forces = [force[:size] for force, size in zip(bank.forces, sizes, strict=True)]
    return Relaxation(
        graphs=relaxed,
        energy=energies(energy, params, relaxed),
        forces=forces,
        fmax=np.array([np.linalg.norm(force, axis=1).max() for force in forces]),
        status=np.array([STATUS[int(code)] for code in bank.status]),
        n_steps=np.asarray(bank.n_steps),
    )
