"""Static-shape batches: the whole data set lies on the device, the host only shuffles indices."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import packing
from jphys.data.structures import Structures, graphs
from jphys.fragments import Sides, make_sides, stack
from jphys.graph import Graph, with_edges
from jphys.modes import Modes, prior_modes
from jphys.objectives import Labels
from jphys.prior import Prior, Terms, make_prior
from jphys.ragged import Ragged, largest_total, make_ragged, take_rows

__all__ = ["Budget", "budget_for"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """Static sizes of one shard; every batch of the run fits, known exactly from its plan."""

    n_node: int
    n_edge: int
    n_graph: int
    n_term: tuple[int, ...] = ()


class Dataset(NamedTuple):
    """Structures on the device."""

    stored: packing.Stored
    forces: Ragged | None  # rows: (3,) eV/Å, labels
    terms: tuple[Ragged, ...] | None  # per field of Prior; rows: atoms (within the structure), stiffness
    modes: Modes | None  # of the prior, per structure
    sides: Sides | None  # of the acyclic bonds, per structure
    energy: jax.Array | np.ndarray  # (m,) eV, relative
    scale: jax.Array | None  # (m,) relative to the stable distances


def make_dataset(
    structures: Structures,
    energy,
    *,
    cutoff: float,
    margin: float,
    with_prior: bool,
    felt_edges: Callable[[Graph], np.ndarray] | None = None,
    scale=None,
) -> Dataset:
    """Lay out the structures for `take_batch`.

    Args:
        structures: the data.
        energy: (m,) eV relative to the reference energies.
        cutoff: Å of the model.
        margin: Å by which atoms may come closer; crystals get the pairs within cutoff + margin. Where it is
            not 0, molecules get all pairs.
        with_prior: also build the classical prior's terms; for stable molecules only.
        felt_edges: `Potential.felt_edges`; the other edges are left out.
        scale: (m,) relative to the stable distances, where known.

    Raises:
        ValueError: for structures none of whose edges the model feels, and as `jphys.data.structures.graphs`.
    """
    made = graphs(structures, cutoff=cutoff + margin, all_pairs=margin > 0)
    if felt_edges is not None:
        made = [with_edges(graph, felt_edges(graph)) for graph in made]
        if structures.n_atoms.max() > 1 and not any(len(graph.senders) for graph in made):
            raise ValueError(
                "structures must have bonds of the model's bond_types, got none that any atom feels"
            )
    stored, forces, terms, modes, sides = packing.store(made), None, None, None, None
    if structures.forces is not None:
        forces = make_ragged(np.split(structures.forces, np.cumsum(structures.n_atoms)[:-1]))
    if with_prior:
        priors = [make_prior(g.nodes.species, g.nodes.positions) for g in made]
        terms = tuple(
            make_ragged([(p[kind].atoms, p[kind].stiffness) for p in priors])
            for kind in range(len(Prior._fields))
        )
        modes = prior_modes(stored.nodes, terms)
        apart = [make_sides(g.nodes.species, g.nodes.positions) for g in made]
        sides = jax.tree.map(jnp.asarray, stack(apart, int(structures.n_atoms.max())))
    known = None if scale is None else jnp.asarray(scale, jnp.float32)
    return Dataset(stored, forces, terms, modes, sides, jnp.asarray(energy, jnp.float32), known)


def plan_epoch(
    sizes: np.ndarray, batch_size: int, n_shards: int, seed: int, epoch: int, *, twice: int = 0
) -> np.ndarray:
    """Shuffled batches that hold every structure once: (n_batch, n_shards, batch_size/n_shards).

    Structures are sorted by size with ties in random order and cut into strata, one for each member of a
    batch; each batch draws one structure from every stratum. All batches then have nearly the same number
    of atoms, so that static shapes waste little. The members of a batch do not depend on `n_shards`. −1
    fills up.

    Args:
        sizes: (m,) atoms.
        batch_size: places of a batch.
        n_shards: equal parts of a batch.
        seed, epoch: of the shuffling.
        twice: members of every batch, drawn at random, that take two places of one shard.

    Raises:
        ValueError: if n_shards does not divide batch_size, or the shards have no room for twice as many.
    """
    if batch_size % n_shards:
        raise ValueError(f"batch_size must be a multiple of the {n_shards} devices, got {batch_size}")
    places = _places(batch_size, n_shards, twice)
    members = batch_size - twice
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(sizes))
    order = order[np.argsort(sizes[order], kind="stable")]
    n_batch = -(-len(sizes) // members)
    plan = np.full((n_batch, members), -1, np.int32)
    for column, stratum in enumerate(np.array_split(order, members)):
        rows = rng.permutation(n_batch)[: len(stratum)]
        plan[rows, column] = rng.permutation(stratum)
    if twice:  # those that come twice to the front, the rest in the order of their sizes
        chosen = np.argsort(rng.random(plan.shape), axis=1)[:, :twice]
        first = np.ones(plan.shape, bool)
        np.put_along_axis(first, chosen, False, axis=1)
        plan = np.take_along_axis(plan, np.argsort(first, axis=1, kind="stable"), axis=1)
    return plan[:, places]


def _places(batch_size: int, n_shards: int, twice: int) -> np.ndarray:
    """Which member takes which place (n_shards, batch_size/n_shards); the first `twice` take two.

    Neighbouring members go to different shards, and the direction alternates: equal shards.
    """
    room = batch_size // n_shards
    if 2 * -(-twice // n_shards) > room:
        raise ValueError(
            f"batch_size must have room for {twice} structures twice, got {batch_size} on {n_shards} devices"
        )
    shards: list[list[int]] = [[] for _ in range(n_shards)]
    for member in range(twice):
        shards[member % n_shards] += [member, member]
    member = twice
    while member < batch_size - twice:
        open_shards = [shard for shard in shards if len(shard) < room]
        for shard in open_shards[: batch_size - twice - member]:
            shard.append(member)
            member += 1
        shards.reverse()
    return np.array(shards)


def budget_for(dataset: Dataset, batches: np.ndarray) -> Budget:
    """Smallest static sizes that hold every shard of the given batches (…, k), and the padding graph."""
    n_term = ()
    if dataset.terms is not None:
        n_term = tuple(max(largest_total(np.asarray(t.counts), batches), 1) for t in dataset.terms)
    return Budget(
        n_node=largest_total(np.asarray(dataset.stored.nodes.counts), batches) + 1,
        n_edge=max(largest_total(np.asarray(dataset.stored.edges.counts), batches), 1),
        n_graph=batches.shape[-1] + 1,
        n_term=n_term,
    )


def take_batch(dataset: Dataset, chosen, budget: Budget) -> tuple[Graph, Labels]:
    """One padded batch of the structures `chosen` (k,), −1 for none. Runs under jit."""
    packed = packing.pack(dataset.stored, chosen, packing.Budget(budget.n_node, budget.n_edge))
    forces = terms = None
    if dataset.forces is not None:
        rows = take_rows(dataset.forces, chosen, budget.n_node)
        forces = rows.rows * rows.mask[:, None]
    if dataset.terms is not None:
        terms = _take_prior(dataset.terms, chosen, packed.first, budget)
    modes, sides = jax.tree.map(lambda rows: _pad_row(rows[chosen]), (dataset.modes, dataset.sides))
    labels = Labels(
        energy=_pad_row(jnp.where(chosen >= 0, dataset.energy[chosen], 0.0)),
        index=jnp.append(chosen, -1),
        local=packed.local,
        forces=forces,
        prior=terms,
        modes=modes,
        sides=sides,
        scale=None if dataset.scale is None else _pad_row(dataset.scale[chosen]),
    )
    return packed.graph, labels


def _pad_row(array):
    return jnp.concatenate([array, jnp.zeros((1, *array.shape[1:]), array.dtype)])


def _take_prior(terms: tuple[Ragged, ...], chosen, first, budget: Budget) -> Prior:
    def take(ragged, slots) -> Terms:
        taken = take_rows(ragged, chosen, slots)
        atoms, stiffness = taken.rows
        return Terms((atoms + first[taken.owner][:, None]) * taken.mask[:, None], stiffness, taken.mask)

    return Prior(*(take(ragged, slots) for ragged, slots in zip(terms, budget.n_term)))
