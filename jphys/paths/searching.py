"""How bands find their paths: as lanes of one compiled loop, by the first minimiser that can."""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from tqdm import tqdm

from jphys import lanes
from jphys.coordinates import Freedom, to_rows
from jphys.derivatives import energy_function
from jphys.evaluation import energies
from jphys.graph import Graph, with_edges_within, with_positions
from jphys.lanes import Stepper
from jphys.paths.bands import Given
from jphys.relaxation import SKIN, free_rows, reach
from jphys.shapes import matrices_at_once


class Stage(NamedTuple):
    """One minimiser and how far it is to bring a band."""

    stepper: Stepper
    fmax: float  # eV/Å
    steps: int  # that a band has for it
    climb_below: float  # eV/Å, as in `Given`


@dataclasses.dataclass(frozen=True)
class Band:
    """Where a band is: all its graphs, both ends with them, and what is known there."""

    graphs: list[Graph]
    fixed: np.ndarray  # (n,) bool
    fmax: float = np.inf
    n_steps: int = 0
    status: int = 0  # of `jphys.lanes`
    method: str = ""

    @property
    def converged(self) -> bool:
        """Whether the last stage brought it to its threshold."""
        return self.status == lanes.CONVERGED

    def moved(self, places: np.ndarray, **known) -> "Band":
        """The band with its inner images at other positions (k, n, 3), and what is known there."""
        inner = [with_positions(graph, place) for graph, place in zip(self.graphs[1:-1], places)]
        return dataclasses.replace(self, graphs=[self.graphs[0], *inner, self.graphs[-1]], **known)

    def with_edges(self, cutoff: float) -> "Band":
        """The band with the edges of its places, but for images whose positions are not finite."""
        first = self.graphs[0]
        graphs = [
            with_edges_within(graph, cutoff, bonds_of=first) if is_finite(graph) else graph
            for graph in self.graphs
        ]
        return dataclasses.replace(self, graphs=graphs)


def is_finite(graph: Graph) -> bool:
    """Whether all atoms are somewhere."""
    return bool(np.isfinite(graph.nodes.positions).all())


@dataclasses.dataclass(frozen=True)
class Search:
    """A surface and how bands move on it."""

    potential: Any
    params: Any
    spring: float  # eV/Å²
    max_steps: int  # of a band, in all
    n_lanes: int
    bar: tqdm  # counts bands, on every stage anew

    def attempt(self, stages: Sequence[Stage], bands: list[Band]) -> list[Band]:
        """Bring the bands through all stages; what fails in one stays there."""
        found, left = list(bands), list(range(len(bands)))
        for stage in stages:
            for i, band in zip(left, self.run(stage, [found[i] for i in left])):
                found[i] = band
            left = [i for i in left if found[i].converged]
        return found

    def run(self, stage: Stage, bands: list[Band]) -> list[Band]:
        """Advance every band to its end; those whose matrices have no room at once go in parts."""
        largest, images = max((len(band.fixed) for band in bands), default=1), stage.stepper.images
        each = matrices_at_once(largest, images=images) if stage.stepper.dense else max(len(bands), 1)
        self.bar.total += len(bands)
        parts = [bands[first : first + each] for first in range(0, len(bands), each)]
        return [band for part in parts for band in self._advance(stage, part)]

    def _advance(self, stage: Stage, bands: list[Band]) -> list[Band]:
        """Every band to its end; images that outgrow their edges go on with new ones."""
        bands, going, energy = list(bands), np.arange(len(bands)), energy_function(self.potential)
        firsts = [band.graphs[0] for band in bands]
        max_steps = np.array([min(band.n_steps + stage.steps, self.max_steps) for band in bands])
        n_atoms = np.array([len(band.fixed) for band in bands])
        cutoff, margin = reach(self.potential, firsts)
        free = free_rows(firsts, [band.fixed for band in bands], relax_cell=False)
        how: dict[str, Any] = {"freedom": Freedom(free, n_atoms, cutoff, margin), "relax_cell": False}
        how |= {"again": np.zeros(len(bands), bool), "fmaxes": (stage.fmax,), "n_lanes": self.n_lanes}
        while len(going):
            for i in going[np.isfinite(margin[going])]:
                bands[i] = bands[i].with_edges(float(cutoff[i]) + SKIN)
            taken = np.array([band.n_steps for band in bands])
            inner = [graph for band in bands for graph in band.graphs[1:-1]]
            how |= {"chosen": going, "max_steps": max_steps - taken, "bar": self.bar}
            how["given"] = functools.partial(self._given, bands, stage.climb_below)
            bank, largest = lanes.run(stage.stepper, energy, self.params, inner, **how)
            for i in going:
                places = bank.rows[i, 0].reshape(stage.stepper.images, -1, 3)[:, : n_atoms[i]]
                known = {"fmax": float(largest[i, 0]), "status": int(bank.status[i, 0])}
                n_steps = int(taken[i] + bank.n_steps[i, 0])
                bands[i] = bands[i].moved(places, **known, n_steps=n_steps, method=stage.stepper.name)
                if known["status"] == lanes.OUTDATED and n_steps == taken[i]:
                    raise ValueError(
                        f"max_step must be small beside {SKIN} Å: one step outran the edges of a band"
                    )
            going = np.array([i for i in going if bands[i].status == lanes.OUTDATED], int)
            self.bar.update(-len(going))
        return bands

    def _given(self, bands: list[Band], climb_below: float, n_rows: int) -> Given:
        """What all the bands hang between (m, …), in rows of coordinates."""
        ends = [band.graphs[end] for band in bands for end in (0, -1)]
        rows = np.stack([to_rows(np.asarray(graph.nodes.positions), n_rows, False) for graph in ends])
        heights = energies(self.potential, self.params, ends).astype(rows.dtype)
        every = np.ones(len(bands), rows.dtype)
        rows = rows.reshape(-1, 2, n_rows, 3)
        return Given(rows, heights.reshape(-1, 2), self.spring * every, climb_below * every)
