"""What a loss is: its weight and settings, what it needs, and what it may look at."""

import abc
import dataclasses
import enum
import math
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple, TypeVar

import jax
import jax.numpy as jnp

from jphys.diatomics import Drawn
from jphys.fragments import Sides
from jphys.graph import Graph
from jphys.modes import Modes
from jphys.ops import graph_of_node, sum_over_graphs
from jphys.prior import Prior

Known = TypeVar("Known")


class Labels(NamedTuple):
    """What is known about the structures of a graph, apart from the graph."""

    energy: jax.Array  # (n_graph,) eV, relative to the reference energies
    index: jax.Array  # (n_graph,) number in the data set: the seed of its noise
    place: jax.Array  # (n_graph,) number in the batch, over all devices; −1 for padding
    local: jax.Array  # (n_node,) number of the atom within its structure
    forces: jax.Array | None = None  # (n_node, 3) eV/Å
    prior: Prior | None = None
    modes: Modes | None = None  # (n_graph, …)
    sides: Sides | None = None  # (n_graph, …) of the acyclic bonds
    scale: jax.Array | None = None  # (n_graph,) of all distances, relative to the stable ones


class Need(enum.Enum):
    """What a loss asks the evaluator, the data or the model for."""

    FORCES_AT_REST = enum.auto()
    """Forces at the structures as they are, beside their energies."""
    DISPLACED = enum.auto()
    """Energies of displaced structures."""
    FORCES_DISPLACED = enum.auto()
    """Forces there too."""
    BOTH_WAYS = enum.auto()
    """Forces at p ± δ with small δ, of a share of the structures."""
    DIATOMICS = enum.auto()
    """Forces on two atoms alone."""
    STABLE = enum.auto()
    """Of the data: structures that are stable."""
    PRIOR = enum.auto()
    """Of the data: the classical prior around them, which there is for free molecules."""
    FORCE_LABELS = enum.auto()
    """Of the data: labelled forces."""


DISPLACING = frozenset({Need.DISPLACED, Need.FORCES_DISPLACED, Need.BOTH_WAYS})


class Point(NamedTuple):
    """A surface at some positions of the structures, and what the prior says there."""

    graph: Graph
    energy: jax.Array  # (n_graph,) eV
    forces: jax.Array | None = None  # (n_node, 3) eV/Å
    prior_forces: jax.Array | None = None  # (n_node, 3) eV/Å


class Backward(NamedTuple):
    """Some structures at p − δ, those that the displaced ones have at p + δ with small δ."""

    graph: Graph  # of k structures and padding
    forces: jax.Array  # (n_node, 3) eV/Å on them
    local: jax.Array  # (n_node,) number of the atom within its structure
    chosen: jax.Array  # (k,) which of the batch they are; −1 for none
    stands_for: int  # structures of the data that each of them stands for
    prior_forces: jax.Array | None = None  # (n_node of the batch, 3) eV/Å on all structures of the batch


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What the losses of a batch look at; None where no loss needs it."""

    rest: Point
    displaced: Point | None
    backward: Backward | None
    diatomics: tuple[Drawn, jax.Array] | None  # pairs of atoms and the forces (2·n_graph, 3) eV/Å on them
    config: Any  # of the model
    head: Callable[[str, Graph], Any]
    """A head of the model by name, at any graph."""
    uniform: Callable[[], jax.Array]
    """Random numbers (n_node,) from [0, 1), by structure and atom."""


@dataclasses.dataclass(frozen=True)
class Loss(abc.ABC):
    """A term of the objective: `weight` times the mean over the structures of what a call returns.

    Derive from it, with `needs`, `head` and the settings as fields; then make it a field of `Objective`, or
    of a class derived from that.

    Raises:
        ValueError: for a weight that is negative or not finite.
    """

    weight: float = 0.0
    """λ; 0 leaves the loss out."""

    needs: ClassVar[frozenset[Need]] = frozenset()
    head: ClassVar[str | None] = None  # of the model, that it learns

    def __post_init__(self):
        check(self, "finite and not negative", "weight")

    @abc.abstractmethod
    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph) -> jax.Array:
        """The loss of each structure (n_graph,), unweighted; padding counts 0."""


RULES: dict[str, Callable[[float], bool]] = {
    "finite and not negative": lambda value: 0 <= value < math.inf,
    "positive and finite": lambda value: 0 < value < math.inf,
    "from 0 to 1": lambda value: 0 <= value <= 1,
}


def check(config, rule: str, *names: str) -> None:
    """Refuse fields that break a rule of `RULES`.

    Raises:
        ValueError: naming the field, the rule and the value.
    """
    for name in names:
        value = getattr(config, name)
        if not RULES[rule](value):
            raise ValueError(f"{name} must be {rule}, got {value}")


def known(value: Known | None, name: str) -> Known:
    """A label or an evaluation that a loss needs.

    Raises:
        ValueError: where there is none.
    """
    if value is None:
        raise ValueError(f"{name} must be given for losses that need it, got None")
    return value


def mean_over_atoms(values, graph: Graph):
    """Mean of node values (n_node,) over the real atoms of each structure: (n_graph,)."""
    count = sum_over_graphs(graph.nodes.mask.astype(values.dtype), graph)
    return sum_over_graphs(jnp.where(graph.nodes.mask, values, 0.0), graph) / jnp.maximum(count, 1)


def rows_of_structures(values, local, n_atom: int, graph: Graph):
    """Node values (n_node, 3) as (n_graph, n_atom, 3)."""
    empty = jnp.zeros((len(graph.n_node), n_atom, 3), values.dtype)
    masked = values * graph.nodes.mask[:, None]
    # Padding nodes all belong to a padding graph; adding keeps their zeros harmless.
    return empty.at[graph_of_node(graph), local].add(masked)
