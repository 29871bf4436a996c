"""Saddle points of first order, by eigenvector following from a first guess.

With the eigenvectors v_c and curvatures λ_c of B, which starts as the exact Hessian, a step goes up along the
mode f that is followed and down along all others,

    s = −v_f (v_f·F)/|λ_f| + Σ_{c≠f} v_c (v_c·F)/|λ_c|,

no longer than a trust radius (Cerjan and Miller, J. Chem. Phys. 75, 2800 (1981)). B is updated by Bofill's
mixture of the formulas of Murtagh and Sargent and of Powell (J. Comput. Chem. 15, 1 (1994)), which leaves it
free to have a negative curvature. f is the mode most like the one before.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.alignment import internal_motions
from jphys.graph import Graph
from jphys.lanes import Stepper
from jphys.relaxation import Relaxation, check_fixed, check_request, joined, relax_with
from jphys.second_derivatives import hessians
from jphys.shapes import matrices_at_once

__all__ = ["Saddles", "saddles"]

FLAT = 0.02
"""eV/Å²; curvatures count at least as much in the length of a step."""
NEGATIVE = -0.02
"""eV/Å²; curvatures below it count as negative, those above as rounding."""
NOWHERE = 1e-3
"""Cosine of a direction with a mode, below which they have nothing in common."""
LARGEST = 256
"""Atoms; larger structures have no room for matrices whose eigenvectors are wanted in every step."""


@dataclasses.dataclass(frozen=True)
class Saddles(Relaxation):
    """Where m searches came to rest, and the curvatures there."""

    curvatures: list[np.ndarray]
    """m of (k,) eV/Å², ascending: eigenvalues of the exact Hessian of what may move, rigid motions apart."""
    directions: list[np.ndarray]
    """m of (n_i, 3), the eigenvector of the lowest curvature, of length 1."""

    @property
    def n_negative(self) -> np.ndarray:
        """(m,) how many curvatures are below −0.02 eV/Å²; 1 at a saddle point of first order."""
        return np.array([int((values < NEGATIVE).sum()) for values in self.curvatures], int)


class State(NamedTuple):
    """One structure on its way."""

    position: jax.Array  # (n_rows, 3) Å
    force: jax.Array  # (n_rows, 3) eV/Å
    hessian: jax.Array  # (3 n_rows, 3 n_rows) eV/Å², B
    mode: jax.Array  # (3 n_rows,) that is followed


def saddles(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    directions: Sequence | None = None,
    fmax: float = 0.001,
    max_steps: int = 200,
    max_step: float = 0.1,
    fixed: Sequence | None = None,
    n_lanes: int = 16,
    progress: bool = False,
) -> Saddles:
    """Bring structures near saddle points, such as the highest images of `jphys.neb`, onto them.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        graphs: m graphs of one structure each, of at most 256 atoms.
        directions: for each graph (n_i, 3) or None, about along the way over the saddle: the mode most like
            it is followed uphill. Where not given, the softest mode is.
        fmax: eV/Å.
        max_steps: steps after which a structure is given up.
        max_step: longest move of an atom in one step, Å.
        fixed: for each graph None or (n_i,) bool, atoms that stay where they are.
        n_lanes: structures advanced at once.
        progress: show a progress bar.

    Returns:
        Saddles. A converged one is a saddle point of first order where `n_negative` is 1.

    Raises:
        ValueError: as `jphys.relax`; larger structures, directions of another number or shape.
    """
    check_request(potential, graphs, fmaxes=(fmax,), max_steps=max_steps, n_lanes=n_lanes)
    if not 0 < max_step < np.inf:
        raise ValueError(f"max_step must be positive and finite, got {max_step}")
    graphs, held = list(graphs), check_fixed(fixed, graphs)
    ways = _check_directions(directions, graphs)
    largest = max((len(graph.nodes.species) for graph in graphs), default=0)
    if largest > LARGEST:
        raise ValueError(f"graphs must have at most {LARGEST} atoms each, got {largest}")
    how = {"fmaxes": (fmax,), "max_steps": max_steps, "relax_cell": False}
    how |= {"n_lanes": n_lanes, "progress": progress}
    parts, each = [], matrices_at_once(max(largest, 1))
    for first in range(0, max(len(graphs), 1), each):
        part = slice(first, first + each)
        guide = functools.partial(_guide, potential, params, ways[part], first)
        how |= {"fixed": held[part], "guide": guide}
        parts += relax_with(_stepper(max_step), potential, params, graphs[part], **how)
    rest = joined(parts)
    found = list(_curvatures(potential, params, rest.graphs, held))
    fields = {field.name: getattr(rest, field.name) for field in dataclasses.fields(rest)}
    lowest = [
        vectors[0] if len(vectors) else np.zeros((len(fixed), 3)) for (_, vectors), fixed in zip(found, held)
    ]
    return Saddles(**fields, curvatures=[values for values, _ in found], directions=lowest)


def _check_directions(directions: Sequence | None, graphs: Sequence[Graph]) -> list[np.ndarray | None]:
    """One (n_i, 3) array or None per graph."""
    if directions is None:
        return [None] * len(graphs)
    if len(directions) != len(graphs):
        raise ValueError(f"directions must have one entry per graph, {len(graphs)}, got {len(directions)}")
    ways = [None if way is None else np.asarray(way, np.float64) for way in directions]
    for i, (way, graph) in enumerate(zip(ways, graphs)):
        size = (len(graph.nodes.species), 3)
        if way is not None and (way.shape != size or not np.isfinite(way).all() or not way.any()):
            raise ValueError(
                f"directions must be None or {size}, finite and not 0, got {way.shape} for graph {i}"
            )
    return ways


def _curvatures(potential, params, graphs: Sequence[Graph], held: Sequence[np.ndarray], keep: int = 1):
    """Of each graph: curvatures (k,) ascending, the first `keep` directions (keep, n_i, 3) of what may move.

    Without rigid motions, where all atoms may move; NaN where positions are.
    """
    for graph, fixed, matrix in zip(graphs, held, hessians(potential, params, graphs)):
        n = len(fixed)
        matrix = matrix.reshape(3 * n, 3 * n).astype(np.float64)
        if not np.isfinite(matrix).all() or not np.isfinite(graph.nodes.positions).all():
            yield np.full(1, np.nan), np.full((1, n, 3), np.nan)
            continue
        motions = _motions(graph, fixed, matrix)
        inside = motions.T @ matrix @ motions
        values, vectors = np.linalg.eigh(0.5 * (inside + inside.T))
        yield values, (motions @ vectors[:, :keep]).T.reshape(-1, n, 3)


def _motions(graph: Graph, fixed: np.ndarray, hessian: np.ndarray) -> np.ndarray:
    """Orthonormal columns (3n, k) of what may move."""
    n = len(fixed)
    if fixed.any():
        return np.eye(3 * n)[:, np.repeat(~fixed, 3)]
    if not np.asarray(graph.globals.cell).any():
        return internal_motions(graph.nodes.positions)
    columns = np.linalg.svd(np.tile(np.eye(3), (n, 1)))[0]
    moves_freely = np.abs(hessian @ columns[:, :3]).max() < FLAT  # not so in a field from outside
    return columns[:, 3:] if moves_freely else columns


def _guide(potential, params, ways, first: int, graphs: Sequence[Graph], free: np.ndarray, chosen):
    """B (m, 3 n_rows, 3 n_rows) and the mode to follow (m, 3 n_rows) of each chosen structure, at first.

    Raises:
        ValueError: for a direction in which nothing may move but the structure as a whole.
    """
    size = 3 * free.shape[1]
    dtype = np.result_type(*(np.asarray(graph.nodes.positions).dtype for graph in graphs))
    start = np.zeros((len(graphs), size, size), dtype)
    follow = np.zeros((len(graphs), size), dtype)
    held = [~row[: len(graph.nodes.species)] for row, graph in zip(free, graphs)]
    for k, (values, vectors) in enumerate(_curvatures(potential, params, graphs, held, keep=size)):
        n, way = 3 * len(held[k]), ways[chosen[k]]
        if not len(values) or not np.isfinite(values).all():
            continue
        flat = vectors.reshape(-1, n)
        start[k, :n, :n] = (flat.T * values) @ flat
        likeness = np.abs(flat @ (flat[0] if way is None else way.ravel() / np.linalg.norm(way)))
        if likeness.max() < NOWHERE:
            number = first + chosen[k]
            raise ValueError(f"directions must move what may move, got none that does for graph {number}")
        follow[k, :n] = flat[np.argmax(likeness)]
    return start, follow


@functools.lru_cache(maxsize=16)
def _stepper(max_step: float) -> Stepper:
    """Eigenvector following for `jphys.lanes`."""

    def start(positions, force, guide):
        return State(positions, force, *guide)

    def step(force, state: State) -> State:
        curvatures, vectors = jnp.linalg.eigh(state.hessian)
        followed = jnp.argmax(jnp.abs(state.mode @ vectors))
        uphill = jnp.where(jnp.arange(len(curvatures)) == followed, -1.0, 1.0)
        along = state.force.ravel() @ vectors
        wanted = vectors @ (uphill * along / jnp.maximum(jnp.abs(curvatures), FLAT))
        wanted = wanted.reshape(state.force.shape)
        longest = jnp.max(jnp.linalg.norm(wanted, axis=-1))
        move = wanted * (max_step / jnp.maximum(longest, max_step))
        position = state.position + move
        new = force(position)
        hessian = updated(state.hessian, move.ravel(), (state.force - new).ravel())
        after = State(position, new, hessian, vectors[:, followed])
        return jax.tree.map(lambda one, old: one.astype(old.dtype), after, state)

    return Stepper("eigenvector following", start, step)


def updated(hessian, s, y):
    """B after a step s (n,) that changed the gradient by y (n,): Bofill's mixture."""
    r = y - hessian @ s
    ss, rr, sr = s @ s, r @ r, s @ r
    known = jnp.isfinite(rr) & (ss > 0) & (rr > 0)
    ss, rr = jnp.where(known, ss, 1.0), jnp.where(known, rr, 1.0)
    symmetric_rank_one = sr / (ss * rr) * jnp.outer(r, r)  # times φ, which takes its denominator away
    phi = sr**2 / (ss * rr)
    powell = (jnp.outer(r, s) + jnp.outer(s, r)) / ss - sr / ss**2 * jnp.outer(s, s)
    return jnp.where(known, hessian + symmetric_rank_one + (1 - phi) * powell, hessian)
