"""Static-shape batches: the whole data set lies on the device, the host only shuffles indices."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import packing
from jphys.data.rows import Layout, Rows, lay_out
from jphys.data.structures import Structures
from jphys.graph import Graph
from jphys.losses.base import Labels
from jphys.modes import take_modes
from jphys.prior import Prior, Terms
from jphys.ragged import Ragged, gather_rows, largest_total, take_rows

__all__ = ["Budget", "budget_for"]


@dataclasses.dataclass(frozen=True)
class Budget:
    """Static sizes of one shard; every batch of the run fits, known exactly from its plan."""

    n_node: int
    n_edge: int
    n_graph: int
    n_atom: int  # of the largest structure of the data set
    n_term: tuple[int, ...] = ()


class Dataset(NamedTuple):
    """Structures, on the host or on the device."""

    rows: Rows
    energy: jax.Array | np.ndarray  # (m,) eV, relative
    scale: jax.Array | np.ndarray | None  # (m,) relative to the stable distances


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
    """Lay out the structures for `take_batch`. Host side.

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
    layout = Layout(cutoff, margin, with_prior, int(structures.n_atoms.max()), felt_edges)
    rows = lay_out(structures, layout)
    if felt_edges is not None and layout.n_atom > 1 and not np.any(rows.stored.edges.counts):
        raise ValueError("structures must have bonds of the model's bond_types, got none that any atom feels")
    known = None if scale is None else np.asarray(scale, np.float32)
    return Dataset(rows, np.asarray(energy, np.float32), known)


def plan_epoch(sizes: np.ndarray, batch_size: int, n_shards: int, seed: int, epoch: int) -> np.ndarray:
    """Shuffled batches that hold every structure once: (n_batch, n_shards, batch_size/n_shards).

    Structures are sorted by size with ties in random order and cut into strata, one for each member of a
    batch; each batch draws one structure from every stratum. All batches then have nearly the same number
    of atoms, so that static shapes waste little. The members of a batch and their order do not depend on
    `n_shards`. −1 fills up.

    Args:
        sizes: (m,) atoms.
        batch_size: places of a batch.
        n_shards: equal parts of a batch.
        seed, epoch: of the shuffling.

    Raises:
        ValueError: if n_shards does not divide batch_size.
    """
    if batch_size % n_shards:
        raise ValueError(f"batch_size must be a multiple of the {n_shards} devices, got {batch_size}")
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(len(sizes))
    order = order[np.argsort(sizes[order], kind="stable")]
    n_batch = -(-len(sizes) // batch_size)
    plan = np.full((n_batch, batch_size), -1, np.int32)
    for column, stratum in enumerate(np.array_split(order, batch_size)):
        rows = rng.permutation(n_batch)[: len(stratum)]
        plan[rows, column] = rng.permutation(stratum)
    # The largest stratum beside the smallest and so on, the pairs and their two in random order: a shard is a
    # run of pairs, of one size, and any place may hold any size.
    half = batch_size // 2
    pairs = np.stack([plan[:, :half], plan[:, : -half - 1 : -1]], axis=-1)
    order = np.argsort(rng.random((n_batch, half, 1)), axis=1)
    pairs = np.take_along_axis(rng.permuted(pairs, axis=-1), order, axis=1)
    plan = np.concatenate([pairs.reshape(n_batch, -1), plan[:, half : batch_size - half]], axis=1)
    return plan.reshape(n_batch, n_shards, -1)


def budget_for(dataset: Dataset, batches: np.ndarray) -> Budget:
    """Smallest static sizes that hold every shard of the given batches (…, k), and the padding graph."""
    n_term = ()
    if dataset.rows.prior is not None:
        n_term = tuple(max(largest_total(np.asarray(t.counts), batches), 1) for t in dataset.rows.prior.terms)
    return Budget(
        n_node=largest_total(np.asarray(dataset.rows.stored.nodes.counts), batches) + 1,
        n_edge=max(largest_total(np.asarray(dataset.rows.stored.edges.counts), batches), 1),
        n_graph=batches.shape[-1] + 1,
        n_atom=int(np.max(dataset.rows.stored.nodes.counts)),
        n_term=n_term,
    )


def rooms(dataset: Dataset, batches: np.ndarray) -> Any:
    """Rows that the largest shard of the given batches (…, k) needs: a number per Ragged of the data set."""
    return jax.tree.map(
        lambda part: largest_total(np.asarray(part.counts), batches) if isinstance(part, Ragged) else 0,
        dataset,
        is_leaf=lambda part: isinstance(part, Ragged),
    )


def gather(dataset: Dataset, chosen: np.ndarray, room: Any) -> Dataset:
    """A data set of the structures `chosen` (k,) alone, −1 for an empty one. Host side.

    Args:
        dataset: on the host, or on its disk.
        chosen: structure numbers.
        room: rows, by `rooms`.
    """

    def members(part, size):
        if isinstance(part, Ragged):
            return gather_rows(part, chosen, size)
        return np.concatenate([part[number : number + 1] for number in np.maximum(chosen, 0)])

    return jax.tree.map(members, dataset, room, is_leaf=lambda part: isinstance(part, Ragged))


def take_batch(dataset: Dataset, chosen, budget: Budget) -> tuple[Graph, Labels]:
    """One padded batch of the structures `chosen` (k,), −1 for none. Runs under jit."""
    dataset = jax.tree.map(jnp.asarray, dataset)
    packed = packing.pack(dataset.rows.stored, chosen, packing.Budget(budget.n_node, budget.n_edge))
    forces = terms = modes = sides = None
    if dataset.rows.forces is not None:
        rows = take_rows(dataset.rows.forces, chosen, budget.n_node)
        forces = rows.rows * rows.mask[:, None]
    places = jnp.append(chosen, -1)
    if dataset.rows.prior is not None:
        terms = _take_prior(dataset.rows.prior.terms, chosen, packed.first, budget)
        modes = take_modes(dataset.rows.prior.modes, places, 3 * budget.n_atom)
        sides = jax.tree.map(lambda rows: _pad_row(rows[chosen]), dataset.rows.prior.sides)
    labels = Labels(
        energy=_pad_row(jnp.where(chosen >= 0, dataset.energy[chosen], 0.0)),
        index=places,
        place=jnp.append(jnp.arange(len(chosen)), -1),
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


def _where(flags, rows):
    return jnp.where(flags.reshape(flags.shape + (1,) * (rows.ndim - 1)), rows, 0.0)


def _take_prior(terms: tuple[Ragged, ...], chosen, first, budget: Budget) -> Prior:
    def take(ragged, slots) -> Terms:
        taken = take_rows(ragged, chosen, slots)
        atoms, stiffness = taken.rows
        atoms = (atoms + first[taken.owner][:, None]) * taken.mask[:, None]
        return Terms(atoms, _where(taken.mask, stiffness), taken.mask)

    return Prior(*(take(ragged, slots) for ragged, slots in zip(terms, budget.n_term)))
