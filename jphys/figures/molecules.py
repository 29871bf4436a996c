"""Molecules drawn as balls and sticks, before and after relaxation."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jphys.alignment import align, kabsch_distance
from jphys.elements import COVALENT_RADIUS, SYMBOLS
from jphys.figures.recovery import index_of
from jphys.figures.style import ELEMENTS, GREY, INK, PALE, PURPLE, canvas
from jphys.graph import Graph, bonds_of, with_positions
from jphys.md import relax
from jphys.prior import BOND_REACH
from jphys.reliability.recovery import Recovery
from jphys.reliability.surface import perturb

__all__ = ["Triple", "draw_panel", "overlays", "relaxations", "relaxed_triples"]

COLUMNS = 6  # panels side by side
WINDOW = 0.8  # height of a panel over its width


class Triple(NamedTuple):
    """A molecule where it belongs, where the noise put it, and where the surface took it."""

    stable: Graph
    perturbed: Graph
    relaxed: Graph


def relaxed_triples(
    potential, params, graphs: Sequence[Graph], *, sigma: float = 0.1, fmax: float = 0.01, key, **settings
) -> list[Triple]:
    """Perturb molecules by Gaussian noise of `sigma` Å and relax them to `fmax` eV/Å, by FIRE as reports do.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: stable structures.
        sigma: Å.
        fmax: eV/Å.
        key: PRNG key of the noise.
        **settings: of `jphys.relax`.
    """
    settings = {"method": "fire"} | settings
    moved = perturb(graphs, sigma, key=key)
    ends = relax(potential, params, moved, fmax=fmax, **settings).graphs
    return [Triple(*three) for three in zip(graphs, moved, ends, strict=True)]


def overlays(
    recovery: Recovery, graphs: Sequence[Graph], path, *, n: int = 6, sigma: float = 0.1, fmax: float = 0.01
) -> Path:
    """Perturbed molecules above, relaxed ones below, each over the stable structure in pale grey.

    Args:
        recovery: what became of the graphs.
        graphs: its stable structures; n of them, evenly spread over the sequence, are drawn.
        path: PNG to write.
        n: number of molecules, at most; all where there are fewer.
        sigma: one of the amplitudes of the recovery, Å.
        fmax: one of its thresholds, eV/Å.

    Raises:
        ValueError: for n < 1, other structures than those of the recovery, an amplitude or threshold that it
            does not have.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    ends = np.cumsum([len(graph.nodes.species) for graph in graphs])
    if not len(graphs) or ends[-1] != recovery.perturbed.shape[1]:
        held = recovery.perturbed.shape[1]
        raise ValueError(f"graphs must be those of the recovery, {held} atoms, got {len(graphs)} graphs")
    row, column = index_of("sigma", sigma, recovery.sigmas), index_of("fmax", fmax, recovery.fmaxes)
    triples = []
    for i in np.linspace(0, len(graphs) - 1, min(n, len(graphs))).round().astype(int):
        atoms = slice(ends[i] - len(graphs[i].nodes.species), ends[i])
        places = recovery.perturbed[row, atoms], recovery.relaxed[row, column, atoms]
        triples.append(Triple(graphs[i], *(with_positions(graphs[i], place) for place in places)))
    with canvas(path, 1.75 * len(triples) + 0.3, 4.0) as figure:
        draw_overlays(figure, triples)
    return Path(path)


