"""Perturbed structures, and any energy function evaluated on many structures at once."""

from collections.abc import Sequence

import jax
import numpy as np

from jphys.graph import Graph, with_positions


def perturb(graphs: Sequence[Graph], sigma: float, *, key) -> list[Graph]:
    """The graphs with Gaussian noise of standard deviation `sigma` (Å) on every coordinate.

    Rigid motion is not removed. Graph i draws from the i-th split of the key, so its noise does not
    depend on the other graphs, and with one key the noise of two amplitudes is the same direction.

    Raises:
        ValueError: if sigma is negative.
    """
    if not sigma >= 0:
        raise ValueError(f"sigma must be at least 0 Å, got {sigma}")
    n_max = max((len(g.nodes.species) for g in graphs), default=0)
    noise = jax.vmap(lambda k: jax.random.normal(k, (n_max, 3)))(jax.random.split(key, len(graphs)))
    moved = []
    for graph, step in zip(graphs, np.asarray(noise), strict=True):
        positions = np.asarray(graph.nodes.positions)
        step = (sigma * step[: len(positions)]).astype(positions.dtype)
        moved.append(with_positions(graph, positions + step))
    return moved


def finite_or_none(value) -> float | None:
    """A float for JSON, which knows no NaN or infinity."""
    value = float(value)
    return value if np.isfinite(value) else None
