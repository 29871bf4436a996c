"""Random displacements of stable structures, at which the losses look: each belongs to its structure."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from jphys.fragments import Sides
from jphys.graph import Graph
from jphys.losses.base import Labels, check, rows_of_structures
from jphys.modes import Modes
from jphys.ops import graph_of_node, safe_norm

MARGIN = 4.0 * 2.0**0.5  # times the noise per coordinate: a displaced distance hardly ever changes by more
CUTS = (0.3, 300.0)  # eV/Å²; between them lies the limit below which modes are displaced


@dataclasses.dataclass(frozen=True)
class Displacements:
    """How structures are displaced. What the prior's modes or the bonds are for needs losses of the prior.

    Raises:
        ValueError: for a fraction outside [0, 1], a length that is not positive or not finite.
    """

    noise: float = 0.5
    """Standard deviation of the displacements δ per coordinate, Å; the largest where it varies."""
    noise_varies: bool = False
    """Draw the standard deviation per structure from U(0, noise] instead of fixing it."""
    still: float = 0.0
    """Fraction of structures left at p itself, where the prior's force is zero."""
    thermal: float = 0.0
    """Fraction of the structures displaced along some of the prior's modes, with equal energy in each,
    instead of by the same noise on every coordinate: soft modes then move far."""
    apart: float = 0.0
    """Fraction of the displaced structures that are taken apart as well: the smaller side of a random acyclic
    bond moves along it, sometimes of a second one too."""
    apart_reach: float = 1.0
    """Longest of these moves, Å; they are uniform from 0."""
    turned: float = 0.0
    """Fraction of the displaced structures in which the smaller side of a random acyclic bond turns about
    it."""
    turned_reach: float = 180.0
    """Largest of these turns, degrees either way; they are uniform."""
    temperature: float = 0.4
    """Largest kT of thermal displacements, eV; each mode holds ½kT on average."""
    soft: float = 0.5
    """eV/Å²; curvature added to every mode, so that the softest do not move by far more than the others."""
    both_ways: int = 8
    """Of so many structures of a batch one is displaced both ways where a loss needs that, and stands for all
    of them: in batches that are no multiple of it, that loss counts for a little more."""
    small: float = 0.2
    """Of δ for it."""

    def __post_init__(self):
        check(self, "from 0 to 1", "still", "thermal", "apart", "turned", "small")
        check(self, "positive and finite", "noise", "apart_reach", "turned_reach", "temperature", "soft")
        if self.both_ways < 1:
            raise ValueError(f"both_ways must be at least 1, got {self.both_ways}")

    @property
    def margin(self) -> float:
        """Å by which two atoms hardly ever come closer: four standard deviations of a displaced distance."""
        return MARGIN * self.noise

    def draw(self, key, labels: Labels, graph: Graph, n_atom: int, *, small: ArrayLike = False):
        """Displacements δ (n_node, 3) Å; those of a structure depend on its index alone.

        Either Gaussian with standard deviation `noise` on every coordinate, or thermal along some modes of
        the prior, with `temperature`·u³, u from U(0, 1]: most are near the minimum. Some are taken apart or
        turned too, and the fraction `still` stays where it is.

        Args:
            key: of the step.
            labels: their index seeds δ, their modes and sides are what it goes along.
            graph: the structures.
            n_atom: atoms of the largest structure of the data set.
            small: (n_graph,) bool, structures that get `small`·δ, and do not stay.
        """
        still = jnp.where(small, 0.0, jnp.full(len(graph.n_node), self.still))

        def draw(index, still):
            gauss, size, rest, kind, gate = jax.random.split(jax.random.fold_in(key, index), 5)
            level = 1.0 - jax.random.uniform(size)
            moves = jax.random.uniform(rest) >= still
            return jax.random.normal(gauss, (n_atom, 3)), level, moves, jax.random.uniform(kind), gate

        gauss, level, moves, kind, gate = jax.vmap(draw)(labels.index, still)
        noise = self.noise * (level if self.noise_varies else jnp.ones_like(level))[:, None, None] * gauss
        if labels.modes is not None and self.thermal:
            hot = _thermal(gauss, self.temperature * level**3, gate, labels.modes, self.soft)
            noise = jnp.where((kind < self.thermal)[:, None, None], hot, noise)
        if labels.sides is not None:
            stable = rows_of_structures(graph.nodes.positions, labels.local, n_atom, graph)
            for moved in (_taken_apart,) * bool(self.apart) + (_turned,) * bool(self.turned):
                noise += jax.vmap(functools.partial(moved, key, self))(labels.index, stable, labels.sides)
        noise *= (moves * jnp.where(small, self.small, 1.0))[:, None, None]
        return noise[graph_of_node(graph), labels.local] * graph.nodes.mask[:, None]


