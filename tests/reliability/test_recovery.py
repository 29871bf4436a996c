"""Recovery on surfaces whose answer is known: springs, nothing at all, repulsion, and MMFF94 of RDKit."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys import ops
from jphys.graph import make_graph
from jphys.reliability.recovery import CAP, load_recovery, recovery, save_recovery, select, summary, table
from jphys.reliability.surface import perturb
from jphys.units import KCAL_PER_MOL

METHANE = np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]]) * 0.63
WATER = np.array([[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])
# The stable length in Å of each pair of elements in the two molecules, for springs that know no graph.
LENGTHS = {(1, 6): 0.63 * 3**0.5, (1, 8): np.hypot(0.763, 0.596)}
H_H = {6: 0.63 * 8**0.5, 8: 1.526}
STIFFNESS = 20.0


def molecules(copies=1):
    water = make_graph([8, 1, 1], WATER.astype(np.float32))
    methane = make_graph([6, 1, 1, 1, 1], METHANE.astype(np.float32))
    return [water, methane] * copies


def springs(params, graph):
    """½k(r − r₀)² per pair, minimum 0 at the molecules above."""
    z = graph.nodes.species
    low, high = (f(z[graph.senders], z[graph.receivers]) for f in (jnp.minimum, jnp.maximum))
    heavy = jnp.max(jnp.where(ops.graph_of_node(graph) == jnp.arange(len(graph.n_node))[:, None], z, 0), 1)
    stable = jnp.where(heavy[ops.graph_of_edge(graph)] == 6, H_H[6], H_H[8])
    for pair, length in LENGTHS.items():
        stable = jnp.where((low == pair[0]) & (high == pair[1]), length, stable)
    stretch = ops.edge_distances(graph) - stable
    values = jnp.where(graph.edges.mask, 0.25 * STIFFNESS * stretch**2, 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(values, graph), graph)


def flat(params, graph):
    return ops.sum_over_graphs(0.0 * graph.nodes.positions[:, 0], graph)


def repulsive(params, graph):
    """Pushes apart without end."""
    values = jnp.where(graph.edges.mask, -50.0 * ops.edge_distances(graph), 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(values, graph), graph)


class TestSprings:
    @pytest.fixture(scope="class")
    def result(self):
        return recovery(springs, None, molecules(10), sigmas=(0.0, 0.05), key=jax.random.key(0))

    def test_everything_comes_back(self, result):
        assert (result.status == "converged").all() and not result.failed.any()
        assert result.distance[0].max() < 1e-3
        assert result.distance[1, 1].max() < 0.005  # fmax 0.01 over a stiffness of 20
        assert result.energy_gap.max() < 1e-3

    def test_looser_threshold_stops_earlier(self, result):
        assert (result.n_steps[1, 0] < result.n_steps[1, 1]).any()
        assert (result.n_steps[1, 0] <= result.n_steps[1, 1]).all()
        assert result.distance[1, 0].mean() > result.distance[1, 1].mean()

    def test_rise_of_springs(self):
        """To second order ⟨rise⟩ = Σ_pairs ½k·⟨(u·(δ_i − δ_j))²⟩ = n_pairs·k·σ²."""
        sigma, graphs = 0.01, molecules(200)
        found = recovery(springs, None, graphs, sigmas=(sigma,), max_steps=0, key=jax.random.key(1))
        for index, n_pairs in ((0, 3), (1, 10)):
            rises = found.rise[0, index::2]
            error = 4 * rises.std() / np.sqrt(len(rises))
            assert rises.mean() == pytest.approx(n_pairs * STIFFNESS * sigma**2, abs=error)

    def test_report(self, result):
        report = json.loads(json.dumps(summary(result), allow_nan=False))
        assert report["n"] == 20 and [row["fmax"] for row in report["rows"]] == [0.05, 0.01] * 2
        last = report["rows"][-1]
        assert last["recovered"] == 1.0 and last["n_failed"] == 0
        assert last["status"] == {"converged": 20, "max_steps": 0, "nonfinite": 0}
        assert last["distance"]["mean"] == pytest.approx(result.distance[1, 1].mean())
        assert len(table(result).splitlines()) == 2 + 4 + 1


def test_on_a_flat_surface_the_noise_remains():
    """3n − 6 of the 3n directions of the noise survive the alignment: rms² = σ²(3n − 6)/n."""
    sigma, rng = 0.02, np.random.default_rng(0)
    graphs = [make_graph(np.full(12, 6), rng.normal(size=(12, 3)).astype(np.float32) * 2)] * 200
    result = recovery(flat, None, graphs, sigmas=(0.0, sigma), key=jax.random.key(0))
    assert (result.n_steps == 0).all() and (result.status == "converged").all()
    np.testing.assert_allclose(result.distance[0], 0.0, atol=1e-5)
    np.testing.assert_array_equal(result.distance[1, 1], result.start_distance[1])
    # Mean length of an isotropic Gaussian in three dimensions: √(8/3π) of its rms.
    expected = sigma * np.sqrt((36 - 6) / 12) * np.sqrt(8 / (3 * np.pi))
    assert result.distance[1].mean() == pytest.approx(expected, rel=0.02)
    assert summary(result)["rows"][-1]["recovered"] == 1.0


def test_a_repulsive_surface_counts_failures():
    result = recovery(repulsive, None, molecules(2), sigmas=(0.1,), key=jax.random.key(0))
    assert result.failed.all() and (result.distance == CAP).all()
    row = summary(result)["rows"][0]
    assert row["n_failed"] == 4 and row["status"]["max_steps"] == 4 and row["recovered"] == 0.0


def test_a_surface_without_energy_is_a_failure_not_a_gap():
    def broken(params, graph):
        hydrogens = ops.sum_over_graphs((graph.nodes.species == 1).astype(jnp.float32), graph)
        return springs(params, graph) + jnp.where(hydrogens == 4, jnp.nan, 0.0)

    result = recovery(broken, None, molecules(), sigmas=(0.05,), key=jax.random.key(0))
    assert result.status[0, 1].tolist() == ["converged", "nonfinite"]
    assert result.failed[0, 1].tolist() == [False, True]
    row = summary(result)["rows"][1]
    assert row["n_failed"] == 1 and row["energy_gap"]["n_nonfinite"] == 1
    json.dumps(row, allow_nan=False)


def test_impossible_input():
    for graphs, sigmas, message in (([], (0.1,), "graphs must"), (molecules(), (), "sigmas must")):
        with pytest.raises(ValueError, match=message):
            recovery(springs, None, graphs, sigmas=sigmas, key=jax.random.key(0))
    with pytest.raises(ValueError, match="sigma must be at least 0"):
        recovery(springs, None, molecules(), sigmas=(-0.1,), key=jax.random.key(0))


class TestSelect:
    def test_half_smallest_half_random_larger(self):
        sizes = np.random.default_rng(0).integers(3, 24, 500)
        chosen = select(sizes, n=64, seed=1)
        assert len(set(chosen.tolist())) == 64
        assert sizes[chosen[:32]].max() <= np.delete(sizes, chosen[:32]).min()
        assert not np.array_equal(chosen, select(sizes, n=64, seed=2))
        np.testing.assert_array_equal(chosen, select(sizes, n=64, seed=1))
        assert sizes[chosen[32:]].mean() == pytest.approx(np.delete(sizes, chosen[:32]).mean(), abs=2)

    def test_ties_and_small_sets(self):
        assert select([4, 4, 4, 4], n=2)[0] == 0
        assert sorted(select([7, 3, 5], n=256).tolist()) == [0, 1, 2]
        assert select(molecules(), n=1).tolist() == [0]
        with pytest.raises(ValueError, match="n must be"):
            select([3], n=0)


def test_mmff94_takes_its_molecules_back(graph_energy):
    """MMFF94 minima found by RDKit's own minimiser; here MMFF94 is the energy function."""
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem import rdDistGeom, rdForceFieldHelpers

    fields, graphs = {}, []
    for smiles in ("C", "CCO", "C#N", "C1CC1", "NC=O", "c1ccoc1"):
        molecule = chem.AddHs(chem.MolFromSmiles(smiles))
        rdDistGeom.EmbedMolecule(molecule, randomSeed=7)
        properties = rdForceFieldHelpers.MMFFGetMoleculeProperties(molecule)
        field = rdForceFieldHelpers.MMFFGetMoleculeForceField(molecule, properties)
        while field.Minimize(maxIts=1000, forceTol=1e-6, energyTol=1e-10):
            pass
        species = np.array([atom.GetAtomicNum() for atom in molecule.GetAtoms()])
        fields[species.tobytes()] = field
        graphs.append(make_graph(species, molecule.GetConformer().GetPositions().astype(np.float32)))

    def mmff(species, positions):
        field, R = fields[species.astype(int).tobytes()], positions.astype(float).ravel().tolist()
        gradient = np.reshape(field.CalcGrad(R), (-1, 3))
        return field.CalcEnergy(R) * KCAL_PER_MOL, -gradient * KCAL_PER_MOL

    settings = {"sigmas": (0.0, 0.05), "fmaxes": (0.01, 0.001), "max_steps": 2000}
    result = recovery(graph_energy(mmff), None, graphs, **settings, key=jax.random.key(0))
    assert (result.status == "converged").all()
    assert result.distance[0].max() < 0.005  # a minimum of RDKit is one here
    assert result.distance[1, 0].max() < 0.05 and result.distance[1, 1].max() < 0.01
    assert result.start_distance[1].min() > 0.02 and result.rise[1].min() > 0.1


