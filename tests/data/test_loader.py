"""Plans of batches, static budgets, and batches equal to those that jphys.graph makes."""

import jax
import numpy as np
import pytest
from ase.build import bulk
from hypothesis import given
from hypothesis import strategies as st

from jphys.data.loader import Budget, budget_for, make_dataset, plan_epoch, take_batch
from jphys.data.qm9 import load_small
from jphys.data.structures import Structures, graphs, take
from jphys.graph import batch, pad, validate
from jphys.models import TransformerConfig, make_potential
from jphys.modes import take_modes
from jphys.prior import Prior, make_prior

CONFIG = TransformerConfig(channels=16, blocks=1, heads=4, n_basis=6, cutoff=4.0, bond_mask=True)
SIZES = st.lists(st.integers(1, 30), min_size=1, max_size=40).map(np.array)


@given(SIZES, st.sampled_from([(4, 1), (4, 2), (8, 4), (6, 3)]), st.integers(0, 3))
def test_every_structure_once_per_epoch(sizes, shape, epoch):
    batch_size, n_shards = shape
    plan = plan_epoch(sizes, batch_size, n_shards, 7, epoch)
    assert plan.shape == (-(-len(sizes) // batch_size), n_shards, batch_size // n_shards)
    np.testing.assert_array_equal(np.sort(plan[plan >= 0]), np.arange(len(sizes)))


@given(SIZES, st.integers(0, 3))
def test_a_batch_does_not_depend_on_the_shards(sizes, epoch):
    """Its members and their order: the first shard has the first of them."""
    whole, *plans = [plan_epoch(sizes, 8, n_shards, 7, epoch) for n_shards in (1, 2, 4, 8)]
    for plan in plans:
        np.testing.assert_array_equal(plan.reshape(whole.shape), whole)


def test_every_place_of_a_batch_holds_any_size():
    """Its mean over many batches is that of all structures, to 4 standard errors."""
    sizes = np.random.default_rng(0).integers(5, 24, 4000)
    plan = plan_epoch(sizes, 8, 1, 0, 0)[:, 0]
    means = sizes[plan].mean(axis=0)
    assert np.abs(means - sizes.mean()).max() < 4 * sizes.std() / np.sqrt(len(plan))


def test_epochs_and_seeds_differ_and_repeat():
    sizes = np.arange(40) % 7
    first = plan_epoch(sizes, 8, 1, 0, 0)
    np.testing.assert_array_equal(first, plan_epoch(sizes, 8, 1, 0, 0))
    assert not np.array_equal(first, plan_epoch(sizes, 8, 1, 0, 1))
    assert not np.array_equal(first, plan_epoch(sizes, 8, 1, 1, 0))


def test_batches_and_shards_have_nearly_the_same_size():
    """800 sizes of 5 to 23: no shard of 8 needs 10 % more atoms than the average one."""
    sizes = np.random.default_rng(0).integers(5, 24, 800)
    for n_shards in (1, 4):
        plan = plan_epoch(sizes, 32, n_shards, 0, 0)
        totals = sizes[plan].sum(axis=-1)[(plan >= 0).all(axis=-1)]
        assert totals.max() < 1.1 * totals.mean()


def test_shards_divide_the_batch():
    with pytest.raises(ValueError, match="batch_size must be a multiple of the 4 devices, got 6"):
        plan_epoch(np.ones(10), 6, 4, 0, 0)


@pytest.fixture(scope="module")
def structures():
    small = load_small()
    return take(small, np.linspace(0, 300, 11).astype(int))


@pytest.fixture(scope="module")
def dataset(structures):
    return make_dataset(structures, np.arange(11) / 10, cutoff=4.0, margin=1.0, with_prior=True)


@pytest.mark.parametrize("n_shards", [1, 2])
def test_the_budget_holds_every_shard_and_no_more(structures, dataset, n_shards):
    """Counted by hand from the graphs and priors; one node and one graph more for the padding."""
    plan = np.concatenate([plan_epoch(structures.n_atoms, 4, n_shards, 0, e) for e in range(3)])
    budget = budget_for(dataset, plan)
    made = graphs(structures)
    priors = [make_prior(g.nodes.species, g.nodes.positions) for g in made]

    def most(counts):
        return max(sum(counts[i] for i in shard if i >= 0) for step in plan for shard in step)

    assert budget == Budget(
        n_node=most([len(g.nodes.species) for g in made]) + 1,
        n_edge=most([len(g.senders) for g in made]),
        n_graph=4 // n_shards + 1,
        n_atom=max(structures.n_atoms),
        n_term=tuple(most([len(p[kind].atoms) for p in priors]) for kind in range(len(Prior._fields))),
    )


@pytest.mark.parametrize("chosen", [[3, 9, 0], [7, -1, 2], [-1, -1, 5], [-1, -1, -1]], ids=str)
def test_a_batch_is_what_the_graph_module_makes(structures, dataset, chosen):
    """Arrays, order and padding included; −1 is an empty graph in its place."""
    budget = budget_for(dataset, np.array([[8, 9, 10]]))
    graph, labels = jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.array(chosen))
    validate(graph)
    made = graphs(structures)
    kept = [i for i in chosen if i >= 0]
    mask = np.asarray(graph.globals.mask)
    np.testing.assert_array_equal(mask, [i >= 0 for i in chosen] + [False])
    np.testing.assert_array_equal(labels.index, [*chosen, -1])
    np.testing.assert_allclose(labels.energy, [i / 10 if i >= 0 else 0 for i in chosen] + [0], rtol=1e-6)
    if not kept:
        assert not graph.nodes.mask.any() and not graph.edges.mask.any()
        return
    expected = pad(batch([made[i] for i in kept]), budget.n_node, budget.n_edge, budget.n_graph)
    np.testing.assert_array_equal(graph.n_node[mask], expected.n_node[: len(kept)])
    np.testing.assert_array_equal(graph.n_edge[mask], expected.n_edge[: len(kept)])
    for ours, theirs in zip(graph.nodes, expected.nodes):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    for ours, theirs in zip(
        (*graph.edges, graph.senders, graph.receivers),
        (*expected.edges, expected.senders, expected.receivers),
    ):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(
        labels.local[expected.nodes.mask], np.concatenate([np.arange(made[i].n_node[0]) for i in kept])
    )


def test_energies_of_a_batch_are_those_of_its_members(structures, dataset):
    potential = make_potential(CONFIG)
    made = graphs(structures)
    budget, compute = budget_for(dataset, np.array([[8, 9, 10]])), jax.jit(potential.energy)
    params = jax.jit(potential.init)(jax.random.key(0), made[3])
    graph, _ = jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.array([7, -1, 2]))
    energy = np.asarray(compute(params, graph))
    room = budget.n_node, budget.n_edge, budget.n_graph  # of one compilation
    alone = [float(compute(params, pad(made[i], *room))[0]) for i in (7, 2)]
    np.testing.assert_allclose(energy, [alone[0], 0, alone[1], 0], rtol=1e-4, atol=1e-5)
    assert abs(alone[0] - alone[1]) > 1e-3


