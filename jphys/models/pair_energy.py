"""The parametric pair energy: Coulomb + Lennard-Jones with regressed parameters (Yi et al. eq. 5)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import ops
from jphys.elements import COVALENT_RADIUS
from jphys.units import BOHR, COULOMB

MAX_EXPONENT = 12.0  # upper end of β3; 6 is London's exponent
STEEP = 2.5  # s = β3·ln(β4/d) above which the Lennard-Jones wall is continued linearly in s
SHORTEST_WELL = 0.5  # Å, lower end of β4: nothing attracts at shorter distances
NEAR = 0.7  # Å, below which the Coulomb term is continued; the shortest bond of QM9 is 0.959 Å
REPULSION_REACH = 0.7  # nuclear repulsion ends at this fraction of the summed covalent radii


class PairParameters(NamedTuple):
    """The five fields of eq. 5, one value per directed edge, equal in both directions."""

    charge: jax.Array  # β0, eV·Å, either sign: > 0 attracts
    coulomb: jax.Array  # β1 ≥ 0, without unit
    depth: jax.Array  # β2 ≥ 0, eV
    exponent: jax.Array  # β3 in (0, 12), without unit; → 0 switches Lennard-Jones off, 6 is London
    distance: jax.Array  # β4 > 0.5 Å, the Lennard-Jones minimum


def from_raw(raw: jax.Array) -> PairParameters:
    """Map unconstrained regressor outputs (…, 5) to their physical ranges.

    β1, β2 by softplus, β4 by softplus from the shortest well up, β3 by a scaled sigmoid, β0 unchanged. At
    raw = 0: no charge, a shallow well of 0.05 eV at 1.2 Å with exponent 4, silent within a molecule.
    """
    charge, coulomb, depth, exponent, distance = jnp.moveaxis(raw, -1, 0)
    return PairParameters(
        charge=charge,
        coulomb=jax.nn.softplus(coulomb),
        depth=jax.nn.softplus(depth - 3.0),
        exponent=MAX_EXPONENT * jax.nn.sigmoid(exponent - 0.69),
        distance=SHORTEST_WELL + jax.nn.softplus(distance + 0.014),
    )


def lennard_jones(distances, depth, exponent, distance):
    """β2[(β4/d)^{2β3} − 2(β4/d)^{β3}], evaluated through s = β3·ln(β4/d).

    Above s = STEEP the wall goes on linearly in s (C¹), thus like −ln d: finite and repulsive in
    float32 for every parameter value and d ≥ 0.05 Å.
    """
    s = exponent * (jnp.log(distance) - jnp.log(distances))
    e = jnp.exp(jnp.minimum(s, STEEP))
    wall = jnp.maximum(s - STEEP, 0.0)
    slope = 2.0 * (np.exp(2 * STEEP) - np.exp(STEEP))
    return depth * (e * e - 2.0 * e + slope * wall)


def coulomb(distances, charge, strength):
    """−β1·β0/d, continued C¹ below NEAR so that it stays finite and is repulsive at short range.

    With t = NEAR − d: a repelling pair (β0 < 0) goes on linearly; an attracting one turns over,
    1/NEAR + t/NEAR² − 2t²/NEAR³, so that no parameter value makes atoms collapse.
    """
    near = jnp.maximum(NEAR - distances, 0.0)
    inverse = 1.0 / jnp.maximum(distances, NEAR) + near / NEAR**2
    turn = 2.0 * near**2 / NEAR**3
    return -strength * (charge * inverse - jnp.maximum(charge, 0.0) * turn)


def nuclear_repulsion(distances, species_a, species_b):
    """Screened repulsion of the bare nuclei where electrons no longer bind them.

    Z_a Z_b e²/(4πε₀ d)·f(d/a), f and a of Ziegler, Biersack & Littmark (The Stopping and Range of Ions
    in Solids, 1985, eq. 2-60), times (1 − d/r)³ for d below r = 0.7·(sum of the covalent radii), 0
    beyond: C² and silent at every bond length of a stable molecule.
    """
    radius = jnp.asarray(COVALENT_RADIUS, distances.dtype)
    reach = REPULSION_REACH * (radius[species_a] + radius[species_b])
    z_a, z_b = species_a.astype(distances.dtype), species_b.astype(distances.dtype)
    length = 0.88534 * BOHR / (z_a**0.23 + z_b**0.23 + 1e-9)
    x = distances / length
    screening = (
        0.18175 * jnp.exp(-3.1998 * x)
        + 0.50986 * jnp.exp(-0.94229 * x)
        + 0.28022 * jnp.exp(-0.4029 * x)
        + 0.028171 * jnp.exp(-0.20162 * x)
    )
    inside = jnp.maximum(1.0 - distances / reach, 0.0)
    return COULOMB * z_a * z_b / distances * screening * inside**3


def repulsion_at_nodes(graph):
    """Half of `nuclear_repulsion` of every pair at either of its atoms: (n_node,) eV."""
    pair, real = ops.undirected(graph)
    receivers, senders = jnp.asarray(graph.receivers)[pair], jnp.asarray(graph.senders)[pair]
    safe = jnp.where(real, ops.edge_distances(graph)[pair], 1.0)
    species = jnp.asarray(graph.nodes.species)
    energies = nuclear_repulsion(safe, species[receivers], species[senders])
    return ops.sum_at_ends(jnp.where(real, 0.5 * energies, 0.0), receivers, senders, len(species))


def pair_energy(distances, parameters: PairParameters):
    """E_ij(d) of eq. 5 without the envelope.

    Args:
        distances: (e,) Å, positive.
        parameters: five fields of (e,).

    Returns:
        (e,) eV.
    """
    return coulomb(distances, parameters.charge, parameters.coulomb) + lennard_jones(
        distances, parameters.depth, parameters.exponent, parameters.distance
    )
