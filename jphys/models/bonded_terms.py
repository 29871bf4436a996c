"""The bonded terms of a model: parameters from atom representations, energies from the bonds of a graph."""

from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from jphys import ops
from jphys.graph import Graph
from jphys.messages import sum_of_messages, values_on_edges
from jphys.models import bonded_energy as bonded
from jphys.models.bonded_energy import AngleParameters, TorsionParameters
from jphys.models.linen import pure
from jphys.triplets import places_of

ROOM = 4  # places for bonds per atom, both directions of a bond counted; molecules have two
DENSE = 4  # where atoms have many neighbours: places for every so many edges
SILENT = nn.initializers.variance_scaling(0.01, "fan_in", "normal")


class Bonds(NamedTuple):
    """Edges of a graph, or some of them: their ends, unit vectors and switches."""

    ends: tuple[jax.Array, jax.Array]  # receivers and senders (p,)
    units: jax.Array  # (p, 3)
    switch: jax.Array  # (p,), 0 where an edge is none of them

    @property
    def rows(self):
        """What a message of a bond is made of."""
        return self.units, self.switch

    def only(self, real) -> "Bonds":
        """Those of which `real` (p,) is true; the others have no switch."""
        return self._replace(switch=jnp.where(real, self.switch, 0.0))

    def at(self, chosen, real) -> "Bonds":
        """Those of the given numbers, of which `real` are meant."""
        return jax.tree.map(lambda values: values[chosen], self).only(real)


def edges_of(graph: Graph) -> Bonds:
    """Every edge of a graph; those that are no bonds have the switch 0."""
    species, ends = (
        jnp.asarray(graph.nodes.species),
        (jnp.asarray(graph.receivers), jnp.asarray(graph.senders)),
    )
    vectors = jnp.asarray(ops.edge_vectors(graph))
    distances = ops.safe_norm(vectors)
    switch = bonded.bond_switch(distances, *(species[end] for end in ends))
    return Bonds(ends, bonded.directions(vectors, distances), switch).only(graph.edges.mask)


