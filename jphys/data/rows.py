"""What training takes from structures: edges, and what the classical prior knows. Host side.

Of many structures it is made once, by all cores, and kept on disk.
"""

import dataclasses
import hashlib
import inspect
import logging
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jphys import packing, prior
from jphys.data.kept import Writer, cache_folder, read
from jphys.data.structures import Structures, graphs, take
from jphys.fragments import Sides, make_sides, stack
from jphys.graph import Edges, Globals, Graph, Nodes, with_edges
from jphys.modes import StoredModes, prior_modes, prior_terms
from jphys.neighbors import within_cutoff
from jphys.prior import Prior
from jphys.ragged import Ragged, ragged_rows, row_starts
from jphys.workers import doubles, in_processes, n_cores

__all__ = ["Layout", "PriorRows", "Rows", "lay_out"]

log = logging.getLogger(__name__)
MANY = 8192
"""Structures from which on all cores share the work and its result is kept: with the prior 4 ms each."""
CHUNK = 512
"""Structures of one call."""


class PriorRows(NamedTuple):
    """What the prior knows of m stable molecules."""

    terms: tuple[Ragged, ...]  # per field of Prior; rows: atoms (within the structure), stiffness
    modes: StoredModes
    sides: Sides  # of the acyclic bonds, (m, …)


class Rows(NamedTuple):
    """Rows of m structures, in arrays of numpy or on disk."""

    stored: packing.Stored
    forces: Ragged | None  # rows: (3,) eV/Å, labels
    prior: PriorRows | None


@dataclasses.dataclass(frozen=True)
class Layout:
    """How structures become rows; called, it makes them."""

    cutoff: float  # Å; crystals get the pairs within cutoff + margin
    margin: float  # Å by which atoms may come closer; where it is not 0, molecules get all pairs
    with_prior: bool
    n_atom: int  # of the largest structure of the data set
    felt_edges: Callable[[Graph], np.ndarray] | None = None  # the other edges are left out

    def __call__(self, structures: Structures) -> Rows:
        """The rows of some structures of the data set."""
        made = graphs(structures, cutoff=self.cutoff + self.margin, all_pairs=self.margin > 0)
        if self.felt_edges is not None:
            made = [with_edges(graph, self.felt_edges(graph)) for graph in made]
        forces = None
        if structures.forces is not None:
            ends = np.cumsum(structures.n_atoms)[:-1]
            forces = ragged_rows(np.split(structures.forces.astype(np.float32), ends))
        stored = packing.narrow(packing.store(made), self.n_atom)
        return Rows(stored, forces, prior_rows(made, self.n_atom) if self.with_prior else None)


def prior_rows(made: list[Graph], n_atom: int) -> PriorRows:
    """Terms and modes of the prior and the acyclic bonds of stable molecules.

    Args:
        made: a graph for each.
        n_atom: atoms of the largest structure of the data set.
    """
    atoms = [graph.nodes for graph in made]
    terms = prior_terms(atoms)
    sides = stack([make_sides(one.species, one.positions) for one in atoms], n_atom)
    return PriorRows(terms, prior_modes(ragged_rows(atoms), terms, n_atom=n_atom), sides)


def lay_out(structures: Structures, layout: Layout) -> Rows:
    """The rows of all structures; those of many are read from the cache folder, or written there first.

    Raises:
        OSError: where the cache folder cannot be written, or is full.
    """
    if len(structures) < MANY or not _known_by_name(layout.felt_edges):
        return layout(structures)
    folder = cache_folder() / f"rows-{_key(structures, layout)}"
    if not folder.exists():
        log.info("rows of %d structures are made once, and kept in %s", len(structures), folder)
        try:
            _write(folder, structures, layout)
        except OSError as error:
            raise OSError(f"rows must find room in $JPHYS_CACHE, {cache_folder()}, got: {error}") from error
    template = _template(structures.forces is not None, layout.with_prior)
    return _joined(jax.tree.unflatten(jax.tree.structure(template), read(folder)))


def _known_by_name(function: Callable | None) -> bool:
    """Whether other processes find the function, and its source is in a file."""
    if function is None:
        return True
    module = sys.modules.get(function.__module__)
    return function.__module__ != "__main__" and getattr(module, function.__qualname__, None) is function


def _write(folder: Path, structures: Structures, layout: Layout) -> None:
    with Writer(folder) as writer:
        for rows in tqdm(_chunks(structures, layout), total=-(-len(structures) // CHUNK), desc="rows"):
            writer.add(rows)


def _chunks(structures: Structures, layout: Layout) -> Iterator[Rows]:
    order = np.arange(len(structures))
    parts = (take(structures, order[first : first + CHUNK]) for first in range(0, len(order), CHUNK))
    return in_processes(layout, parts, n_cores())


def _template(with_forces: bool, with_prior: bool) -> Rows:
    """Rows of the same structure as all, with a number in the place of each array."""
    leaf: Any = 0
    flat = Ragged(leaf, leaf, leaf)
    stored = packing.Stored(
        Ragged(Nodes(leaf, leaf, leaf), leaf, leaf),
        Ragged((leaf, leaf, Edges(leaf, leaf, leaf)), leaf, leaf),
        Globals(leaf, leaf),
    )
    terms = (Ragged((leaf, leaf), leaf, leaf),) * len(Prior._fields)
    known = PriorRows(terms, StoredModes(flat, flat), Sides(leaf, leaf, leaf))
    return Rows(stored, flat if with_forces else None, known if with_prior else None)


def _joined(rows: Rows) -> Rows:
    """Where the rows of each structure begin in all of them, not in their chunk."""

    def start(part):
        if not isinstance(part, Ragged):
            return part
        counts = np.asarray(part.counts)
        return part._replace(starts=row_starts(counts), counts=counts)

    return jax.tree.map(start, rows, is_leaf=lambda part: isinstance(part, Ragged))


def _key(structures: Structures, layout: Layout) -> str:
    """Of the structures, of how they are laid out and of the code that does it."""
    digest = hashlib.sha256(_code())
    for array in (structures.n_atoms, structures.species, structures.positions, structures.forces):
        digest.update(b"" if array is None else np.ascontiguousarray(array).tobytes())
    for array in (structures.cell, structures.n_bonds, structures.bonds):
        digest.update(np.ascontiguousarray(array).tobytes())
    felt = layout.felt_edges
    settings = dataclasses.replace(layout, felt_edges=None), doubles()
    digest.update(repr(settings).encode())
    digest.update(b"" if felt is None else Path(inspect.getfile(felt)).read_bytes())
    return digest.hexdigest()[:16]


@cache
def _code() -> bytes:
    made_by = (Rows, Ragged, Sides, StoredModes, packing.Stored, graphs, within_cutoff)
    files = [inspect.getfile(part) for part in made_by]
    files += sorted(Path(inspect.getfile(prior)).parent.glob("*.py"))
    files += sorted(Path(inspect.getfile(Nodes)).parent.glob("*.py"))
    return b"".join(Path(file).read_bytes() for file in files)
