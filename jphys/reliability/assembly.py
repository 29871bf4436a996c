"""Assembly: do the groups of a molecule that was taken apart find back? (Yi et al., fig. 3 and sec. 4.4)."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from jphys.bonds import connectivity, perceive_bonds
from jphys.fragments import bridges
from jphys.graph import Graph, bonds_of, with_positions
from jphys.reliability.recovery import CAP, RECOVERED, rest_distances
from jphys.reliability.surface import surface_of
from jphys.reliability.wilson import wilson

__all__ = ["SHIFT", "Assembly", "assembly", "frames", "groups_of", "summary", "take_apart"]

SHIFT = 0.7  # Å, as in the paper


class Group(NamedTuple):
    """One side of an acyclic single bond."""

    rest: int  # atom of the bond that stays
    first: int  # atom of the bond that leaves
    atoms: np.ndarray  # (k,) all that leave


class Apart(NamedTuple):
    """A molecule whose groups were moved away."""

    index: int  # number of the molecule among those given
    graph: Graph
    groups: tuple[Group, ...]


@dataclasses.dataclass(frozen=True)
class Assembly:
    """What became of m molecules that were taken apart."""

    apart: list[Apart]
    relaxed: list[Graph]
    distance: np.ndarray  # ΔP (m,) Å from the stable structure, at most CAP
    restored: np.ndarray  # (m,) bool: the pairs at bonded distance are those of the stable structure
    status: np.ndarray  # (m,) "converged", "max_steps" or "nonfinite"
    n_steps: np.ndarray  # (m,)
    energy: np.ndarray  # (3, m) eV: apart, relaxed, stable; NaN where there is no answer
    n_without_group: int  # molecules given that have no bond to cut

    @property
    def success(self) -> np.ndarray:
        """(m,) bool: bonds restored and ΔP < 0.1 Å."""
        return self.restored & (self.distance < RECOVERED)


def groups_of(graph: Graph) -> list[Group]:
    """The groups of a molecule: the smaller sides of its acyclic single bonds between heavy atoms.

    Of two sides with as many heavy atoms, the one with fewer atoms is the group. Bonds are those of the
    graph, else perceived from the geometry.
    """
    species, bonds = np.asarray(graph.nodes.species), _bonds(graph)
    orders = np.zeros((len(species),) * 2, int)
    orders[bonds[:, 0], bonds[:, 1]] = orders[bonds[:, 1], bonds[:, 0]] = bonds[:, 2]
    heavy, found = species > 1, []
    for i, j, side in bridges(orders > 0):
        if orders[i, j] != 1 or not (heavy[i] and heavy[j]):
            continue
        sizes = [(heavy[mask].sum(), mask.sum()) for mask in (side, ~side)]
        rest, first, mask = (i, j, side) if sizes[0] <= sizes[1] else (j, i, ~side)
        found.append(Group(rest, first, np.flatnonzero(mask)))
    return found


def take_apart(
    graphs: Sequence[Graph], *, shift: float = SHIFT, n_groups: int | None = None, seed: int = 0
) -> list[Apart]:
    """Each molecule with one or two of its groups moved away along their bonds, which break.

    Args:
        graphs: stable molecules; those without a group are left out.
        shift: Å.
        n_groups: 1 or 2 groups per molecule, where it has so many apart from each other; None draws it.
        seed: of the choices, which do not depend on the other molecules.

    Raises:
        ValueError: if shift is not positive, n_groups is not None, 1 or 2, or seed is negative.
    """
    if not shift > 0:
        raise ValueError(f"shift must be positive, got {shift}")
    if n_groups not in (None, 1, 2):
        raise ValueError(f"n_groups must be None, 1 or 2, got {n_groups}")
    if seed < 0:
        raise ValueError(f"seed must not be negative, got {seed}")
    found = []
    for index, graph in enumerate(graphs):
        rng, groups = np.random.default_rng((seed, index)), groups_of(graph)
        if not groups:
            continue
        pairs = [two for two in itertools.combinations(groups, 2) if _independent(*two)]
        wanted = n_groups or int(rng.integers(1, 3))
        choices = pairs if wanted == 2 and pairs else [(group,) for group in groups]
        chosen = choices[rng.integers(len(choices))]
        positions = np.array(graph.nodes.positions)
        for rest, first, atoms in chosen:
            along = np.asarray(graph.nodes.positions)[[first, rest]]
            bond = along[0] - along[1]
            positions[atoms] += shift * bond / np.linalg.norm(bond)
        found.append(Apart(index, with_positions(graph, positions), chosen))
    return found


def _independent(a: Group, b: Group) -> bool:
    """Whether two groups can leave the same rest."""
    return not len(np.intersect1d(a.atoms, b.atoms)) and a.rest not in b.atoms and b.rest not in a.atoms


def assembly(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    shift: float = SHIFT,
    n_groups: int | None = None,
    fmax: float = 0.01,
    max_steps: int = 500,
    seed: int = 0,
    n_lanes: int = 32,
    progress: bool = False,
) -> Assembly:
    """Take molecules apart, relax them on a surface, and see whether they are whole again.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        graphs: stable molecules with all pairs as edges.
        shift, n_groups, seed: as `take_apart`.
        fmax: eV/Å, where a relaxation ends.
        max_steps: FIRE steps after which a molecule is taken as it is.
        n_lanes: molecules relaxed at once.
        progress: show a progress bar.

    Raises:
        ValueError: if no molecule has a group, and as `take_apart` and `jphys.relax`.
    """
    apart = take_apart(graphs, shift=shift, n_groups=n_groups, seed=seed)
    if not apart:
        raise ValueError(f"graphs must hold a molecule with a bond to cut, got {len(graphs)} without one")
    surface, stable = surface_of(potential, params), [graphs[one.index] for one in apart]
    moved = [one.graph for one in apart]
    (end,) = surface.relax(moved, fmaxes=(fmax,), max_steps=max_steps, n_lanes=n_lanes, progress=progress)
    energies = np.asarray(surface.evaluate([*moved, *stable])[0]).reshape(2, -1)
    return Assembly(
        apart=apart,
        relaxed=end.graphs,
        distance=rest_distances(end, stable),
        restored=np.array([_same_pairs(a, b) for a, b in zip(end.graphs, stable)]),
        status=end.status,
        n_steps=end.n_steps,
        energy=np.stack([energies[0], end.energy, energies[1]]),
        n_without_group=len(graphs) - len(apart),
    )


def summary(result: Assembly) -> dict[str, Any]:
    """Success rates with Wilson's intervals (95 %), ready for JSON.

    Returns:
        {"n_without_group", "rows": [row, …]} for all molecules, then for one and two groups, each with `n`,
        `success`, `low` and `high`, `restored`, `distance` (median ΔP, Å), `n_failed` (not finite or at the
        cap) and `mean_steps`.
    """
    cut = np.array([len(one.groups) for one in result.apart])
    rows = []
    for name, chosen in (("all", cut > 0), ("one group", cut == 1), ("two groups", cut == 2)):
        if not chosen.any():
            continue
        low, high = wilson(int(result.success[chosen].sum()), int(chosen.sum()))
        failed = (result.status[chosen] == "nonfinite") | (result.distance[chosen] >= CAP)
        rows.append(
            {
                "molecules": name,
                "n": int(chosen.sum()),
                "success": float(result.success[chosen].mean()),
                "low": low,
                "high": high,
                "restored": float(result.restored[chosen].mean()),
                "distance": float(np.median(result.distance[chosen])),
                "n_failed": int(failed.sum()),
                "mean_steps": float(result.n_steps[chosen].mean()),
            }
        )
    return {"n_without_group": result.n_without_group, "rows": rows}


def frames(potential, params, graph: Graph, steps: Sequence[int]) -> list[tuple[Graph, float]]:
    """A structure after so many FIRE steps each, with its energy (eV): what a figure shows.

    Args:
        potential, params: as `assembly`.
        graph: where the relaxation starts.
        steps: numbers of steps; 0 is the start.
    """
    surface = surface_of(potential, params)
    ends = [surface.relax([graph], fmaxes=(1e-6,), max_steps=n)[0] for n in steps]
    return [(end.graphs[0], float(end.energy[0])) for end in ends]


def _bonds(graph: Graph) -> np.ndarray:
    known = bonds_of(graph)
    if len(known):
        return known
    species, positions = np.asarray(graph.nodes.species), np.asarray(graph.nodes.positions)
    perceived = perceive_bonds(species, positions)
    return connectivity(species, positions) if perceived is None else perceived


def _same_pairs(a: Graph, b: Graph) -> bool:
    """Whether the same pairs are at bonded distance."""
    if not np.isfinite(a.nodes.positions).all():
        return False
    found, wanted = (connectivity(np.asarray(g.nodes.species), np.asarray(g.nodes.positions)) for g in (a, b))
    return np.array_equal(found, wanted)
