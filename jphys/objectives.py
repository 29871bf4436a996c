"""The training losses: one pure function each, for any potential; and their weighted sum (eq. 9).

Every loss returns one value per structure (n_graph,); padding counts 0.
"""

import dataclasses
import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jphys.auxiliary import auxiliary_loss
from jphys.derivatives import energy_and_forces
from jphys.diatomics import diatomic_loss, draw_diatomics
from jphys.fragments import Sides
from jphys.graph import Graph, batch, hide_atoms, with_positions
from jphys.modes import Modes
from jphys.ops import graph_of_node, pseudo_huber, safe_norm, sum_over_graphs
from jphys.prior import Prior, prior_energy

__all__ = ["ENERGY_ONLY", "OBJECTIVES", "PAPER", "PHYSICS", "ObjectiveConfig"]

MARGIN = 4.0 * 2.0**0.5  # times the noise per coordinate: a displaced distance hardly ever changes by more


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """Weights λ of the losses and how structures are displaced. A weight of 0 leaves a loss out.

    Raises:
        ValueError: for a weight that is negative, a fraction outside [0, 1], a length that is not positive;
            for a value that is not finite.
    """

    energy: float = 1.0
    """λ of the squared energy error, per eV²."""
    mask: float = 0.0
    """λ of masked-atom modelling (eq. 7)."""
    zero_force: float = 0.0
    """λ of the mean squared force at the stable structure, per (eV/Å)²."""
    bound: float = 0.0
    """λ of the energy bound, relu(E(p) − E(p + δ)) (eq. 8), per eV."""
    restore: float = 0.0
    """λ of the relative deviation from the classical prior's forces at p + δ, without unit."""
    curvature: float = 0.0
    """λ of the relative deviation from the prior's curvature, by the difference of the forces at p ± δ with
    small δ, of structures that a batch holds twice; without unit."""
    diatomics: float = 0.0
    """λ of the relative deviation from the Morse curves of two atoms alone (`jphys.diatomics`), without unit;
    elements that have none there are left out."""
    forces: float = 0.0
    """λ of the squared error against force labels, per (eV/Å)²; for data that has them."""
    auxiliary: float = 0.0
    """α of each auxiliary estimate (VIMPNN, sec. 4.3), without unit; for models that make them."""
    mask_rate: float = 0.3
    """ρ, the probability that an atom is hidden."""
    noise: float = 0.5
    """Standard deviation of the displacements δ per coordinate, Å; the largest where it varies."""
    noise_varies: bool = False
    """Draw the standard deviation per structure from U(0, noise] instead of fixing it."""
    still: float = 0.0
    """Fraction of structures left at p itself, where the prior's force is zero."""
    thermal: float = 0.0
    """Fraction of the structures displaced along some of the prior's modes, with equal energy in each,
    instead of by the same noise on every coordinate: soft modes then move far. Only with restore or
    curvature."""
    apart: float = 0.0
    """Fraction of the displaced structures that are taken apart as well: the smaller side of a random acyclic
    bond moves along it, sometimes of a second one too. Only with restore or curvature."""
    apart_reach: float = 1.0
    """Longest of these moves, Å; they are uniform from 0."""
    turned: float = 0.0
    """Fraction of the displaced structures in which the smaller side of a random acyclic bond turns about it.
    Only with restore or curvature."""
    turned_reach: float = 180.0
    """Largest of these turns, degrees either way; they are uniform."""
    temperature: float = 0.4
    """Largest kT of thermal displacements, eV; each mode holds ½kT on average."""
    soft: float = 0.5
    """eV/Å²; curvature added to every mode, so that the softest do not take over."""
    floor: float = 0.002
    """eV per mode; smaller prior energies than this count restoring forces absolutely."""

    def __post_init__(self):
        weights = "energy mask zero_force bound restore curvature diatomics forces auxiliary"
        for name in weights.split():
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be finite and not negative, got {getattr(self, name)}")
        for name in ("mask_rate", "still", "thermal", "apart", "turned"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, got {getattr(self, name)}")
        for name in ("noise", "apart_reach", "turned_reach", "temperature", "soft", "floor"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {getattr(self, name)}")

    @property
    def uses_prior(self) -> bool:
        """Whether any loss needs the classical prior of the stable structures."""
        return self.restore > 0 or self.curvature > 0

    @property
    def wants_stable(self) -> bool:
        """Whether any loss takes every structure for a stable one."""
        return self.displaces or self.zero_force > 0

    @property
    def displaces(self) -> bool:
        """Whether any loss looks at displaced structures."""
        return self.uses_prior or self.bound > 0

    @property
    def margin(self) -> float:
        """Å by which two atoms hardly ever come closer: four standard deviations of a displaced distance."""
        return MARGIN * self.noise if self.displaces else 0.0


ENERGY_ONLY = ObjectiveConfig()
PAPER = ObjectiveConfig(mask=0.1, zero_force=1.0, bound=1.0)
# Displacements at least as large as what a network cannot know of the minimum, some 0.03 Å, in every mode;
# errors count absolutely below it: what looks closer flattens the well (docs/log.md, 2026-11-27).
PHYSICS = ObjectiveConfig(
    energy=2.0,
    mask=0.02,
    bound=0.1,
    restore=1.0,
    noise=0.25,
    noise_varies=True,
    thermal=0.8,
    apart=0.4,
    turned=0.2,
    curvature=8.0,
    diatomics=0.2,
    floor=2e-3,
)
OBJECTIVES = {"physics": PHYSICS, "paper": PAPER, "energy-only": ENERGY_ONLY}

CUTS = (0.3, 300.0)  # eV/Å²; between them lies the limit below which modes are displaced
TWICE = 0.25  # of the places of a batch hold structures twice where the curvature has a weight
SMALL = 0.2  # of δ for structures that come twice
ROUNDING = 1e-8  # eV per mode; differences of forces below this are rounding in float32
OUTLIER = 0.3  # relative deviation of the restoring force beyond which it counts linearly


def members_twice(config: ObjectiveConfig, batch_size: int) -> int:
    """Structures of every batch that take two places, for their curvature."""
    return max(1, round(TWICE * batch_size / 2)) if config.curvature else 0


class Labels(NamedTuple):
    """What is known about the structures of a graph, apart from the graph."""

    energy: jax.Array  # (n_graph,) eV, relative to the reference energies
    index: jax.Array  # (n_graph,) number in the data set: the seed of its noise
    local: jax.Array  # (n_node,) number of the atom within its structure
    forces: jax.Array | None = None  # (n_node, 3) eV/Å
    prior: Prior | None = None
    modes: Modes | None = None  # (n_graph, …)
    sides: Sides | None = None  # (n_graph, …) of the acyclic bonds
    scale: jax.Array | None = None  # (n_graph,) of all distances, relative to the stable ones


def mean_over_atoms(values, graph: Graph):
    """Mean of node values (n_node,) over the real atoms of each structure: (n_graph,)."""
    count = sum_over_graphs(graph.nodes.mask.astype(values.dtype), graph)
    return sum_over_graphs(jnp.where(graph.nodes.mask, values, 0.0), graph) / jnp.maximum(count, 1)


def energy_loss(energy, target, graph: Graph):
    """(E − E_target)², eV² (eq. 9)."""
    return jnp.where(graph.globals.mask, (energy - target) ** 2, 0.0)


def force_loss(forces, target, graph: Graph):
    """Mean over atoms of ‖F_i − F_target‖², (eV/Å)². With target 0: the zero-force regularisation."""
    return mean_over_atoms(jnp.sum((forces - target) ** 2, axis=-1), graph)


def bound_loss(energy, displaced_energy, graph: Graph):
    """relu(E(p) − E(p + δ)), eV (eq. 8): a displaced structure is never lower than the stable one."""
    return jnp.where(graph.globals.mask, jax.nn.relu(energy - displaced_energy), 0.0)


def restoring_loss(amplitudes, prior_amplitudes, labels: Labels, soft: float, floor: float):
    """Deviation from the prior's forces relative to them, in the norm of the prior's own energy.

    With ‖F‖² = (1/m) Σ_c (v_c·F)²/(Λ_c + soft) over the m modes c of the prior (twice the energy per mode
    that a harmonic well with that force holds, eV), from amplitudes v_c·F (n_graph, n) eV/Å:

        x² = ‖F − F_prior‖² / (floor + ‖F_prior‖²),   pseudo-Huber beyond x = 0.3.

    A mean of squared forces would see stiff modes alone, and the distance to the minimum soft ones alone.
    Here an error that costs the same energy costs the same, whatever its mode.

    Given F(p + δ) − F(p − δ) with small δ instead, which is −2Hδ, it judges the curvature of the well without
    the force at its bottom. A network knows that force, that is, where the minimum lies, to some 0.01 Å;
    where it is only asked for forces, it keeps its well flat over that width.
    """
    modes = _known(labels.modes)
    weights = jnp.where(modes.real, 1.0 / (modes.curvatures + soft), 0.0)

    def norm(values):
        return jnp.sum(weights * values**2, axis=-1) / jnp.maximum(modes.real.sum(axis=-1), 1)

    deviation = norm(amplitudes - prior_amplitudes) / (floor + norm(prior_amplitudes))
    return pseudo_huber(deviation, OUTLIER)


def mode_amplitudes(forces, labels: Labels, graph: Graph):
    """v_c·F of forces (n_node, 3) along the modes of the prior: (n_graph, n)."""
    modes = _known(labels.modes)
    rows = _dense(forces, labels.local, modes.curvatures.shape[1] // 3, graph)
    return jnp.einsum("gic,gi->gc", modes.vectors, rows.reshape(modes.curvatures.shape))


def _known(modes: Modes | None) -> Modes:
    if modes is None:
        raise ValueError("labels.modes must be given for losses of the prior, got None")
    return modes


def _twin(index):
    """For structures that a batch holds twice: the place of the other one (n_graph,), whether there is
    one, and whether it comes earlier."""
    place = jnp.arange(len(index))
    same = (index[:, None] == index) & (index >= 0) & (place[:, None] != place)
    twin, both_ways = jnp.argmax(same, axis=1), same.any(axis=1)
    return twin, both_ways, both_ways & (twin < place)


def mask_loss(logits, species, hidden, graph: Graph):
    """−log p(z_i) averaged over the hidden atoms of each structure (eq. 7)."""
    scores = jax.nn.log_softmax(logits)
    true = jnp.take_along_axis(scores, jnp.maximum(species - 1, 0)[:, None], axis=1)[:, 0]
    count = sum_over_graphs(hidden.astype(scores.dtype), graph)
    return -sum_over_graphs(jnp.where(hidden, true, 0.0), graph) / jnp.maximum(count, 1)


def _dense(values, local, n_atom: int, graph: Graph):
    """Node values (n_node, 3) as (n_graph, n_atom, 3)."""
    empty = jnp.zeros((len(graph.n_node), n_atom, 3), values.dtype)
    masked = values * graph.nodes.mask[:, None]
    # Padding nodes all belong to a padding graph; adding keeps their zeros harmless.
    return empty.at[graph_of_node(graph), local].add(masked)


def displacements(key, labels: Labels, graph: Graph, config: ObjectiveConfig, n_atom: int):
    """Random displacements δ (n_node, 3) Å; those of a structure depend on its index alone.

    Either Gaussian with standard deviation `noise` on every coordinate, or thermal along some modes of
    the prior, with `temperature`·u³, u from U(0, 1]: most are near the minimum. Some are taken apart too,
    and the fraction `still` stays where it is. Where a batch holds a structure twice, for its curvature,
    it gets SMALL·δ in one place and −SMALL·δ in the other, and does not stay.
    """
    _, both_ways, back = _twin(labels.index)
    still = jnp.where(both_ways, 0.0, config.still)
    scale = jnp.where(both_ways, jnp.where(back, -SMALL, SMALL), 1.0)

    def draw(index, still):
        gauss, size, rest, kind, gate = jax.random.split(jax.random.fold_in(key, index), 5)
        level = 1.0 - jax.random.uniform(size)
        moves = jax.random.uniform(rest) >= still
        return jax.random.normal(gauss, (n_atom, 3)), level, moves, jax.random.uniform(kind), gate

    gauss, level, moves, kind, gate = jax.vmap(draw)(labels.index, still)
    noise = config.noise * (level if config.noise_varies else jnp.ones_like(level))[:, None, None] * gauss
    if labels.modes is not None and config.thermal:
        hot = _thermal(gauss, config.temperature * level**3, gate, labels.modes, config.soft)
        noise = jnp.where((kind < config.thermal)[:, None, None], hot, noise)
    if labels.sides is not None:
        stable = _dense(graph.nodes.positions, labels.local, n_atom, graph)
        for moved in (_taken_apart,) * bool(config.apart) + (_turned,) * bool(config.turned):
            noise += jax.vmap(functools.partial(moved, key, config))(labels.index, stable, labels.sides)
    noise *= (moves * scale)[:, None, None]
    return noise[graph_of_node(graph), labels.local] * graph.nodes.mask[:, None]


def _thermal(gauss, temperature, gate, modes: Modes, soft: float):
    """Σ_c v_c √(T/(Λ_c + soft)) ξ_c over some of the modes, without rigid motions."""
    spread = jnp.sqrt(temperature[:, None] / (modes.curvatures + soft)) * modes.real
    spread *= jax.vmap(_some_modes)(gate, modes.curvatures)
    amplitudes = spread * gauss.reshape(spread.shape)
    return jnp.einsum("gic,gc->gi", modes.vectors, amplitudes).reshape(gauss.shape)


def _taken_apart(key, config: ObjectiveConfig, index, stable, sides: Sides):
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


def _turned(key, config: ObjectiveConfig, index, stable, sides: Sides):
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


def losses(
    potential, params, graph: Graph, labels: Labels, config: ObjectiveConfig, *, n_atom: int, key
) -> dict[str, Any]:
    """Every loss of the objective that has a weight, unweighted: {name: (n_graph,)}.

    Args:
        potential: a Potential.
        params: its parameters.
        graph: stable structures, padded.
        labels: their labels; `prior` and `modes` where the config uses them.
        config: weights and displacements.
        n_atom: atoms of the largest structure of the data set.
        key: of this step; one key gives one set of displacements and hidden atoms.
    """
    displace_key, hide_key = jax.random.split(key)
    found = {}
    if config.zero_force or config.forces:
        energy, forces = energy_and_forces(potential)(params, graph)
        if config.zero_force:
            found["zero_force"] = force_loss(forces, jnp.zeros_like(forces), graph)
        if config.forces:
            found["forces"] = force_loss(forces, labels.forces, graph)
    else:
        energy = potential.energy(params, graph)
    found["energy"] = energy_loss(energy, labels.energy, graph)
    if config.displaces or config.diatomics:
        found |= _losses_elsewhere(potential, params, graph, energy, labels, config, n_atom, displace_key)
    if config.auxiliary and "auxiliary" in potential.heads:
        columns, estimates = potential.config.auxiliary_elements, potential.head("auxiliary")(params, graph)
        found["auxiliary"] = auxiliary_loss(estimates, columns, labels.scale, graph)
    if config.mask:
        draw = jax.vmap(lambda index: jax.random.uniform(jax.random.fold_in(hide_key, index), (n_atom,)))
        hidden = draw(labels.index)[graph_of_node(graph), labels.local] < config.mask_rate
        hidden = hidden & graph.nodes.mask
        logits = potential.head("element_logits")(params, hide_atoms(graph, hidden))
        found["mask"] = mask_loss(logits, graph.nodes.species, hidden, graph)
    return found


def _losses_elsewhere(potential, params, graph, energy, labels, config, n_atom, key) -> dict[str, Any]:
    """Losses at displaced positions and of two atoms alone.

    All forces come from one gradient, over one graph: a second one takes as long to compile again.
    """
    pair_key = jax.random.fold_in(key, 2**31 - 1)  # beyond all structures, by which the rest is drawn
    stable = graph.nodes.positions
    pairs = draw_diatomics(potential, labels.index, pair_key) if config.diatomics else None
    displaced = graph
    if config.displaces:
        displaced = with_positions(graph, stable + displacements(key, labels, graph, config, n_atom))
    found = {}
    if config.uses_prior:
        joined = displaced if pairs is None else batch([displaced, pairs.graph], xp=jnp)
        energies, forces = energy_and_forces(potential)(params, joined)
        displaced_energy, pair_forces = energies[: len(energy)], forces[len(stable) :]
        found |= _prior_losses(forces[: len(stable)], displaced, stable, labels, config)
    else:
        displaced_energy = potential.energy(params, displaced) if config.bound else energy
        pair_forces = None if pairs is None else energy_and_forces(potential)(params, pairs.graph)[1]
    if config.bound:
        found["bound"] = bound_loss(energy, displaced_energy, graph)
    if config.diatomics:
        loss = jnp.zeros_like(energy) if pairs is None else diatomic_loss(pair_forces, pairs)
        found["diatomics"] = jnp.where(graph.globals.mask, loss, 0.0)
    return found


def _prior_losses(forces, displaced: Graph, stable, labels: Labels, config) -> dict[str, Any]:
    """Restoring forces and curvature, beside the prior's."""
    expected = -jax.grad(prior_energy)(displaced.nodes.positions, stable, labels.prior)
    ours, theirs = (mode_amplitudes(values, labels, displaced) for values in (forces, expected))
    found = {}
    if config.restore:
        found["restore"] = restoring_loss(ours, theirs, labels, config.soft, config.floor)
    if config.curvature:
        twin, both_ways, _ = _twin(labels.index)
        across = restoring_loss(ours - ours[twin], theirs - theirs[twin], labels, config.soft, ROUNDING)
        found["curvature"] = jnp.where(both_ways, across, 0.0)
    return found