def find_bonds(graph: Graph) -> tuple[Bonds, Bonds, jax.Array]:
    """The edges that are bonds, found on the device.

    Returns:
        The bonds in both directions; in one direction each; and which structures (n_graph,) have more than
        there are places for, some of which are then missing.
    """
    edges, ahead = edges_of(graph), ops.ahead(graph)
    n_edge, n_node = len(graph.senders), len(graph.nodes.species)
    per_node = max(ROOM, -(-n_edge // (DENSE * n_node)))
    if per_node * n_node >= n_edge:
        return edges, edges.only(ahead), jnp.zeros(len(graph.n_node), bool)
    flags = edges.switch > 0
    chosen, real, crowded = places_of(flags, graph, per_node)
    chosen_ahead, real_ahead, _ = places_of(flags & ahead, graph, -(-per_node // 2))
    return edges.at(chosen, real), edges.at(chosen_ahead, real_ahead), crowded


class AngleTerm(nn.Module):
    """Bends by the representations of the centre (κ, cos θ⁰) and of the outer atoms (w)."""

    channels: int

    def setup(self):
        self.center = nn.Dense(2 * self.channels, kernel_init=SILENT)
        self.outer = nn.Dense(self.channels, kernel_init=SILENT)

    def parameters(self, x) -> AngleParameters:
        """Of representations (n_node, d)."""
        stiffness, cosine = jnp.split(self.center(x), 2, axis=-1)
        # At the start 0.05 eV and 109°: silent beside the pair energies, and a bend of most atoms.
        return AngleParameters(
            nn.softplus(stiffness - 3.0), jnp.tanh(cosine - 0.35), nn.softplus(self.outer(x))
        )

    def energies(self, parameters: AngleParameters, bonds: Bonds):
        """(n_node,) eV at the centres."""

        def message(_, __, weight, rows):
            units, switch = rows
            return bonded.angle_moments(units, weight * switch[:, None])

        n_node = len(parameters.weight)
        moments = sum_of_messages(message, (), (), parameters.weight, bonds.rows, bonds.ends, n_node)
        return bonded.angle_energy(moments, parameters.stiffness, parameters.cosine)


class TorsionTerm(nn.Module):
    """Turns by the representations of the bond's two atoms (U) and of the outer atoms (w)."""

    channels: int

    def setup(self):
        self.outer = nn.Dense(self.channels)
        self.middle = nn.Dense(8 * self.channels)
        self.strength = nn.Dense(len(bonded.FOLDS) * self.channels, kernel_init=SILENT)

    def parameters(self, x):
        """Weights w (n_node, C) and the half of U's first layer (n_node, 8 C) that an atom gives."""
        return self.outer(x), self.middle(x)

    def moments(self, weight, bonds: Bonds):
        """Of every atom: (n_node, C, 19)."""

        def message(_, __, weight, rows):
            units, switch = rows
            return bonded.torsion_moments(units, weight * switch[:, None])

        return sum_of_messages(message, (), (), weight, bonds.rows, bonds.ends, len(weight))

    def turning(self, half, moments, bonds: Bonds, strength: tuple[Any, Any]):
        """Z_n of bonds j–k: (p, 6) eV, real and imaginary parts."""
        function, params = strength

        def z(params, at_j, at_k, rows):
            (half_j, moments_j), (half_k, moments_k) = at_j, at_k
            strengths = function(params, ops.silu(half_j + half_k)).reshape(
                -1, len(bonded.FOLDS), self.channels
            )
            return jnp.concatenate(bonded.turning(rows, moments_j, moments_k, strengths), axis=-1)

        atoms = half, moments
        return values_on_edges(z, params, atoms, atoms, bonds.units, bonds.ends)

    def energies(self, parameters, both: Bonds, one_way: Bonds, strength):
        """Half of every bond's energy at either end: (n_node,) eV."""
        weight, half = parameters
        turning = self.turning(half, self.moments(weight, both), one_way, strength)
        energies = one_way.switch * bonded.turning_energy(turning[:, :3], turning[:, 3:])
        return ops.sum_at_ends(0.5 * energies, *one_way.ends, len(weight))


class BondedTerms(nn.Module):
    """The terms of the given names, with C channels each."""

    names: tuple[str, ...]
    channels: int = 8

    def setup(self):
        if "angle" in self.names:
            self.angle = AngleTerm(self.channels)
        if "torsion" in self.names:
            self.torsion = TorsionTerm(self.channels)

    def __call__(self, x, graph: Graph):
        """Energies (n_node,) eV of representations x (n_node, d).

        NaN in a structure with more bonds than there are places for, so that nobody takes them for energies:
        there are 4 per atom of the graph, or one for every four edges where these are more.
        """
        both, one_way, crowded = find_bonds(graph)
        energies = jnp.zeros(len(x), x.dtype)
        if "angle" in self.names:
            energies += self.angle.energies(self.angle.parameters(x), both)
        if "torsion" in self.names:
            parameters = self.torsion.parameters(x)
            strength = pure(self.torsion.strength, parameters[1])
            energies += self.torsion.energies(parameters, both, one_way, strength)
        return energies * jnp.where(ops.at_nodes(crowded, graph), jnp.nan, 1.0)  # forces too

    def angle_parameters(self, x) -> AngleParameters:
        """Of representations (n_node, d)."""
        return self.angle.parameters(x)

    def torsion_parameters(self, x, graph: Graph) -> TorsionParameters:
        """Barriers and phases of every edge."""
        edges = edges_of(graph)
        weight, half = self.torsion.parameters(x)
        strength = pure(self.torsion.strength, half)
        turning = self.torsion.turning(half, self.torsion.moments(weight, edges), edges, strength)
        real, imaginary = turning[:, :3], turning[:, 3:]
        barrier = 2.0 * jnp.hypot(real, imaginary) * edges.switch[:, None]
        return TorsionParameters(barrier, jnp.where(barrier > 0, jnp.arctan2(imaginary, real), 0.0))
