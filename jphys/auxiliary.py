"""The auxiliary estimates of VIMPNN (sec. 4.3): what they are of, and their loss."""

import jax
import jax.numpy as jnp
import numpy as np

from jphys import elements
from jphys.graph import Graph
from jphys.ops import sum_over_graphs

SCALES = np.linspace(0.9, 1.5, 10)  # grid on which the scale relative to the stable distances is estimated


def scale_density(scale):
    """Gaussian around the scale (n,), one grid step wide, on the grid SCALES, with sum 1: (n, 10)."""
    steps = (SCALES - scale[:, None]) / (SCALES[1] - SCALES[0])
    return jax.nn.softmax(-0.5 * steps**2)


def auxiliary_loss(estimates, columns: tuple[int, ...], scale, graph: Graph):
    """Squared errors of the estimates, summed over their columns: (n_graph,), without unit.

    - "atoms": number of atoms of each element; the error is relative to the number of all atoms;
    - "orbitals": orbitals of each element present; the error is relative to the orbitals of that element;
    - "scale": `scale_density`.

    Args:
        estimates: of the head of that name.
        columns: atomic numbers that the columns of atoms and orbitals belong to.
        scale: (n_graph,) of all distances relative to the stable ones; may be None where not estimated.
        graph: the structures.

    Raises:
        ValueError: if the scale is estimated and not given.
    """
    is_element = (graph.nodes.species[:, None] == jnp.asarray(columns)) & graph.nodes.mask[:, None]
    count = sum_over_graphs(is_element.astype(jnp.float32), graph)
    n_atoms = jnp.maximum(sum_over_graphs(graph.nodes.mask.astype(jnp.float32), graph), 1)
    errors = []
    if "atoms" in estimates:
        errors.append((estimates["atoms"] - count) / n_atoms[:, None])
    if "orbitals" in estimates:
        orbitals = elements.ORBITALS[np.array(columns)].astype(np.float32)
        errors.append(estimates["orbitals"] / orbitals - (count > 0))
    if "scale" in estimates:
        if scale is None:
            raise ValueError("scale must be given where it is estimated, got None")
        errors.append(estimates["scale"] - scale_density(scale))
    total = sum(jnp.sum(error**2, axis=-1) for error in errors)
    return jnp.where(graph.globals.mask, total, 0.0)
