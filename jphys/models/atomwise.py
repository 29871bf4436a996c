"""The frame of models whose energy is a sum over atoms: what every architecture would write once more."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jphys import ops
from jphys.graph import Graph
from jphys.models.pair_energy import repulsion_at_nodes
from jphys.models.potential import Params, Potential, fitted_elements

__all__ = ["atomwise"]

NodeEnergies = Callable[[Params, Graph], jax.Array]


def atomwise(
    config: Any,
    init: Callable[[jax.Array, Graph], Params],
    node_energies: NodeEnergies,
    *,
    scale: float = 1.0,
    repulsion: bool = False,
    **facts: Any,
) -> Potential:
    """The Potential with E = Σ_i (scale·e_i + ½ Σ_j V_ij) over the real atoms i of a structure.

    It is 0 on padding, and NaN where an atom is of an element that the reference energies do not know.

    Args:
        config: the model's config, which holds cutoff, `max_z` and reference energies.
        init: (key, graph) -> params.
        node_energies: (params, graph) -> e (n_node,), whatever it likes on padding and for unknown elements.
        scale: eV, what e is a multiple of.
        repulsion: whether nuclei repel by V, the screened repulsion of `pair_energy.nuclear_repulsion`.
        facts: further fields of the Potential, such as heads and promises.
    """

    def atom_energies(params, graph):
        energies = scale * node_energies(params, graph)
        if repulsion:
            energies += repulsion_at_nodes(graph)
        known = fitted_elements(config, graph.nodes.species)
        return jnp.where(known, jnp.where(graph.nodes.mask, energies, 0.0), jnp.nan)

    def energy(params, graph):
        return ops.sum_over_graphs(atom_energies(params, graph), graph)

    return Potential(config, config.cutoff, init, energy, atom_energies, **facts)
