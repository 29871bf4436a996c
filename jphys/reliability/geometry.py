"""Geometry as a job: from a force field's minimum to the geometry that a better method would give."""

import dataclasses
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from jphys.graph import Graph, bonds_of, with_positions
from jphys.reliability.conformers import embed, has_bonds, laid_on, rmsd, same_conformer
from jphys.reliability.surface import finite_or_none, surface_of

__all__ = ["CAP", "SIZES", "Geometries", "Starts", "geometries", "starts", "summary"]

CAP = 5.0
"""Å; a deviation counts as this at most, and so does one of a structure that lost its energy or forces."""

SIZES = ((2, 7), (8, 8), (9, 9))
"""Least and greatest number of heavy atoms of the groups that are told apart."""


@dataclasses.dataclass(frozen=True)
class Starts:
    """m molecules as they should come out, and where they start: MMFF94's minimum of that conformer."""

    references: list[Graph]
    starts: list[Graph]
    without: Counter[str]  # molecules that were asked and have no start, by reason


@dataclasses.dataclass(frozen=True)
class Geometries:
    """How far m relaxed molecules are from their references: root mean square deviations, Å, ≤ CAP."""

    heavy: np.ndarray  # (m,) of atoms other than hydrogen
    every: np.ndarray  # (m,) of all atoms
    n_heavy: np.ndarray  # (m,) atoms other than hydrogen
    other: np.ndarray  # (m,) bool: ended in another conformer
    broken: np.ndarray  # (m,) bool: ended with other bonds
    status: np.ndarray  # (m,) "converged", "max_steps" or "nonfinite"; "start" of the starts themselves
    seconds: float  # of the relaxation, per molecule, with what it compiled


def starts(
    references: Iterable[Graph], *, most: int | None = None, n_embeddings: int = 30, seed: int = 0
) -> Starts:
    """MMFF94's minimum of each molecule in the conformer of its reference, nearest to it of many embeddings.

    Args:
        references: molecules with bonds, at the geometry that is asked for.
        most: no more molecules are asked when so many have a start; None for all.
        n_embeddings: attempts of RDKit's distance geometry per molecule, at least 1.
        seed: of the distance geometry.

    Returns:
        Starts. A molecule is left out, and counted, where RDKit or MMFF94 does not take it, or where no
        embedding comes to rest in the conformer of the reference (`same_conformer`).

    Raises:
        ValueError: for fewer than one embedding, a negative seed, a molecule without bonds.
    """
    if n_embeddings < 1:
        raise ValueError(f"n_embeddings must be at least 1, got {n_embeddings}")
    if seed < 0:
        raise ValueError(f"seed must be at least 0, got {seed}")
    kept, begun, without = [], [], Counter()
    for index, graph in enumerate(references):
        if most is not None and len(begun) >= most:
            break
        if len(graph.nodes.species) > 1 and not len(bonds_of(graph)):
            raise ValueError(f"references must have bonds, got none in molecule {index}")
        begin = _start(graph, n_embeddings, seed)
        if isinstance(begin, str):
            without[begin] += 1
            continue
        kept.append(graph)
        begun.append(with_positions(graph, begin.astype(np.asarray(graph.nodes.positions).dtype)))
    return Starts(kept, begun, without)


def _start(graph: Graph, n: int, seed: int) -> np.ndarray | str:
    """Positions (n_atoms, 3) of the nearest minimum in the same conformer, or why there is none."""
    species, bonds = np.asarray(graph.nodes.species), bonds_of(graph)
    positions = np.asarray(graph.nodes.positions, np.float64)
    try:
        minima = embed(species, positions, bonds, n=n, seed=seed)
    except ValueError as error:
        return str(error).rsplit(", got", 1)[0]
    laid = [laid_on(species, bonds, positions, minimum) for minimum in minima]
    laid = [one for one in laid if same_conformer(bonds, one, positions)]
    if not laid:
        return "no embedding comes to rest in the conformer of the reference"
    return min(laid, key=lambda one: rmsd(one, positions))


