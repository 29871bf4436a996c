"""Batches of small molecules, for tests of losses, and the smallest training."""

import dataclasses

import jax
import numpy as np

import jphys
from jphys.data.loader import budget_for, make_dataset, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.losses import ENERGY_ONLY

N_ATOM = 8

CONFIG = jphys.TrainConfig(
    epochs=2,
    batch_size=16,
    validate_every=1,
    model=jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4),
    losses=ENERGY_ONLY,
)


def small_dataset(cutoff):
    """Eight of the smallest molecules, CO2-like straight ones among them."""
    small = load_small()
    chosen = take(small, np.flatnonzero(small.n_atoms <= N_ATOM)[:8])
    return make_dataset(chosen, np.linspace(-1, 1, 8), cutoff=cutoff, margin=1.0, with_prior=True)


def batch_of(dataset, chosen, room=4):
    budget = budget_for(dataset, np.arange(8)[None])
    budget = dataclasses.replace(budget, n_node=budget.n_node + room, n_graph=len(chosen) + 1)
    return jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.asarray(chosen))


def of_each(graph):
    """Node numbers of every graph of a batch, padding left out."""
    owner = np.repeat(np.arange(len(graph.n_node)), graph.n_node)
    return [np.flatnonzero((owner == g) & np.asarray(graph.nodes.mask)) for g in range(len(graph.n_node))]
