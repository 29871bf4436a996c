"""Minimum-energy paths between pairs of structures, all images of many bands in one compiled loop."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import jax
import numpy as np
from tqdm import tqdm

from jphys.bfgs import SIZES, Bfgs, bfgs_stepper
from jphys.derivatives import energy_function
from jphys.evaluation import energies
from jphys.graph import Graph, bonds_of, with_positions
from jphys.md.fire import Fire, fire_stepper
from jphys.md.relaxing import IN_CELLS, relax
from jphys.models.potential import Potential
from jphys.paths.bands import band_stepper
from jphys.paths.interpolation import idpp, straight
from jphys.paths.searching import Band, Search, Stage, is_finite
from jphys.relaxation import STATUS, check_fixed, check_request

__all__ = ["Paths", "neb"]

Method = Literal["auto", "fire", "bfgs"]
Start = Literal["idpp", "linear"]
ROUGH = 0.3
"""eV/Å, to which a band is brought without climbing before BFGS."""
CLIMB_BELOW = 0.5
"""eV/Å across the path, below which the highest image climbs by FIRE."""
FIRST_TRY = 30
"""Steps of BFGS, after which "auto" begins a band anew by FIRE alone."""
STILL = 1e-3
"""Å; a fixed atom may differ by so much between the graphs of a band."""


@dataclasses.dataclass(frozen=True)
class Paths:
    """m bands of k images and two ends each, in the order given."""

    images: list[list[Graph]]  # m of k + 2
    energies: np.ndarray  # (m, k + 2) eV, float64
    fmax: np.ndarray  # (m,) eV/Å, largest force on an atom of a band, springs and climbing counted
    status: np.ndarray  # (m,) "converged", "max_steps" or "nonfinite"
    n_steps: np.ndarray  # (m,) steps taken; each evaluates every image once
    method: np.ndarray  # (m,) the minimiser by which each ended, "fire" or "bfgs"
    ends_at_rest: np.ndarray  # (m, 2) bool: false where ends that were to be relaxed did not converge

    @property
    def converged(self) -> np.ndarray:
        """(m,) bool: the band, and its ends where they were to be relaxed."""
        return (self.status == "converged") & self.ends_at_rest.all(axis=1)

    @property
    def peak(self) -> np.ndarray:
        """(m,) the image of highest energy; 0 or k + 1 where a path goes over no barrier."""
        return np.argmax(self.energies, axis=1)

    @property
    def barrier(self) -> np.ndarray:
        """(m,) eV from the first structure to the highest image."""
        return self.energies.max(axis=1) - self.energies[:, 0]

    @property
    def reverse_barrier(self) -> np.ndarray:
        """(m,) eV from the last structure to the highest image."""
        return self.energies.max(axis=1) - self.energies[:, -1]

    @property
    def saddle(self) -> list[Graph]:
        """The highest image of each path."""
        return [chain[peak] for chain, peak in zip(self.images, self.peak)]


def neb(
    potential,
    params,
    bands: Sequence[Sequence[Graph]],
    *,
    images: int = 7,
    fmax: float = 0.05,
    max_steps: int = 500,
    climb: bool = True,
    spring: float = 0.3,
    start: Start = "idpp",
    relax_ends: bool = False,
    method: Method = "auto",
    fixed: Sequence | None = None,
    fire: Fire | None = None,
    bfgs: Bfgs | None = None,
    n_lanes: int = 8,
    progress: bool = False,
) -> Paths:
    """Climbing-image nudged elastic bands (`jphys.paths.bands`), many at once in one compiled loop.

    All images of all bands that move are one evaluation of forces; a band that has converged makes room for
    the next. One minimiser state serves all images of a band.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        bands: of each path its two ends, or a whole first guess of ends and `images` images, graphs of one
            structure with the same atoms in the same order. For molecules the last is laid on the first; in
            cells atoms go to the nearest image of their goal. A Potential's edges are found anew; a plain
            function sees those of the first graph in all images, so that all must have the same.
        images: between the ends.
        fmax: eV/Å; a band has converged when no atom of any image feels more.
        max_steps: steps after which a band is given up.
        climb: let the highest image climb to the saddle point, once the band is near its path.
        spring: stiffness k of the springs along the path, eV/Å².
        start: images at interpolated distances (`idpp`) or on straight lines, where only ends are given.
        relax_ends: bring the ends to rest first, to `fmax`; otherwise they stay as they are.
        method: "fire"; "bfgs", which begins with the prior's Hessian of each image and takes a fifth of the
            steps, but loses one band in five, since forces along a path have no energy; "auto": for molecules
            on a Potential FIRE to 0.3 eV/Å, then BFGS, and all by FIRE where that has not converged after 30
            steps; FIRE for all others.
        fixed: for each path None or (n,) bool, atoms that stay where they are.
        fire, bfgs: settings of the minimisers.
        n_lanes: bands advanced at once.
        progress: show a progress bar.

    Returns:
        Paths.

    Raises:
        ValueError: a band of one graph or of another number of images, ends with other elements, another
            order of atoms, other bonds or edges or another cell, positions that are not finite, fixed atoms
            that are elsewhere in other graphs, too few images, a spring, threshold or number that is not
            positive, an unknown method or start, settings of a minimiser that is not taken, more than 512
            atoms in all images for BFGS.
    """
    bands = [list(band) for band in bands]
    _check_numbers(images, spring, method, start)
    _check_bands(potential, bands, images)
    ends = [graph for band in bands for graph in (band[0], band[-1])]
    check_request(potential, ends, fmaxes=(fmax,), max_steps=max_steps, n_lanes=n_lanes)
    held, at_rest = check_fixed(fixed, [band[0] for band in bands]), np.ones(len(ends), bool)
    attempts = _attempts(potential, bands, images, method, fire, bfgs, fmax, climb, max_steps)
    if relax_ends and bands:
        settings = {"fmax": fmax, "max_steps": max_steps, "n_lanes": 2 * n_lanes, "progress": progress}
        rest = relax(potential, params, ends, fixed=[one for one in held for _ in range(2)], **settings)
        ends, at_rest = rest.graphs, rest.converged
    starts = [
        Band(_guess(i, band, ends[2 * i : 2 * i + 2], images, start, held[i]), held[i])
        for i, band in enumerate(bands)
    ]
    with tqdm(total=0, desc="neb", leave=None, disable=not progress) as bar:
        search = Search(potential, params, spring, max_steps, n_lanes, bar)
        found = _found(search, attempts, starts)
    return _collect(energy_function(potential), params, found, images, at_rest)


def _found(search: Search, attempts: list[list[Stage]], starts: list[Band]) -> list[Band]:
    """Where the bands come by the first attempt; those that it does not bring to their paths, by the next."""
    found = search.attempt(attempts[0], starts)
    for stages in attempts[1:]:
        left = [i for i, band in enumerate(found) if not band.converged and band.n_steps < search.max_steps]
        anew = [dataclasses.replace(starts[i], n_steps=found[i].n_steps) for i in left]
        for i, band in zip(left, search.attempt(stages, anew)):
            found[i] = _better(found[i], band)
    return found


def _better(before: Band, after: Band) -> Band:
    """The later of two attempts, unless it was given up farther from the path than the one before."""
    climbed = before.method == "bfgs"
    if climbed and not after.converged and before.fmax < after.fmax:
        return dataclasses.replace(before, n_steps=after.n_steps)
    return after


def _check_numbers(images: int, spring: float, method: str, start: str) -> None:
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    if not 0 < spring < np.inf:
        raise ValueError(f"spring must be positive and finite, got {spring}")
    for name, value, known in (("method", method, Method), ("start", start, Start)):
        if value not in get_args(known):
            raise ValueError(f"{name} must be one of {', '.join(get_args(known))}, got {value!r}")


def _check_bands(potential, bands: list[list[Graph]], images: int) -> None:
    for i, band in enumerate(bands):
        if not all(isinstance(graph, Graph) for graph in band) or len(band) not in (2, images + 2):
            kinds = ", ".join(sorted({type(graph).__name__ for graph in band}))
            wanted = f"2 or images + 2 = {images + 2}"
            raise ValueError(f"bands must hold {wanted} Graph each, got {len(band)} {kinds} in band {i}")
        for number, graph in enumerate(band):
            different = _difference(potential, band[0], graph)
            if different:
                rule = "the same atoms in the same order, with one cell"
                raise ValueError(f"bands must have {rule}, got {different} in graph {number} of band {i}")
            if not is_finite(graph):
                raise ValueError(
                    f"bands must have finite positions, got others in graph {number} of band {i}"
                )


def _difference(potential, first: Graph, other: Graph) -> str | None:
    """What two images of one path may not differ in, where they do."""
    a, b = (np.asarray(graph.nodes.species) for graph in (first, other))
    if not np.array_equal(a, b):
        return "another order of atoms" if sorted(a) == sorted(b) else "other atoms"
    if not np.array_equal(first.globals.cell, other.globals.cell):
        return "another cell"
    if not isinstance(potential, Potential):
        lists = [(graph.senders, graph.receivers, graph.edges.shifts) for graph in (first, other)]
        if not all(np.array_equal(*pair) for pair in zip(*lists)):
            return "other edges, which a plain function would not see,"
    elif potential.needs_bonds:
        a, b = (np.unique(bonds_of(graph), axis=0) for graph in (first, other))
        if not np.array_equal(a, b):
            return "other bonds, which this potential would feel all at once,"
    return None


def _guess(number: int, band: list[Graph], ends: list[Graph], images: int, start: Start, held) -> list[Graph]:
    """All graphs at the beginning, with the edges of the first end; numpy."""
    first, last = (np.asarray(graph.nodes.positions) for graph in ends)
    where = {"cell": np.asarray(band[0].globals.cell[0], float), "fixed": held}
    if len(band) == 2:
        places = straight(first, last, images, **where)
        if start == "idpp":
            places = idpp(places, **where)
    else:  # as it is, but for rigid motions and atoms that were wrapped from one image to the next
        given = [first, *(np.asarray(graph.nodes.positions) for graph in band[1:-1]), last]
        places = given[:1]
        for place in given[1:]:
            places.append(straight(places[-1], place, 0, **where)[-1])
    places = np.asarray(places)
    if np.abs(places - places[0])[:, held].max(initial=0.0) > STILL:
        raise ValueError(f"fixed atoms must have one place in all graphs, got several in band {number}")
    places[:, held] = places[0, held]
    whole = jax.tree.map(np.asarray, ends[0])
    return [with_positions(whole, place.astype(first.dtype)) for place in places]


def _attempts(
    potential,
    bands: list[list[Graph]],
    images: int,
    method: Method,
    fire: Fire | None,
    bfgs: Bfgs | None,
    fmax: float,
    climb: bool,
    max_steps: int,
) -> list[list[Stage]]:
    """Ways to bring a band to its path, the next for those that the one before does not.

    BFGS learns from differences of forces: an image that begins and ceases to climb would teach it nonsense,
    and far from the path it goes astray. So a band is brought near first, then its highest image climbs on.
    """
    largest = images * max((len(band[0].nodes.species) for band in bands), default=0)
    cells = any(np.asarray(band[0].globals.cell).any() for band in bands)
    molecules = isinstance(potential, Potential) and not cells and largest <= SIZES[-1]
    if method == "auto" and not molecules:
        method = "fire"
    if bfgs is not None and method == "fire":
        raise ValueError(f"bfgs must not be given where FIRE is taken, got {bfgs}")
    if fire is not None and method == "bfgs":
        raise ValueError(f"fire must not be given with the method bfgs, got {fire}")
    by_fire = band_stepper(fire_stepper(fire or Fire()), images)
    in_turns, always = (CLIMB_BELOW, np.inf) if climb else (0.0, 0.0)
    alone = [Stage(by_fire, fmax, max_steps, in_turns)]
    if method == "fire":
        return [alone]
    if largest > SIZES[-1]:
        raise ValueError(
            f"bands must have at most {SIZES[-1]} atoms in all images for bfgs, got {largest}: take fire"
        )
    bfgs = bfgs or (Bfgs(max_step=IN_CELLS) if cells else Bfgs())
    near = max(fmax, ROUGH)
    by_bfgs = band_stepper(bfgs_stepper(bfgs), images, bfgs)
    if method == "bfgs":
        return [[Stage(by_bfgs, near, max_steps, 0.0), Stage(by_bfgs, fmax, max_steps, always)]]
    return [[Stage(by_fire, near, max_steps, 0.0), Stage(by_bfgs, fmax, FIRST_TRY, always)], alone]


def _collect(energy, params, bands: list[Band], images: int, at_rest: np.ndarray) -> Paths:
    """What came of all bands."""
    flat = [graph for band in bands for graph in band.graphs]
    finite = np.array([is_finite(graph) for graph in flat], bool)
    heights = np.where(finite, energies(energy, params, flat), np.nan)
    return Paths(
        images=[band.graphs for band in bands],
        energies=heights.reshape(len(bands), images + 2),
        fmax=np.array([band.fmax for band in bands]),
        status=np.array([STATUS[band.status] for band in bands], str),
        n_steps=np.array([band.n_steps for band in bands], int),
        method=np.array([band.method for band in bands], str),
        ends_at_rest=at_rest.reshape(-1, 2),
    )