def geometries(
    potential,
    params,
    begun: Starts,
    *,
    fmax: float = 0.01,
    max_steps: int = 500,
    n_lanes: int = 32,
    progress: bool = False,
) -> Geometries:
    """Relax molecules on a surface from their starts, and compare with their references.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE; None
            for the starts as they are.
        params: the parameters of the first two.
        begun: of `starts`.
        fmax: threshold for the largest atomic force, eV/Å.
        max_steps: steps after which a structure is taken where it is.
        n_lanes: structures relaxed at once.
        progress: show a progress bar.

    Raises:
        ValueError: for no molecules, and as `jphys.relax`.
    """
    if not begun.starts:
        raise ValueError("begun must hold at least one molecule, got none")
    ends, status, began = begun.starts, np.full(len(begun.starts), "start"), time.monotonic()
    if potential is not None:
        how = {"max_steps": max_steps, "n_lanes": n_lanes, "progress": progress, "method": "bfgs"}
        (rest,) = surface_of(potential, params).relax(begun.starts, fmaxes=(fmax,), **how)
        ends, status = rest.graphs, rest.status
    seconds = (time.monotonic() - began) / len(begun.starts)
    rows = [_compare(end, reference) for end, reference in zip(ends, begun.references, strict=True)]
    heavy, every, n_heavy, other, broken = (np.array(column) for column in zip(*rows))
    lost = status == "nonfinite"
    heavy, every = (np.where(lost, CAP, np.minimum(one, CAP)) for one in (heavy, every))
    return Geometries(heavy, every, n_heavy, other | lost, broken | lost, status, seconds)


def _compare(end: Graph, reference: Graph) -> tuple[float, float, int, bool, bool]:
    """Heavy-atom and all-atom deviation, heavy atoms; whether the conformer, whether the bonds are others."""
    species, bonds = np.asarray(reference.nodes.species), bonds_of(reference)
    heavy, (a, b) = species > 1, (np.asarray(g.nodes.positions, np.float64) for g in (end, reference))
    if not np.isfinite(a).all() or np.abs(a).max() > 1e6:
        return CAP, CAP, int(heavy.sum()), True, True
    a = laid_on(species, bonds, b, a)
    alone = heavy if heavy.any() else np.ones(len(species), bool)
    other = not same_conformer(bonds, a, b)
    return rmsd(a, b, alone), rmsd(a, b), int(heavy.sum()), other, not has_bonds(end)


def summary(result: Geometries, sizes: Sequence[tuple[int, int]] = SIZES) -> list[dict[str, Any]]:
    """Statistics of groups of molecules by their number of heavy atoms, and of all; ready for JSON.

    Args:
        result: of `geometries`.
        sizes: least and greatest number of heavy atoms of each group.

    Returns:
        A row per group that has molecules and one of all: `heavy_atoms` "2–7" or "all", `n`, median and mean
        of the deviations of `heavy` and of `every` atom in Å, `other` the share in another conformer,
        `broken` how many have other bonds, `failed` how many lost their energy or forces, `unfinished` how
        many were still moving.
    """
    groups = {f"{low}–{high}" if low < high else f"{low}": (low, high) for low, high in sizes}
    rows = []
    for name, (low, high) in (*groups.items(), ("all", (0, 10**9))):
        chosen = (result.n_heavy >= low) & (result.n_heavy <= high)
        if not chosen.any():
            continue
        heavy, every, status = result.heavy[chosen], result.every[chosen], result.status[chosen]
        rows.append(
            {
                "heavy_atoms": name,
                "n": int(chosen.sum()),
                "heavy": {"median": finite_or_none(np.median(heavy)), "mean": finite_or_none(heavy.mean())},
                "every": {"median": finite_or_none(np.median(every)), "mean": finite_or_none(every.mean())},
                "other": float(result.other[chosen].mean()),
                "broken": int(result.broken[chosen].sum()),
                "failed": int((status == "nonfinite").sum()),
                "unfinished": int((status == "max_steps").sum()),
            }
        )
    return rows