def test_prior_terms_and_modes_are_those_of_the_structures(structures, dataset):
    budget = budget_for(dataset, np.array([[8, 9, 10], [7, -1, 2]]))
    graph, labels = jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.array([7, -1, 2]))
    first = np.cumsum(graph.n_node) - graph.n_node
    made = graphs(structures)
    whole = [make_prior(made[i].nodes.species, made[i].nodes.positions) for i in (7, 2)]
    assert labels.prior is not None and labels.modes is not None and dataset.rows.prior is not None
    for kind, terms in enumerate(labels.prior):
        mask = np.asarray(terms.mask)
        atoms = np.concatenate([p[kind].atoms + first[place] for place, p in zip((0, 2), whole)])
        np.testing.assert_array_equal(np.asarray(terms.atoms)[mask], atoms)
        stiffness = np.concatenate([p[kind].stiffness for p in whole])
        np.testing.assert_allclose(np.asarray(terms.stiffness)[mask], stiffness)
        assert not np.asarray(terms.atoms)[~mask].any()
    alone = take_modes(dataset.rows.prior.modes, np.array([7, 2]), labels.modes.vectors.shape[-1])
    for ours, theirs in zip(labels.modes, alone):
        np.testing.assert_array_equal(ours[np.array([0, 2])], theirs)
        assert not np.asarray(ours[3]).any()


