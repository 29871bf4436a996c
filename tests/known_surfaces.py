"""Surfaces whose motion, minima or passes are known."""

from typing import Any

import ase.io
import jax.numpy as jnp
import numpy as np
from ase import Atoms
from ase.units import Bohr

import jphys
from jphys import ops
from jphys.graph import make_graph
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


def as_potential(energy, cutoff=5.0):
    """A Potential around an energy function, for what needs a cutoff."""
    config = jphys.TransformerConfig()
    return Potential(
        config=config, cutoff=cutoff, init=lambda key, graph: {}, energy=energy, atom_energies=energy
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


BOX = 20.0  # Å


def muller_brown(params, graph):
    """Müller and Brown (Theor. Chim. Acta 53, 75 (1979)), a hundredth of it, harmonic in z; of every atom."""
    height = jnp.array([-2.0, -1.0, -1.7, 0.15])
    a, b, c = (
        jnp.array([-1.0, -1.0, -6.5, 0.7]),
        jnp.array([0.0, 0.0, 11.0, 0.6]),
        jnp.array([-10.0, -10.0, -6.5, 0.7]),
    )
    x0, y0 = jnp.array([1.0, 0.0, -0.5, -1.0]), jnp.array([0.0, 0.5, 1.5, 1.0])
    x, y, z = (graph.nodes.positions[:, axis, None] for axis in range(3))
    wells = height * jnp.exp(a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2)
    energies = wells.sum(axis=1) + 2.0 * z[:, 0] ** 2
    return params * ops.sum_over_graphs(jnp.where(graph.nodes.mask, energies, 0.0), graph)


def at(*places):
    """One atom per place, in a box: free molecules are laid on each other."""
    return make_graph(
        [1] * len(places), np.array([[*p, 0.0] for p in places], np.float32), cell=BOX * np.eye(3), cutoff=0.1
    )


WELLS = (-0.558, 1.442), (-0.050, 0.467), (0.623, 0.028)


EPSILON, SIGMA, CUTOFF, ONSET = 0.4, 2.3, 5.0, 4.0


def lennard_jones(params, graph):
    """That of ASE with `smooth=True`."""
    d = ops.edge_distances(graph)
    d = jnp.where(graph.edges.mask, d, CUTOFF)
    r2, rc2, ro2 = d**2, CUTOFF**2, ONSET**2
    fade = jnp.where(d < ONSET, 1.0, (rc2 - r2) ** 2 * (rc2 + 2 * r2 - 3 * ro2) / (rc2 - ro2) ** 3)
    x = (SIGMA**2 / r2) ** 3
    return per_graph(jnp.where(d < CUTOFF, 2.0 * params * (x**2 - x) * fade, 0.0), graph)


BETA = 1.809  # of effective medium theory
LARGEST = 3.01 * Bohr  # Å, of the radii s₀ that ASE has: they decide where all its sums end
EMT_CUTOFF = BETA * LARGEST * 0.5 * (3**0.5 + 2.0) + 0.5


def copper(params, graph):
    """Effective medium theory of one element (Jacobsen, Stoltze, Nørskov, Surf. Sci. 366, 394 (1996)).

    Constants are those of ASE's EMT for copper, in eV and Å.
    """
    e0, s0, v0 = -3.51, 2.67 * Bohr, 2.476
    eta, kappa, decay = 1.652 / Bohr, 2.74 / Bohr, 1.906 / Bohr
    cut = EMT_CUTOFF - 0.5
    steepness = np.log(9999.0) / (2.0 * BETA * LARGEST - cut)
    shells = np.array([1.0, 2.0, 3.0]) ** 0.5 * BETA * s0
    weight = np.array([1.0, 0.5, 2.0]) / (1.0 + np.exp(steepness * (shells - cut)))
    gamma_eta, gamma_kappa = (np.sum(weight * np.exp(-k * (shells - BETA * s0))) for k in (eta, kappa / BETA))
    d = jnp.where(graph.edges.mask, ops.edge_distances(graph), EMT_CUTOFF)
    inside = (d < EMT_CUTOFF) / (1.0 + jnp.exp(steepness * (d - cut)))
    repulsion = 0.5 * v0 * jnp.exp(-kappa * (d / BETA - s0)) / gamma_kappa * inside
    density = ops.sum_at_receivers(jnp.exp(-eta * (d - BETA * s0)) / gamma_eta * inside, graph)
    smaller = -jnp.log(jnp.where(graph.nodes.mask, density, 12.0) / 12.0) / (BETA * eta)
    cohesion = e0 * ((1.0 + decay * smaller) * jnp.exp(-decay * smaller) - 1.0)
    atoms = cohesion + 6.0 * v0 * jnp.exp(-kappa * smaller) - ops.sum_at_receivers(repulsion, graph)
    return params * ops.sum_over_graphs(jnp.where(graph.nodes.mask, atoms, 0.0), graph)
