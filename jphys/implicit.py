"""Structures at rest that can be differentiated: by parameters, by what is held fixed, by the cell."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.core
import jax.numpy as jnp
import numpy as np

from jphys import newton
from jphys.compiling import remembered
from jphys.coordinates import CELL_ROWS, Freedom, deformation, largest, outdated
from jphys.derivatives import energy_function
from jphys.graph import Graph, with_edges_within, with_positions
from jphys.models.potential import Potential, check_elements, check_graph_bonds

__all__ = ["SKIN", "Stationary", "stationary"]

SKIN = 0.5
"""Edges of a crystal are found anew this much beyond the cutoff, Å."""
RESTRAINT = 10.0  # eV/Å², on motions that change no energy and on what is held
NULL = 1e-5  # of the largest square of a motion; below it a motion is none


class Stationary(NamedTuple):
    """A structure at rest."""

    graph: Graph  # positions, and the cell where it relaxes; NaN where no rest was found
    fmax: jax.Array  # () eV/Å, as that of `jphys.relax`; without derivatives
    n_steps: jax.Array  # () evaluations of Newton's method; without derivatives


def stationary(
    potential,
    params,
    graph: Graph,
    *,
    relax_cell: bool = False,
    fixed: Sequence[bool] | np.ndarray | None = None,
    fmax: float = 1e-3,
    max_steps: int = 100,
) -> Stationary:
    """The minimum x* near a structure, with derivatives of x* by the implicit function theorem.

    At rest ∂E/∂x (x*, θ) = 0 for every θ, thus with the Hessian H there

        dx*/dθ = −H⁻¹ ∂²E/∂x∂θ,

    without a derivative through the minimiser. H⁻¹ is applied by conjugate gradients on products of the
    Hessian with vectors. x* neither moves nor turns as a whole against the start. θ are the parameters of the
    potential and what of the structure stays: the cell, unless it relaxes, and the positions of fixed atoms.
    Derivatives by the start itself are 0. Works under `jit`, `grad`, `jvp`, `vmap` and their combinations;
    derivatives of derivatives want a surface with three continuous ones.

    To be called near a minimum, with what `jphys.relax` returns: Newton's method within a trust radius
    follows it from there, and costs more per step than FIRE.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV that does not change when the
            structure moves or turns.
        params: its parameters.
        graph: one structure, padded or not. Edges are found anew as far as `SKIN` beyond the cutoff, except
            where they hold all pairs; those of a traced or padded graph are kept as they are.
        relax_cell: let the cell relax too, to zero stress.
        fixed: (n,) bool, atoms that are held where they are; where the cell relaxes, in its coordinates.
        fmax: at rest every atom has |F_i| < fmax, eV/Å; with cells also the rows of Vσ/n, eV.
        max_steps: steps of Newton's method.

    Returns:
        Stationary. Where no rest was found within `max_steps`, or atoms moved farther than the edges allow
        for, positions and cell are NaN. Derivatives are NaN where conjugate gradients do not solve for them:
        a motion costs no energy, or some saddles.

    Raises:
        ValueError: for more than one structure, a cell to relax that is not there, `fixed` of another shape,
            fmax or max_steps that are not positive, elements or bonds that the potential does not know.
    """
    fixed = np.zeros(len(graph.nodes.species), bool) if fixed is None else np.asarray(fixed)
    _check(potential, graph, fixed, relax_cell, fmax, max_steps)
    graph, margin = _with_room_to_move(potential, graph)
    limits = _Limits(float(getattr(potential, "cutoff", 0.0)), margin, float(fmax), int(max_steps))
    return _program(energy_function(potential), relax_cell)(params, graph, fixed, limits)


class _Limits(NamedTuple):
    """Numbers that another call may change without compiling again."""

    cutoff: float  # Å
    margin: float  # Å by which the edges reach beyond it
    fmax: float  # eV/Å
    max_steps: int


@remembered(16)
def _program(energy, relax_cell: bool):
    """Under jit, so that calls with the same shapes compile once."""

    def compute(params, graph: Graph, fixed, limits: _Limits) -> Stationary:
        problem = _Problem(graph, fixed, relax_cell)
        rows, (gradient, steps) = _rest(problem, energy, params, limits)
        rested, aside = problem.structure(rows), jax.lax.stop_gradient
        force = aside(gradient - jax.grad(problem.restraint)(aside(rows)))
        reached = largest(force * problem.free[:, None], problem.n_atoms, relax_cell)
        freedom = Freedom(problem.free[None], problem.n_atoms[None], limits.cutoff, limits.margin)
        (far,) = outdated(aside(rows)[None], jnp.zeros_like(rows), freedom, relax_cell)
        good = (reached < limits.fmax) & ~far
        return Stationary(jax.tree.map(lambda leaf: _where(good, leaf), rested), reached, aside(steps))

    return jax.jit(compute)


def _where(good, leaf):
    """The leaf, or NaN; what counts is kept."""
    leaf = jnp.asarray(leaf)
    return jnp.where(good, leaf, jnp.nan) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf


class _Problem:
    """Rows of coordinates of a structure (see `jphys.coordinates`), and which of their motions are none."""

    def __init__(self, graph: Graph, fixed, relax_cell: bool):
        self.graph, self.relax_cell = graph, relax_cell
        self.n_atoms = jnp.maximum(jnp.asarray(graph.n_node)[0], 1)
        real = jnp.asarray(graph.nodes.mask)
        self.moves = real & ~jnp.asarray(fixed)
        self.start = jax.lax.stop_gradient(jnp.asarray(graph.nodes.positions))
        cell = jnp.asarray(graph.globals.cell)[0]
        self.cell = jax.lax.stop_gradient(cell) if relax_cell else cell
        self.rigid = _rigid_motions(self.start, self.moves, real & ~self.moves, jnp.any(cell != 0))
        self.free = jnp.append(self.moves, jnp.ones(CELL_ROWS * relax_cell, bool))

    def structure(self, rows) -> Graph:
        """The graph at the rows; what does not move stays where it is given."""
        place = rows[: len(self.start)] + self.start
        place = jnp.where(self.moves[:, None], place, self.graph.nodes.positions)
        if not self.relax_cell:
            return with_positions(self.graph, place)
        deform = deformation(rows[-CELL_ROWS:], self.n_atoms)
        cells = jnp.asarray(self.graph.globals.cell).at[0].set(self.cell @ deform)
        graph = with_positions(self.graph, place @ deform)
        return graph._replace(globals=graph.globals._replace(cell=cells))

    def restraint(self, rows):
        """Energy () of what changes no energy: the structure as a whole, held atoms, a turn of the cell."""
        moved = rows[: len(self.start)]
        square = jnp.sum(jnp.tensordot(self.rigid, moved, 2) ** 2)
        square += jnp.sum(jnp.where(self.moves[:, None], 0.0, moved) ** 2)
        if self.relax_cell:
            turn = rows[-CELL_ROWS:]
            square += 0.25 * jnp.sum((turn - turn.T) ** 2)
        return 0.5 * RESTRAINT * square


def _rest(problem: _Problem, energy, params, limits: _Limits):
    """Rows at rest, relative to the start, and the steps taken; derivatives by `custom_root`."""

    def total(rows):
        return energy(params, problem.structure(rows))[0] + problem.restraint(rows)

    def measure(gradient):
        return largest(gradient, problem.n_atoms, problem.relax_cell)

    def solve(_, rows):
        x, gradient, n_steps = newton.minimise(total, rows, measure, limits.fmax, limits.max_steps)
        return x, (gradient, n_steps.astype(rows.dtype))

    rows = jnp.zeros((len(problem.free), 3), problem.start.dtype)
    return jax.lax.custom_root(jax.grad(total), rows, solve, newton.solve_symmetric, has_aux=True)


def _rigid_motions(positions, moves, held, periodic):
    """Orthonormal motions (6, n, 3) of the whole structure that move no held atom, zeros for missing ones:
    translations, and rotations of a free structure.
    """
    real = (moves | held)[:, None]
    axes = jnp.eye(3, dtype=positions.dtype)
    centred = jnp.where(real, positions - jnp.mean(positions, axis=0, where=real), 0.0)
    shifts = jnp.broadcast_to(axes[:, None], (3, *positions.shape))
    turns = jnp.cross(axes[:, None], centred[None]) * ~periodic
    motions = jnp.concatenate([shifts, turns])
    motions = _combined(motions, motions * held[:, None], lambda sizes, most: sizes <= NULL * most)
    motions = motions * moves[:, None]

    def scaled(sizes, most):
        there = sizes > NULL * most
        return there / jnp.sqrt(jnp.where(there, sizes, 1.0))

    return _combined(motions, motions, scaled)


def _combined(motions, judged, weight):
    """Combinations of motions whose images `judged` are orthogonal, weighted by the squares of those."""
    squares = jnp.tensordot(judged, judged, [[1, 2], [1, 2]])
    sizes, vectors = jnp.linalg.eigh(squares)
    most = jnp.max(jnp.sum(motions**2, axis=(1, 2)))
    return jnp.tensordot((vectors * weight(sizes, most)).T, motions, 1)


def _with_room_to_move(potential, graph: Graph) -> tuple[Graph, Any]:
    """The graph, with edges that reach farther where it can be had, and how much farther they do, Å."""
    n, kept = len(graph.nodes.species), (graph, np.inf)
    if _traced(graph):
        return kept
    everything = not np.any(graph.globals.cell) and len(graph.senders) >= n * (n - 1)
    if everything or not isinstance(potential, Potential) or len(graph.n_node) > 1:
        return kept
    plain = jax.tree.map(np.asarray, graph)
    return with_edges_within(plain, potential.cutoff + SKIN, bonds_of=plain), SKIN


def _traced(graph: Graph) -> bool:
    return any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(graph))


def _check(potential, graph: Graph, fixed, relax_cell: bool, fmax: float, max_steps: int) -> None:
    n = len(graph.nodes.species)
    if fixed.shape != (n,) or fixed.dtype != bool:
        raise ValueError(f"fixed must be ({n},) bool, got {fixed.shape} {fixed.dtype}")
    if not fmax > 0:
        raise ValueError(f"fmax must be positive, got {fmax}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be at least 1, got {max_steps}")
    if _traced(graph):
        return
    n_real = int(np.sum(graph.globals.mask))
    if n_real != 1 or not np.any(graph.nodes.mask):
        raise ValueError(f"graph must hold one structure of at least one atom, got {n_real}")
    if relax_cell and not np.any(graph.globals.cell[0]):
        raise ValueError("relax_cell must be false for a molecule, which has no cell")
    if isinstance(potential, Potential):
        check_elements(potential, np.asarray(graph.nodes.species)[np.asarray(graph.nodes.mask)])
        check_graph_bonds(potential, graph)