def _thermal(gauss, temperature, gate, modes: Modes, soft: float):
    """Σ_c v_c √(T/(Λ_c + soft)) ξ_c over some of the modes, without rigid motions."""
    spread = jnp.sqrt(temperature[:, None] / (modes.curvatures + soft)) * modes.real
    spread *= jax.vmap(_some_modes)(gate, modes.curvatures)
    amplitudes = spread * gauss.reshape(spread.shape)
    return jnp.einsum("gic,gc->gi", modes.vectors, amplitudes).reshape(gauss.shape)


def _taken_apart(key, config: Displacements, index, stable, sides: Sides):
    """Moves (n_atom, 3) Å of the sides of one or two bonds of one structure, or none."""
    key = jax.random.fold_in(jax.random.fold_in(key, index), 1)
    whether, which, how_far = (jax.random.split(k) for k in jax.random.split(key, 3))
    often = jnp.array([config.apart, config.apart / 3])
    moves = jax.vmap(jax.random.uniform)(whether) < often * (sides.weight.sum() > 0)
    chosen = jax.vmap(lambda k: jax.random.categorical(k, jnp.log(sides.weight + 1e-30)))(which)
    bonds = stable[sides.ends[chosen, 1]] - stable[sides.ends[chosen, 0]]
    lengths = config.apart_reach * jax.vmap(jax.random.uniform)(how_far) * moves
    shifts = bonds * (lengths / jnp.maximum(safe_norm(bonds), 1e-6))[:, None]
    return jnp.einsum("ba,bx->ax", sides.leaving[chosen].astype(shifts.dtype), shifts)


def _turned(key, config: Displacements, index, stable, sides: Sides):
    """Moves (n_atom, 3) Å of the side of one bond of one structure that turns about it, or none.

    Modes are straight: along them a molecule never comes far around a bond, and what has not been seen there
    is flat.
    """
    key = jax.random.fold_in(jax.random.fold_in(key, index), 2)
    whether, which, how_far = jax.random.split(key, 3)
    weight = sides.weight * (sides.leaving.sum(axis=-1) > 1)  # an atom alone does not turn
    moves = jax.random.uniform(whether) < config.turned * (weight.sum() > 0)
    chosen = jax.random.categorical(which, jnp.log(weight + 1e-30))
    start, end = stable[sides.ends[chosen, 0]], stable[sides.ends[chosen, 1]]
    axis = (end - start) / jnp.maximum(safe_norm(end - start), 1e-6)
    reach = jnp.deg2rad(config.turned_reach) * moves
    angle = jax.random.uniform(how_far, minval=-reach, maxval=reach)
    arms = stable - end
    # Rodrigues: the part along the axis stays.
    across = arms - (arms @ axis)[:, None] * axis
    turn = (jnp.cos(angle) - 1) * across + jnp.sin(angle) * jnp.cross(axis, arms)
    return jnp.where(sides.leaving[chosen][:, None], turn, 0.0)


def _some_modes(key, curvatures):
    """Which modes (n,) are displaced: for half of the structures those softer than a random limit, for
    half a random fraction, often a small one.

    A relaxation brings the stiff modes to rest first. A network that has only seen all modes displaced at
    once takes a structure with good bond lengths for a stable one, and its soft modes are flat.
    """
    which, limit, fraction, each = jax.random.split(key, 4)
    softest, stiffest = (jnp.log(value) for value in CUTS)
    softer = curvatures < jnp.exp(jax.random.uniform(limit, minval=softest, maxval=stiffest))
    some = jax.random.uniform(each, curvatures.shape) < jax.random.uniform(fraction) ** 2
    return jnp.where(jax.random.uniform(which) < 0.5, softer, some)
