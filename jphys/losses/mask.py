"""Masked-atom modelling (eq. 7)."""

import dataclasses

import jax
import jax.numpy as jnp

from jphys.graph import Graph, hide_atoms
from jphys.losses.base import Evaluation, Labels, Loss, check
from jphys.ops import sum_over_graphs


@dataclasses.dataclass(frozen=True)
class MaskLoss(Loss):
    """−log p(z_i) averaged over the hidden atoms of each structure (eq. 7), by the model's logits."""

    rate: float = 0.3
    """ρ, the probability that an atom is hidden."""

    head = "element_logits"

    def __post_init__(self):
        super().__post_init__()
        check(self, "from 0 to 1", "rate")

    def __call__(self, evaluation: Evaluation, labels: Labels, graph: Graph):
        hidden = (evaluation.uniform() < self.rate) & graph.nodes.mask
        logits = evaluation.head("element_logits", hide_atoms(graph, hidden))
        return cross_entropy(logits, graph.nodes.species, hidden, graph)


def cross_entropy(logits, species, hidden, graph: Graph):
    """−log p(z_i) averaged over the hidden atoms (n_node,) bool of each structure: (n_graph,)."""
    scores = jax.nn.log_softmax(logits)
    true = jnp.take_along_axis(scores, jnp.maximum(species - 1, 0)[:, None], axis=1)[:, 0]
    count = sum_over_graphs(hidden.astype(scores.dtype), graph)
    return -sum_over_graphs(jnp.where(hidden, true, 0.0), graph) / jnp.maximum(count, 1)
