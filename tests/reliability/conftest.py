"""Energies of other programs as energy functions of a Graph."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys.ops import at_nodes


def external_energy(compute):
    """Energy function of a Graph from a host function (species, positions) -> eV, (n, 3) eV/Å."""

    def host(species, positions, n_node, mask):
        species, positions, n_node, mask = (np.asarray(x) for x in (species, positions, n_node, mask))
        energies, forces = np.zeros(len(n_node), np.float32), np.zeros(positions.shape, np.float32)
        ends = np.cumsum(n_node)
        for index in np.flatnonzero(mask):
            atoms = np.arange(ends[index] - n_node[index], ends[index])
            atoms = atoms[species[atoms] > 0]
            energies[index], forces[atoms] = compute(species[atoms], positions[atoms])
        return energies, forces

    def forward(positions, graph):
        shapes = (
            jax.ShapeDtypeStruct(graph.n_node.shape, np.float32),
            jax.ShapeDtypeStruct(positions.shape, np.float32),
        )
        operands = (graph.nodes.species, positions, graph.n_node, graph.globals.mask)
        energies, forces = jax.pure_callback(host, shapes, *operands, vmap_method="sequential")
        return energies, (forces, graph)

    def backward(residual, seed):
        forces, graph = residual
        return -at_nodes(seed, graph)[:, None] * forces, None

    @jax.custom_vjp
    def energy(positions, graph):
        return forward(positions, graph)[0]

    energy.defvjp(forward, backward)
    return lambda params, graph: energy(graph.nodes.positions, jax.tree.map(jnp.asarray, graph))


@pytest.fixture
def graph_energy():
    return external_energy
