"""Forces, stress and Hessian of any energy function of a Graph, by automatic differentiation."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jphys.graph import Graph, with_positions
from jphys.ops import at_nodes

__all__ = ["energy_and_forces", "energy_forces_stress", "hessian"]


def energy_function(potential) -> Callable:
    """`potential.energy`, or the argument itself where it already is a function (params, graph) -> eV."""
    return getattr(potential, "energy", potential)


def energy_and_forces(potential) -> Callable:
    """F_i = −∂E/∂p_i.

    Args:
        potential: a Potential, or a function (params, graph) -> (n_graph,) eV.

    Returns:
        Function (params, graph) -> energy (n_graph,) eV, forces (n_node, 3) eV/Å; forces are 0 on padding.
    """
    energy = energy_function(potential)

    def compute(params, graph: Graph):
        def total(positions):
            energies = energy(params, with_positions(graph, positions))
            return jnp.sum(energies), energies

        gradient, energies = jax.grad(total, has_aux=True)(graph.nodes.positions)
        return energies, -gradient

    return compute


def energy_forces_stress(potential) -> Callable:
    """Energy, forces and stress σ = (1/V) ∂E/∂ε from one gradient over positions and strain ε.

    The strain maps p → p(1 + ε) and cell → cell(1 + ε), symmetrised. The sign is that of ASE: a
    stretched crystal has positive diagonal stress.

    Returns:
        Function (params, graph) -> energy (n_graph,) eV, forces (n_node, 3) eV/Å, stress
        (n_graph, 3, 3) eV/Å³; stress is 0 where the graph has no cell.
    """
    energy = energy_function(potential)

    def compute(params, graph: Graph):
        cell = graph.globals.cell

        def total(positions, strain):
            symmetric = 0.5 * (strain + jnp.swapaxes(strain, -1, -2))
            moved = positions + jnp.einsum("ni,nij->nj", positions, at_nodes(symmetric, graph))
            strained = with_positions(graph, moved)._replace(
                globals=graph.globals._replace(cell=cell + cell @ symmetric)
            )
            energies = energy(params, strained)
            return jnp.sum(energies), energies

        (gradient, virial), energies = jax.grad(total, argnums=(0, 1), has_aux=True)(
            graph.nodes.positions, jnp.zeros_like(cell)
        )
        volume = jnp.abs(jnp.linalg.det(cell))[:, None, None]
        periodic = volume > 0
        stress = jnp.where(periodic, virial / jnp.where(periodic, volume, 1.0), 0.0)
        return energies, -gradient, stress

    return compute


def hessian(potential) -> Callable:
    """H = ∂²E/∂p∂p of the summed energy, forward over reverse.

    Returns:
        Function (params, graph) -> (n_node, 3, n_node, 3) eV/Å².
    """
    energy = energy_function(potential)

    def compute(params, graph: Graph):
        def total(positions):
            return jnp.sum(energy(params, with_positions(graph, positions)))

        return jax.hessian(total)(graph.nodes.positions)

    return compute