def test_noise_has_the_amplitude_and_the_seed():
    graphs = [make_graph(np.full(50, 6), np.zeros((50, 3), np.float32))] * 40
    moved = np.stack([graph.nodes.positions for graph in perturb(graphs, 0.1, key=jax.random.key(3))])
    assert moved.std() == pytest.approx(0.1, rel=0.05) and abs(moved.mean()) < 0.01
    again = perturb(graphs, 0.1, key=jax.random.key(3))
    np.testing.assert_array_equal(again[7].nodes.positions, moved[7])
    assert not np.array_equal(moved[0], moved[1])


class TestSaved:
    def test_comes_back_whole(self, tmp_path):
        result = recovery(flat, None, molecules(2), sigmas=(0.0, 0.1), key=jax.random.key(0))
        save_recovery(result, tmp_path / "recovery.npz")
        again = load_recovery(tmp_path / "recovery.npz")
        for field in dataclasses.fields(result):
            ours, theirs = getattr(result, field.name), getattr(again, field.name)
            assert type(ours) is type(theirs)
            np.testing.assert_array_equal(ours, theirs)
        assert summary(again) == summary(result)

    def test_damaged_files(self, tmp_path):
        path = tmp_path / "recovery.npz"
        with pytest.raises(ValueError, match=r"recovery\.npz must be the complete npz"):
            load_recovery(path)
        path.write_bytes(b"PK\x03\x04 cut short")
        with pytest.raises(ValueError, match=r"recovery\.npz must be the complete npz"):
            load_recovery(path)
        np.savez(path, sigmas=[0.1])
        with pytest.raises(ValueError, match="fmaxes"):
            load_recovery(path)