def test_forces_and_crystals(rng):
    """Labels of forces follow their atoms; crystals have the edges within cutoff + margin, and their cell."""
    crystals = [
        bulk("Cu", "fcc", a=3.6),
        bulk("NaCl", "rocksalt", a=5.6),
        bulk("Al", "fcc", a=4.0, cubic=True),
    ]
    n_atoms = np.array([len(c) for c in crystals], np.int32)
    structures = Structures(
        name=np.array(["a", "b", "c"]),
        n_atoms=n_atoms,
        species=np.concatenate([c.numbers for c in crystals]).astype(np.int32),
        positions=np.concatenate([c.positions for c in crystals]),
        energy=np.zeros(3),
        forces=rng.normal(size=(n_atoms.sum(), 3)),
        cell=np.array([c.cell.array for c in crystals]),
        n_bonds=np.zeros(3, np.int32),
        bonds=np.zeros((0, 3), np.int32),
    )
    dataset = make_dataset(structures, np.zeros(3), cutoff=3.0, margin=1.0, with_prior=False)
    budget = budget_for(dataset, np.array([[1, 2]]))
    graph, labels = jax.jit(lambda rows: take_batch(dataset, rows, budget))(np.array([2, 0]))
    assert labels.prior is None and labels.modes is None
    assert labels.forces is not None and structures.forces is not None
    np.testing.assert_allclose(np.asarray(labels.forces)[:5], structures.forces[[3, 4, 5, 6, 0]], rtol=1e-6)
    assert not np.asarray(labels.forces)[5:].any()
    np.testing.assert_allclose(graph.globals.cell, [*structures.cell[[2, 0]], np.zeros((3, 3))], rtol=1e-6)
    within = [len(g.senders) for g in graphs(structures, cutoff=3.0 + 1.0)]
    np.testing.assert_array_equal(np.asarray(graph.n_edge)[:2], [within[2], within[0]])
    assert np.isfinite(graph.nodes.positions).all()


@pytest.mark.slow
def test_structures_that_stay_have_no_pairs_beyond_the_cutoff(structures):
    """Counted from the distances; and the energy is that of all pairs."""
    still = make_dataset(structures, np.zeros(11), cutoff=2.5, margin=0.0, with_prior=False)
    ends = np.cumsum(structures.n_atoms)
    for count, atoms in zip(still.rows.stored.edges.counts, np.split(structures.positions, ends[:-1])):
        distances = np.linalg.norm(atoms[:, None] - atoms, axis=-1)
        assert count == np.sum(distances < 2.5) - len(atoms)
    moving = make_dataset(structures, np.zeros(11), cutoff=2.5, margin=1.0, with_prior=False)
    assert np.sum(still.rows.stored.edges.counts) < np.sum(moving.rows.stored.edges.counts)
    potential = make_potential(TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4, cutoff=2.5))
    chosen = np.arange(11)
    graphs_of = [take_batch(data, chosen, budget_for(data, chosen[None]))[0] for data in (still, moving)]
    params = jax.jit(potential.init)(jax.random.key(0), graphs_of[0])
    few, all_of_them = (jax.jit(potential.energy)(params, graph) for graph in graphs_of)
    np.testing.assert_allclose(few, all_of_them, rtol=1e-5, atol=1e-5)