def relaxations(starts: Sequence[Graph], ends: Sequence[Graph], path, titles: Sequence[str]) -> Path:
    """Relaxed structures, each over the one it started from in pale grey.

    Args:
        starts, ends: the same structures before and after, in one order.
        path: PNG to write.
        titles: one per structure.

    Raises:
        ValueError: for no structures, or sequences of different length.
    """
    if not len(starts) or not len(starts) == len(ends) == len(titles):
        raise ValueError(
            f"starts, ends and titles must be of one length, got {len(starts)}, {len(ends)}, {len(titles)}"
        )
    rows = -(-len(starts) // COLUMNS)
    with canvas(path, 2.2 * min(len(starts), COLUMNS) + 0.3, 2.1 * rows) as figure:
        panels = figure.subplots(rows, min(len(starts), COLUMNS), squeeze=False)
        for axes in panels.flat[len(starts) :]:
            axes.set_axis_off()
        for axes, start, end, title in zip(panels.flat, starts, ends, titles):
            draw_panel(axes, Triple(start, end, end), end)
            axes.set_title(title, fontsize=8)
    return Path(path)


def draw_overlays(figure, triples: Sequence[Triple]) -> None:
    """Two rows of panels, one column per molecule."""
    panels = figure.subplots(2, len(triples), squeeze=False)
    for column, triple in zip(panels.T, triples):
        for axes, graph, what in zip(column, triple[1:], ("perturbed", "relaxed")):
            draw_panel(axes, triple, graph)
            distance = kabsch_distance(graph.nodes.positions, triple.stable.nodes.positions)
            head = f"{formula(triple.stable.nodes.species)}\n" if what == "perturbed" else ""
            axes.set_title(f"{head}{what}, ΔP {distance:.3f} Å", fontsize=8)
    elements = {int(z) for triple in triples for z in triple.stable.nodes.species}
    figure.legend(handles=_legend(elements), loc="outside lower center", ncols=8)


def draw_panel(axes, triple: Triple, graph: Graph) -> None:
    """One graph of a triple over the stable one, in a window that suits all three."""
    stable, perturbed, relaxed = (np.asarray(one.nodes.positions, float) for one in triple)
    seen_along = principal_axes(stable)
    draw_molecule(axes, triple.stable, stable @ seen_along, ghost=True)
    draw_molecule(axes, triple.stable, align(graph.nodes.positions, stable) @ seen_along)
    _frame(axes, [x @ seen_along for x in (stable, align(perturbed, stable), align(relaxed, stable))])


def principal_axes(positions: np.ndarray) -> np.ndarray:
    """Columns (3, 3): the directions of largest, middle and smallest extent of points (n, 3)."""
    return np.linalg.svd(positions - positions.mean(0))[2].T


def formula(species) -> str:
    """Hill's formula with subscripts: C and H first, then by name.

    >>> formula([8, 1, 6, 1, 1, 1])
    'CH₄O'
    """
    counts = {SYMBOLS[z]: int(np.sum(np.asarray(species) == z)) for z in set(np.asarray(species).tolist())}
    first = [s for s in ("C", "H") if s in counts] if "C" in counts else []
    order = first + sorted(set(counts) - set(first))
    subscript = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")
    return "".join(s + (str(counts[s]) if counts[s] > 1 else "").translate(subscript) for s in order)


def bonds(graph: Graph) -> np.ndarray:
    """(b, 2) atoms to join: the graph's bonds, or where it has none the pairs at bonded distance."""
    known = bonds_of(graph)[:, :2]
    if len(known):
        return known
    ends = np.stack([graph.senders, graph.receivers], axis=1)
    ends = ends[ends[:, 0] < ends[:, 1]]
    positions, radii = np.asarray(graph.nodes.positions), COVALENT_RADIUS[graph.nodes.species]
    lengths = np.linalg.norm(positions[ends[:, 0]] - positions[ends[:, 1]], axis=1)
    return ends[lengths < BOND_REACH * radii[ends].sum(1)]


def draw_molecule(axes, graph: Graph, points: np.ndarray, *, ghost: bool = False) -> None:
    """Sticks and balls of points (n, 3) seen along the third axis, the near ones on top.

    A bond stretched beyond bonded distance is dashed.
    """
    from matplotlib.patches import Circle

    radii = COVALENT_RADIUS[graph.nodes.species]
    depth = np.argsort(np.argsort(points[:, 2])) / len(points)
    for i, j in bonds(graph):
        broken = np.linalg.norm(points[i] - points[j]) > BOND_REACH * (radii[i] + radii[j])
        style = {"color": PALE, "linewidth": 6.0} if ghost else {"color": INK, "linewidth": 1.6}
        shape = {"linestyle": (0, (1, 1.5)), "linewidth": 0.9} if broken else {"solid_capstyle": "round"}
        level = 0.0 if ghost else 2 + min(depth[i], depth[j])
        axes.plot(*points[[i, j], :2].T, zorder=level, **{**style, **shape})
    for i, z in enumerate(graph.nodes.species):
        radius = (0.30 * radii[i] + 0.06) * (1.3 if ghost else 1)
        colors = (PALE, PALE) if ghost else (ELEMENTS.get(int(z), PURPLE), INK)
        level = 1.0 if ghost else 2 + depth[i] + 0.5 / len(points)
        axes.add_patch(
            Circle((points[i, 0], points[i, 1]), radius, fc=colors[0], ec=colors[1], lw=0.6, zorder=level)
        )


def _frame(axes, clouds: Sequence[np.ndarray]) -> None:
    """A window of fixed shape around all points, at most twice as wide as the first cloud needs."""
    everything = np.concatenate(clouds)[:, :2]
    center = (everything.min(0) + everything.max(0)) / 2
    width, height = np.ptp(everything, axis=0) + 1.1
    reach = min(max(width, height / WINDOW), 2 * np.ptp(clouds[0][:, 0]) + 2) / 2
    axes.set(xlim=center[0] + reach * np.array([-1, 1]), ylim=center[1] + WINDOW * reach * np.array([-1, 1]))
    axes.set_aspect("equal")
    axes.set_axis_off()


def _legend(elements: set[int]) -> list:
    """One ball per element, and the stable structure."""
    from matplotlib.lines import Line2D

    def ball(label, fill, edge=INK):
        return Line2D([], [], marker="o", linestyle="", mfc=fill, mec=edge, mew=0.6, label=label)

    stable = ball("stable structure", PALE, GREY)
    return [ball(SYMBOLS[z], ELEMENTS.get(z, PURPLE)) for z in sorted(elements)] + [stable]
