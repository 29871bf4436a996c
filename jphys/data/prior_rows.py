"""What the classical prior knows of the structures of a data set: computed once, by many processes, and kept."""

import hashlib
import logging
from collections.abc import Iterator
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np
from tqdm import tqdm

from jphys import fragments, modes, prior, ragged
from jphys.data.kept import Writer, read
from jphys.data.qm9 import cache_folder
from jphys.data.structures import Structures, take
from jphys.fragments import Sides, make_sides, stack
from jphys.graph import Nodes
from jphys.modes import StoredModes, prior_modes
from jphys.prior import Prior, make_prior
from jphys.ragged import Ragged, ragged_rows, row_starts
from jphys.workers import in_processes, n_cores

__all__ = ["PriorRows", "prior_rows"]

log = logging.getLogger(__name__)
MANY = 8192
"""Structures from which on processes share the work and the result is kept: 4 ms each on one core."""
CHUNK = 512
"""Structures of one call."""


class PriorRows(NamedTuple):
    """Rows per structure, on the host."""

    terms: tuple[Ragged, ...]  # per field of Prior; rows: atoms (within the structure), stiffness
    modes: StoredModes
    sides: Sides  # of the acyclic bonds, (m, …)


LAYOUT = jax.tree.structure(
    PriorRows(
        terms=(Ragged((0, 0), 0, 0),) * len(Prior._fields),  # pyright: ignore[reportArgumentType]
        modes=StoredModes(Ragged(0, 0, 0), Ragged(0, 0, 0)),  # pyright: ignore[reportArgumentType]
        sides=Sides(0, 0, 0),  # pyright: ignore[reportArgumentType]
    )
)


def prior_rows(structures: Structures) -> PriorRows:
    """Terms and modes of the prior and the acyclic bonds of stable molecules.

    Those of many structures are kept in the cache folder, under what they were made of and by.

    Args:
        structures: stable free molecules.
    """
    n_atom = int(structures.n_atoms.max())
    if len(structures) < MANY:
        return rows_of(structures, n_atom)
    folder = cache_folder() / f"prior-{_key(structures)}"
    if not folder.exists():
        log.info("the prior of %d structures is computed once, and kept in %s", len(structures), folder)
        with Writer(folder) as writer:
            for rows in tqdm(_chunks(structures, n_atom), total=-(-len(structures) // CHUNK), desc="prior"):
                writer.add(rows)
    return _joined(jax.tree.unflatten(LAYOUT, read(folder)))


def rows_of(structures: Structures, n_atom: int) -> PriorRows:
    """The rows of some structures.

    Args:
        structures: stable free molecules.
        n_atom: atoms of the largest structure of the data set.
    """
    ends = np.cumsum(structures.n_atoms)[:-1]
    precision = jax.dtypes.canonicalize_dtype(np.float64)
    species = np.split(structures.species, ends)
    positions = np.split(structures.positions.astype(precision), ends)
    priors = [make_prior(*one) for one in zip(species, positions)]
    terms = tuple(
        ragged_rows([(p[kind].atoms, p[kind].stiffness) for p in priors]) for kind in range(len(Prior._fields))
    )
    nodes = [
        Nodes(where, what, np.ones(len(what), bool))
        for what, where in zip(species, positions)
    ]
    sides = stack([make_sides(*one) for one in zip(species, positions)], n_atom)
    return PriorRows(terms, prior_modes(ragged_rows(nodes), terms, n_atom=n_atom), sides)


def _chunks(structures: Structures, n_atom: int) -> Iterator[PriorRows]:
    order = np.arange(len(structures))
    parts = (take(structures, order[first : first + CHUNK]) for first in range(0, len(order), CHUNK))
    return in_processes(partial(rows_of, n_atom=n_atom), parts, n_cores())


def _joined(rows: PriorRows) -> PriorRows:
    """Where the rows of each structure begin in all of them, not in their chunk."""

    def start(part):
        return part._replace(starts=row_starts(part.counts)) if isinstance(part, Ragged) else part

    return jax.tree.map(start, rows, is_leaf=lambda part: isinstance(part, Ragged))


def _key(structures: Structures) -> str:
    """Of the structures and of the code that makes their rows."""
    digest = hashlib.sha256(_code())
    for array in (structures.n_atoms, structures.species, structures.positions):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


@cache
def _code() -> bytes:
    files = [Path(module.__file__ or "") for module in (fragments, modes, ragged)]
    files += sorted(Path(prior.__file__ or "").parent.glob("*.py"))
    return b"".join(file.read_bytes() for file in files)
