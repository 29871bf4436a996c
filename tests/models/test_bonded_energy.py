"""Angle and torsion energies against loops over all chains, and where bonds switch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule

from jphys import ops
from jphys.graph import batch, from_ase, make_graph, pad, with_positions
from jphys.models import TransformerConfig, make_potential
from jphys.models import bonded_energy as bonded
from jphys.models.bonded_terms import BondedTerms, find_bonds

CHANNELS, WIDTH = 4, 8
MODULE = BondedTerms(("angle", "torsion"), CHANNELS)
pytestmark = pytest.mark.usefixtures("x64")


@pytest.fixture
def params(x64):
    graph, rng = from_ase(molecule("H2O")), np.random.default_rng(0)
    start = jax.jit(MODULE.init)(jax.random.key(0), np.zeros((3, WIDTH)), graph)["params"]
    return jax.tree.map(lambda leaf: np.asarray(leaf, float) + 0.4 * rng.normal(size=leaf.shape), start)


@jax.jit
def energies(params, x, graph):
    return MODULE.apply({"params": params}, x, graph)


def dense(params, x):
    return x @ params["kernel"] + params["bias"]


@jax.jit
def seen(params, x, graph):
    """Parameters of the angles, edge vectors and the switch of every edge."""
    vectors, species = ops.edge_vectors(graph), jnp.asarray(graph.nodes.species)
    ends = species[graph.receivers], species[graph.senders]
    switch = bonded.bond_switch(jnp.linalg.norm(vectors, axis=1), *ends)
    return MODULE.apply({"params": params}, x, method="angle_parameters"), vectors, switch


def by_loops(params, x, graph) -> float:
    """Σ over all triplets and chains of the formulas of the module, with arctan2 and complex numbers."""
    bends, vectors, switch = jax.tree.map(np.asarray, seen(params, x, graph))
    turns = params["torsion"]
    weight, half = dense(turns["outer"], x), dense(turns["middle"], x)
    lengths, to, of = np.linalg.norm(vectors, axis=1), graph.receivers, graph.senders
    bonds = np.flatnonzero((switch > 0) & graph.edges.mask)
    units, total = vectors / np.maximum(lengths, 1e-9)[:, None], 0.0
    for a in bonds:
        for b in bonds[(bonds < a) & (to[bonds] == to[a])]:
            weights = bends.stiffness[to[a]] * bends.weight[of[a]] * bends.weight[of[b]]
            cosines = units[a] @ units[b] - bends.cosine[to[a]]
            total += switch[a] * switch[b] * np.sum(weights * cosines**2)
    for middle in bonds:
        j, k, axis = to[middle], of[middle], units[middle]
        bond = half[j] + half[k]
        strengths = dense(turns["strength"], bond / (1.0 + np.exp(-bond))).reshape(3, CHANNELS)
        z = np.zeros(3, complex)
        for a in bonds[to[bonds] == j]:
            for b in bonds[to[bonds] == k]:
                first, second = (unit - unit @ axis * axis for unit in (units[a], units[b]))
                sines = np.linalg.norm(first) * np.linalg.norm(second)
                angle = np.arctan2(axis @ np.cross(second, first), first @ second)
                each = switch[a] * switch[b] * weight[of[a]] * weight[of[b]]
                for n in (1, 2, 3):
                    z[n - 1] += strengths[n - 1] @ each * sines**n * np.exp(1j * n * angle)
        size = np.sqrt(abs(z) ** 2 + bonded.SMALL**2) - bonded.SMALL
        total += 0.5 * switch[middle] * np.sum(np.real(z) + size)  # either direction of a bond
    return total


@pytest.mark.parametrize("name", ["CH3CH2OH", "C6H6", "cyclobutane", "bicyclobutane", "C2H2", "SiH4"])
def test_sums_over_chains_of_molecules(name, params, rng):
    atoms = molecule(name)
    graph = with_positions(from_ase(atoms), atoms.positions + 0.05 * rng.normal(size=atoms.positions.shape))
    graph, x = pad(graph, 14, 140, 2), rng.normal(size=(14, WIDTH))  # one compilation for all
    np.testing.assert_allclose(energies(params, x, graph).sum(), by_loops(params, x, graph), rtol=1e-9)


@pytest.mark.parametrize(("species", "half"), [((6, 6), 1.78), ((14, 6), 2.18)])
def test_sums_over_chains_of_a_cell_smaller_than_the_cutoff(species, half, params, rng):
    cell = half * (1.0 - np.eye(3))
    graph = make_graph(species, half * np.array([[0, 0, 0], [0.54, 0.48, 0.5]]), cell=cell, cutoff=5.0)
    x = rng.normal(size=(2, WIDTH))
    assert len(graph.senders) > 40
    np.testing.assert_allclose(energies(params, x, graph).sum(), by_loops(params, x, graph), rtol=1e-9)


def test_bonds_of_two_metals_have_no_direction(params, rng):
    graph = make_graph([29], [[0.0, 0, 0]], cell=1.8 * (1.0 - np.eye(3)), cutoff=4.0)
    assert not np.any(energies(params, rng.normal(size=(1, WIDTH)), graph))


def test_batched_and_padded_as_alone(params, rng):
    graphs = [from_ase(molecule(name)) for name in ("CH3CH2OH", "C6H6", "H2O")]
    x = [rng.normal(size=(len(graph.nodes.species), WIDTH)) for graph in graphs]
    joined = pad(batch(graphs), 30, 300, 4)
    together = np.asarray(energies(params, np.concatenate([*x, np.ones((6, WIDTH))]), joined))
    alone = np.concatenate([energies(params, one, graph) for one, graph in zip(x, graphs)])
    np.testing.assert_allclose(together[:24], alone, atol=1e-12)
    assert not together[24:].any()


def test_the_bonds_found_are_those_of_the_switch():
    graph = from_ase(molecule("CH3CH2OCH3"))

    @jax.jit
    def look(graph):
        both, one_way, crowded = find_bonds(graph)
        return both.switch, one_way.switch, both.ends[0], crowded

    both, one_way, receivers, crowded = map(np.asarray, look(graph))
    assert len(both) < len(graph.senders)
    assert (int((both > 0).sum()), int((one_way > 0).sum())) == (22, 11)
    assert not np.any(crowded) and np.all(np.diff(receivers) >= 0)


def test_a_structure_with_too_many_bonds_is_nan_and_leaves_others_alone(params, rng):
    crowd = make_graph([6] * 8, 0.45 * rng.normal(size=(8, 3)) + np.eye(8, 3))
    other = from_ase(molecule("CH3CH2OH"))
    joined = pad(batch([crowd, crowd, other]), 26, 200, 4)
    x = rng.normal(size=(26, WIDTH))
    found = energies(params, x, joined)
    alone = energies(params, x[16:25], other)
    slopes = jax.jit(jax.grad(lambda at: energies(params, x, with_positions(joined, at))[:8].sum()))
    assert np.isnan(found[:16]).all() and np.isnan(slopes(joined.nodes.positions)[:8]).all()
    np.testing.assert_allclose(found[16:25], alone, atol=1e-12)


def test_the_switch_is_smooth_and_ends():
    lengths, carbon = np.linspace(0.3, 2.4, 4001), np.full(4001, 6)
    switch = np.asarray(jax.jit(bonded.bond_switch)(lengths, carbon, carbon))
    radius = 1.52
    assert switch[np.abs(lengths - radius).argmin()] == 1.0
    assert switch[lengths > 1.4 * radius].max() == 0.0 == switch[lengths < 0.5 * radius].max()
    second = np.diff(switch, 2) / (lengths[1] - lengths[0]) ** 2
    assert np.abs(np.diff(second)).max() < 0.02 * np.abs(second).max()  # no jump


def test_forces_are_continuous_where_a_bond_breaks(params, rng):
    ethane, x = from_ase(molecule("C2H6")), rng.normal(size=(8, WIDTH))
    axis = ethane.nodes.positions[1] - ethane.nodes.positions[0]
    axis = axis / np.linalg.norm(axis)
    side = np.isin(np.arange(8), [1, 5, 6, 7])[:, None]

    def energy(stretch):
        return energies(
            params, x, with_positions(ethane, ethane.nodes.positions + stretch * side * axis)
        ).sum()

    grid = np.linspace(0.15, 0.65, 401)
    curvature = jax.jit(jax.vmap(jax.jacfwd(jax.grad(energy))))(grid)
    assert np.isfinite(curvature).all()
    assert np.abs(np.diff(curvature)).max() < 0.05 * np.abs(curvature).max()  # C²


@pytest.mark.parametrize("positions", ["in line", "on one spot", "two on one spot"])
def test_finite_where_atoms_are_in_line_or_coincide(positions, params, rng):
    species = [1, 6, 6, 1]
    places = np.array([[-1.06, 0, 0], [0, 0, 0], [1.2, 0, 0], [2.26, 0, 0]])
    if positions == "on one spot":
        places = np.zeros((4, 3))
    elif positions == "two on one spot":
        places[3] = places[2]
    graph, x = make_graph(species, places), rng.normal(size=(4, WIDTH))

    def energy(places):
        return energies(params, x, with_positions(graph, places)).sum()

    assert np.isfinite(jax.jit(jax.hessian(energy))(jnp.asarray(places))).all()


def test_parameters_are_those_of_the_energy(params, rng):
    """Ethane turned rigidly about C–C: the cosines that the parameters tell, and nothing else."""
    atoms = molecule("C2H6")
    graph, x = from_ase(atoms), rng.normal(size=(8, WIDTH))
    module = BondedTerms(("torsion",), CHANNELS)
    turning = {"params": {"torsion": params["torsion"]}}
    edge = int(np.flatnonzero((graph.receivers == 0) & (graph.senders == 1))[0])
    tell = jax.jit(lambda graph: module.apply(turning, x, graph, method="torsion_parameters"))
    total = jax.jit(lambda graph: jnp.sum(jnp.asarray(module.apply(turning, x, graph))))
    start = tell(graph)
    axis = atoms.positions[1] - atoms.positions[0]
    for degrees in (25.0, 75.0, 140.0):
        turned = atoms.copy()
        side = turned[[1, 5, 6, 7]]
        side.rotate(degrees, axis, center=atoms.positions[1])
        turned.positions[[1, 5, 6, 7]] = side.positions
        after = tell(from_ase(turned))
        np.testing.assert_allclose(after.barrier[edge], start.barrier[edge], rtol=1e-6)
        change = np.exp(1j * (after.phase[edge] - start.phase[edge]))
        expected = np.exp(1j * np.deg2rad(degrees) * np.array([1, 2, 3]))
        for n in range(3):
            assert min(abs(change[n] - expected[n]), abs(change[n] - np.conj(expected[n]))) < 1e-6
        rise = float(total(from_ase(turned)) - total(graph))
        cosines = 0.5 * start.barrier[edge] * (np.cos(after.phase[edge]) - np.cos(start.phase[edge]))
        np.testing.assert_allclose(rise, cosines.sum(), atol=1e-6)


def test_a_potential_reads_its_parameters_out():
    config = TransformerConfig(channels=8, heads=2, blocks=1, n_basis=4, terms=("angle", "torsion"))
    potential, graph = make_potential(config), from_ase(molecule("CH3OH"))
    params = jax.jit(potential.init)(jax.random.key(0), graph)
    bends = jax.jit(potential.head("angle_parameters"))(params, graph)
    turns = jax.jit(potential.head("torsion_parameters"))(params, graph)
    assert bends.stiffness.shape == (6, 8) and turns.barrier.shape == (30, 3)
    bonded_pair = (graph.receivers == 0) & (graph.senders == 1)
    assert float(turns.barrier[bonded_pair].max()) > 0
    paper = make_potential(TransformerConfig(channels=8, heads=2, blocks=1, n_basis=4))
    assert not {"angle_parameters", "torsion_parameters"} & set(paper.heads)
    assert "bonded" not in jax.eval_shape(paper.init, jax.random.key(0), graph)


def test_terms_are_named():
    with pytest.raises(ValueError, match="terms must be angle, torsion, both or none, got bond"):
        TransformerConfig(terms=("bond",))  # pyright: ignore[reportArgumentType]
