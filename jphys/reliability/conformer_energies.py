"""Conformer energies: does a surface put the minima of one molecule into the right order?"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import rankdata

from jphys.graph import Graph, bonds_of, with_positions
from jphys.reliability.conformers import embed, has_bonds, laid_on, same_conformer
from jphys.reliability.surface import finite_or_none, surface_of

__all__ = ["Conformers", "conformers", "order"]


@dataclasses.dataclass(frozen=True)
class Conformers:
    """Distinct minima of one molecule on the surface that judges, and their energies there."""

    graphs: list[Graph]
    energies: np.ndarray  # (k,) eV


def conformers(
    judge,
    params,
    graph: Graph,
    *,
    n_embeddings: int = 30,
    seed: int = 0,
    fmax: float = 0.01,
    max_steps: int = 500,
) -> Conformers:
    """Conformers of a molecule on one surface: embeddings, MMFF94's minima, those relaxed there.

    Args:
        judge: a Potential, any function (params, graph) -> (n_graph,) eV, a calculator of ASE or a Surface.
        params: the parameters of the first two.
        graph: a molecule with bonds, whose geometry says which stereoisomer is meant.
        n_embeddings, seed: of RDKit's distance geometry.
        fmax: threshold for the largest atomic force, eV/Å.
        max_steps: steps at most.

    Returns:
        Conformers: those that came to rest with the bonds of the molecule, each once (`same_conformer`), and
        one of two that are mirror images: their energies are the same.

    Raises:
        ValueError: as `jphys.reliability.conformers.embed`.
    """
    species, bonds = np.asarray(graph.nodes.species), bonds_of(graph)
    positions = np.asarray(graph.nodes.positions)
    minima = embed(species, positions, bonds, n=n_embeddings, seed=seed)
    first = _first_of_each(species, bonds, minima)
    begun = [with_positions(graph, minima[i].astype(positions.dtype)) for i in first]
    if not begun:
        return Conformers([], np.empty(0))
    (rest,) = surface_of(judge, params).relax(begun, fmaxes=(fmax,), max_steps=max_steps, method="bfgs")
    whole = [
        status == "converged" and has_bonds(end) for end, status in zip(rest.graphs, rest.status, strict=True)
    ]
    ends = [np.asarray(end.nodes.positions) for end, good in zip(rest.graphs, whole) if good]
    chosen = _first_of_each(species, bonds, ends)
    energies = np.asarray(rest.energy)[np.flatnonzero(whole)[chosen]]
    return Conformers([with_positions(graph, ends[i]) for i in chosen], energies)


def _first_of_each(species, bonds, geometries) -> list[int]:
    """Where each conformer, or its mirror image, is met first."""
    firsts: list[int] = []
    for i, one in enumerate(geometries):
        both = one, one * [1.0, 1.0, -1.0]
        pairs = ((geometries[first], image) for first in firsts for image in both)
        if not any(same_conformer(bonds, laid_on(species, bonds, a, image), a) for a, image in pairs):
            firsts.append(i)
    return firsts


def order(
    potential,
    params,
    molecules: Sequence[Conformers],
    *,
    fmax: float = 0.01,
    max_steps: int = 500,
    n_lanes: int = 32,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Relax all conformers on a surface and compare their energies with the judge's.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        molecules: of `conformers`, with at least two each.
        fmax: threshold for the largest atomic force, eV/Å.
        max_steps: steps after which a structure is taken where it is.
        n_lanes: structures relaxed at once.
        progress: show a progress bar.

    Returns:
        A row per molecule: `n` conformers that have energies on both; Spearman's rank correlation `rank`,
        None where all energies of one are the same; `mae` in eV of the energies over their mean, and `size`,
        the same of no difference at all. All are None where fewer than two have energies.

    Raises:
        ValueError: for no molecules, or one with fewer than two conformers; and as `jphys.relax`.
    """
    fewest = min((len(one.graphs) for one in molecules), default=0)
    if fewest < 2:
        raise ValueError(f"molecules must have at least two conformers each, got one with {fewest}")
    how = {"max_steps": max_steps, "n_lanes": n_lanes, "progress": progress, "method": "bfgs"}
    begun = [graph for one in molecules for graph in one.graphs]
    (rest,) = surface_of(potential, params).relax(begun, fmaxes=(fmax,), **how)
    energies = np.split(np.asarray(rest.energy), np.cumsum([len(one.graphs) for one in molecules])[:-1])
    return [_row(mine, one.energies) for mine, one in zip(energies, molecules, strict=True)]


def _row(energies: np.ndarray, judged: np.ndarray) -> dict[str, Any]:
    known = np.isfinite(energies) & np.isfinite(judged)
    a, b = energies[known], judged[known]
    if len(a) < 2:
        return {"n": len(a), "rank": None, "mae": None, "size": None}
    flat = np.ptp(a) == 0 or np.ptp(b) == 0
    rank = None if flat else finite_or_none(np.corrcoef(rankdata(a), rankdata(b))[0, 1])
    a, b = a - a.mean(), b - b.mean()
    return {"n": len(a), "rank": rank, "mae": float(np.abs(a - b).mean()), "size": float(np.abs(b).mean())}
