"""The smallest change of parameters that meets measured numbers and leaves the rest where it can."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from jphys.graph import Graph, pad, with_positions

MET, ENERGY, FORCE = 1e-3, 1e-3, 0.02  # a measured number, of itself; what stays: eV per atom, eV/Å
DIRECTIONS = 3  # along which the forces on a structure are to stay
SOFT = 1.0  # of the mean square of the slopes of what stays


def stacked(graphs: Sequence[Graph]) -> Graph:
    """Graphs padded to one shape, each with one graph of padding, along a new first axis."""
    n = max(len(graph.nodes.species) for graph in graphs) + 1
    n_edge = max(len(graph.senders) for graph in graphs)
    padded = [pad(graph, n, n_edge, 2) for graph in graphs]
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(leaf) for leaf in leaves]), *padded)


def tuned(
    values: Callable, measured: np.ndarray, potential, params, kept: Graph, steps: int
) -> tuple[Any, list[np.ndarray]]:
    """Parameters after some steps of Gauss and Newton, and the values (k,) before each and at the end.

    Δθ = −Kᵀ(KKᵀ + D)⁻¹r. The rows of K are the slopes of the values, which D leaves exact, and those of what
    stays, which D softens: of every structure its energy, and its forces along some random directions.

    Args:
        values: function of params -> (k,).
        measured: (k,), what they should be; none is 0.
        potential: whose energies stay.
        params: to start from.
        kept: structures of `stacked`.
        steps: how many.
    """
    start, unravel = ravel_pytree(params)
    shape = (*kept.nodes.positions.shape[:1], DIRECTIONS, *kept.nodes.positions.shape[1:])
    along = jnp.asarray(np.random.default_rng(0).standard_normal(shape), start.dtype)

    def stays(flat, graph: Graph, directions):
        """(1 + DIRECTIONS,)"""

        def energy(positions):
            return potential.energy(unravel(flat), with_positions(graph, positions))[0]

        total, slope = jax.value_and_grad(energy)(graph.nodes.positions)
        n_atoms = jnp.asarray(graph.n_node[0], total.dtype)
        forces = jnp.tensordot(directions, slope, 2) / jnp.sqrt(3.0 * n_atoms)
        return jnp.append(forces / FORCE, total / n_atoms / ENERGY)

    def relative(flat):
        return (values(unravel(flat)) / measured - 1.0) / MET

    @jax.jit
    def linear(flat):
        def both(one):
            return stays(flat, *one), jax.jacrev(stays)(flat, *one)

        held, slopes = jax.lax.map(both, (kept, along))
        return relative(flat), jax.jacrev(relative)(flat), held.ravel(), slopes.reshape(-1, len(flat))

    flat, seen, first = start, [], None
    for _ in range(steps):
        residual, jacobian, held, slopes = (np.asarray(one, np.float64) for one in linear(flat))
        seen.append(measured * (MET * residual + 1.0))
        first = held if first is None else first
        rows, right = np.concatenate([jacobian, slopes]), np.concatenate([residual, held - first])
        soft = np.full(len(right), SOFT * np.mean(np.sum(slopes**2, axis=1)))
        soft[: len(residual)] = 0.0
        step = rows.T @ np.linalg.solve(rows @ rows.T + np.diag(soft), right)
        flat = flat - jnp.asarray(step, flat.dtype)
    last = np.asarray(jax.jit(relative)(flat), np.float64)
    return unravel(flat), [*seen, measured * (MET * last + 1.0)]


def record(names, measured, seen: list[np.ndarray], before: dict, after: dict) -> dict[str, Any]:
    """What the table shows of one model."""
    return {
        "values": [
            {"name": name, "measured": float(true), "steps": [float(one[k]) for one in seen]}
            for k, (name, true) in enumerate(zip(names, measured))
        ],
        "rest": {name: [before[name], after[name]] for name in before},
    }
