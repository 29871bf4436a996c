"""Surfaces whose motion is known, for tests of dynamics."""

from typing import Any

import ase.io
import jax.numpy as jnp
import numpy as np
from ase import Atoms

import jphys
from jphys import ops
from jphys.models.potential import Potential


def per_graph(pairs, graph):
    """Sum of edge values (n_edge,) over each graph."""
    return ops.sum_over_graphs(ops.sum_at_receivers(pairs, graph), graph)


def springs(params, graph):
    """½·k·(d − r₀)² over all pairs, r₀ = 1.2 Å."""
    distances = ops.edge_distances(graph)
    pairs = 0.25 * params * (distances - 1.2) ** 2 * graph.edges.mask
    return per_graph(pairs, graph)


def repulsive(params, graph):
    """½·ε·(1 − d/5 Å)³ per edge: soft spheres that may come close, C² at the cutoff."""
    distances = ops.edge_distances(graph)
    inside = jnp.maximum(1.0 - distances / 5.0, 0.0) * graph.edges.mask
    return per_graph(0.5 * params * inside**3, graph)


def attractive(params, graph):
    """The same with the other sign between 2 Å and 5 Å: a cloud that collapses into a dense cluster."""
    distances = ops.edge_distances(graph)
    inside = jnp.maximum(1.0 - distances / 5.0, 0.0) * graph.edges.mask
    close = jnp.maximum(1.0 - distances / 2.0, 0.0) * graph.edges.mask
    return ops.sum_over_graphs(
        ops.sum_at_receivers(params * (30.0 * close**3 - 2.0 * inside**3), graph), graph
    )


def as_potential(energy):
    """A Potential around an energy function, for what needs a cutoff."""
    config = jphys.TransformerConfig()
    return Potential(
        config=config, cutoff=5.0, init=lambda key, graph: {}, energy=energy, atom_energies=energy
    )


def simulate(energy, atoms, **settings):
    """`jphys.simulate` on one of these surfaces, of strength 1."""
    return jphys.simulate(as_potential(energy), jnp.float32(1.0), atoms, progress=False, **settings)


def read(file) -> list[Any]:
    """The frames of a trajectory."""
    return list(ase.io.iread(file))


def diatomic(stretch=0.05) -> Atoms:
    """Two atoms at rest, so far from the minimum of `springs`."""
    atoms = Atoms("HF", [[0, 0, 0], [0, 0, 1.2 + stretch]])
    atoms.set_momenta(np.full((2, 3), 1e-12))  # at rest: no momenta are drawn
    return atoms
