"""Relaxation by jax-md's FIRE, on surfaces whose answer is known."""

import os

import ase
import ase.build
import ase.optimize
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.calculators.morse import MorsePotential

from jphys import md, ops, packing
from jphys.graph import batch, make_graph, pad, with_positions


def pair_sum(pair, graph):
    """Energy (n_graph,) of a pair energy given as a function of the distance, each pair once."""
    values = jnp.where(graph.edges.mask, 0.5 * pair(ops.edge_distances(graph)), 0.0)
    return ops.sum_over_graphs(ops.sum_at_receivers(values, graph), graph)


def morse(params, graph):
    """D(x² − 2x), x = exp(−a(r − r₀)): minimum −D at r₀."""

    def pair(r):
        x = jnp.exp(-params["a"] * (r - params["r0"]))
        return params["D"] * (x**2 - 2 * x)

    return pair_sum(pair, graph)


MORSE = {"D": jnp.float32(4.0), "a": jnp.float32(2.0), "r0": jnp.float32(1.2)}
CLUSTERS = {1: 0, 2: 1, 3: 3, 4: 6}  # pairs that can all sit at r₀


def cluster(n_atoms, seed=0, size=1.0):
    positions = np.random.default_rng(seed).normal(size=(n_atoms, 3)) * size
    return make_graph(np.full(n_atoms, 6), positions.astype(np.float32))


class TestRelax:
    def test_mixed_sizes_reach_the_known_minima(self):
        graphs = [cluster(n, seed) for seed in range(6) for n in CLUSTERS]
        result = md.relax(morse, MORSE, graphs, n_lanes=5, progress=True)
        assert result.converged.all()
        expected = [-4.0 * CLUSTERS[len(graph.nodes.species)] for graph in graphs]
        np.testing.assert_allclose(result.energy, expected, atol=1e-3)
        for graph, forces, fmax in zip(result.graphs, result.forces, result.fmax, strict=True):
            r = np.linalg.norm(graph.nodes.positions[:, None] - graph.nodes.positions, axis=-1)
            np.testing.assert_allclose(r[~np.eye(len(r), dtype=bool)], 1.2, atol=1e-2)
            assert fmax == pytest.approx(np.linalg.norm(forces, axis=1).max(), rel=1e-6) and fmax < 0.01

    def test_ends_where_the_fire_of_ase_ends(self):
        graph = cluster(5, 3)
        atoms = ase.Atoms(graph.nodes.species, graph.nodes.positions)
        atoms.calc = MorsePotential(epsilon=4.0, rho0=2.4, r0=1.2, rcut1=90.0, rcut2=99.0)
        ase.optimize.FIRE(atoms, logfile=os.devnull).run(fmax=0.01)
        result = md.relax(morse, MORSE, [graph])
        assert result.energy[0] == pytest.approx(atoms.get_potential_energy(), abs=1e-3)

    def test_alone_or_in_company_is_the_same(self):
        graphs = [cluster(n, n) for n in (5, 2, 4, 3, 6, 2, 7)]
        together = md.relax(morse, MORSE, graphs, n_lanes=3)
        for index in (0, 5):
            graph = graphs[index]
            alone = md.relax(morse, MORSE, [graph])
            assert alone.n_steps[0] == pytest.approx(together.n_steps[index], abs=2)
            np.testing.assert_allclose(
                alone.graphs[0].nodes.positions, together.graphs[index].nodes.positions, atol=2e-3
            )

    def test_relaxed_input_takes_no_step(self):
        relaxed = md.relax(morse, MORSE, [cluster(4), cluster(3)], fmax=0.005)
        again = md.relax(morse, MORSE, relaxed.graphs)
        assert again.n_steps.tolist() == [0, 0]
        for old, new in zip(relaxed.graphs, again.graphs, strict=True):
            np.testing.assert_array_equal(old.nodes.positions, new.nodes.positions)

    def test_the_second_call_compiles_nothing(self):
        traces = []

        def counted(params, graph):
            traces.append(1)
            return morse(params, graph)

        for seed in (0, 1):
            md.relax(counted, MORSE, [cluster(3, seed), cluster(4, seed)])
            if seed == 0:
                first = len(traces)
        assert len(traces) == first

    def test_thresholds_on_the_way(self):
        graphs = [cluster(n, n) for n in (3, 4, 5)]
        tight, loose = md.relax_to(morse, MORSE, graphs, fmaxes=(0.01, 0.5))
        alone = md.relax(morse, MORSE, graphs, fmax=0.5)
        assert (loose.n_steps < tight.n_steps).all()
        assert (loose.fmax < 0.5).all() and (loose.fmax > 0.01).all() and (tight.fmax < 0.01).all()
        for one, other in zip(loose.graphs, alone.graphs, strict=True):
            np.testing.assert_allclose(one.nodes.positions, other.nodes.positions, atol=1e-4)

    def test_stiff_bonds_and_a_hard_collision(self):
        params = {"D": jnp.float32(9.0), "a": jnp.float32(2.5), "r0": jnp.float32(1.1)}  # 112 eV/Å², λ = 225
        graphs = [make_graph([6, 7], np.array([[0, 0, 0], [d, 0, 0]], np.float32)) for d in (0.05, 1.0, 1.5)]
        result = md.relax(morse, params, graphs)
        assert result.converged.all()
        np.testing.assert_allclose(result.energy, -9.0, atol=1e-3)

    def test_outcomes_are_reported(self):
        def broken(params, graph):
            return pair_sum(lambda r: jnp.where(r < 1.0, jnp.nan, -r), graph)  # pulled apart for ever

        near = make_graph([1, 1], np.array([[0, 0, 0], [0.5, 0, 0]], np.float32))
        far = make_graph([1, 1], np.array([[0, 0, 0], [2.0, 0, 0]], np.float32))
        alone = make_graph([1], np.zeros((1, 3), np.float32))
        result = md.relax(broken, None, [near, far, alone], max_steps=7)
        assert result.status.tolist() == ["nonfinite", "max_steps", "converged"]
        assert result.n_steps.tolist() == [0, 7, 0]
        np.testing.assert_array_equal(result.graphs[0].nodes.positions, near.nodes.positions)

    def test_a_step_into_nowhere_keeps_the_last_finite_positions(self):
        def cliff(params, graph):
            return pair_sum(lambda r: jnp.where(r < 1.0, jnp.nan, r), graph)

        start = make_graph([1, 1], np.array([[0, 0, 0], [2.0, 0, 0]], np.float32))
        result = md.relax(cliff, None, [start])
        length = np.linalg.norm(np.diff(result.graphs[0].nodes.positions, axis=0))
        assert result.status[0] == "nonfinite" and result.n_steps[0] > 0
        assert 1.0 <= length < 1.3
        np.testing.assert_allclose(np.linalg.norm(result.forces[0], axis=1), 1.0, rtol=1e-5)

    def test_atoms_on_top_of_each_other_do_not_blow_up(self):
        result = md.relax(morse, MORSE, [make_graph([1, 1], np.zeros((2, 3), np.float32)), cluster(3)])
        assert np.isfinite(result.graphs[0].nodes.positions).all()
        assert result.energy[1] == pytest.approx(-12.0, abs=1e-3)

    def test_periodic_cell(self):
        atoms = ase.build.bulk("Cu", "fcc", a=3.6, cubic=True)
        atoms.rattle(0.1, seed=1)
        graph = make_graph(atoms.numbers, atoms.positions, cell=atoms.cell.array, cutoff=3.3)

        def springs(params, graph):
            return pair_sum(lambda r: (r - 3.6 / np.sqrt(2)) ** 2, graph)

        result = md.relax(springs, None, [graph], fmax=1e-3)
        assert result.converged.all() and result.energy[0] == pytest.approx(0.0, abs=1e-4)
        assert np.linalg.norm(graph.nodes.positions - result.graphs[0].nodes.positions, axis=1).max() > 0.05

    def test_float64(self, x64):
        params = {name: jnp.float64(value) for name, value in MORSE.items()}
        graph = cluster(4)
        graph = with_positions(graph, graph.nodes.positions.astype(np.float64))
        result = md.relax(morse, params, [graph], fmax=1e-9)
        assert result.graphs[0].nodes.positions.dtype == np.float64
        assert result.energy[0] == pytest.approx(-24.0, abs=1e-6)  # r₀ itself is float32
        assert result.fmax[0] < 1e-9

    def test_nothing_to_do(self):
        assert md.relax(morse, MORSE, []).energy.shape == (0,)

    @pytest.mark.parametrize(
        "setting, message",
        [({"fmax": 0.0}, "fmax"), ({"max_steps": -1}, "max_steps"), ({"n_lanes": 0}, "n_lanes")],
    )
    def test_impossible_settings(self, setting, message):
        with pytest.raises(ValueError, match=f"{message} must be"):
            md.relax(morse, MORSE, [cluster(2)], **setting)


def test_the_packed_graph_is_the_padded_batch():
    graphs = [cluster(n, n) for n in (3, 1, 4, 2, 5)]
    packed = packing.pack(packing.store(graphs), jnp.array([4, 1, -1, 3]), packing.Budget(14, 40))
    expected = pad(batch([graphs[4], graphs[1], graphs[3]]), 14, 40, 4)
    for name in ("nodes", "edges", "senders", "receivers"):
        jax.tree.map(np.testing.assert_array_equal, getattr(packed.graph, name), getattr(expected, name))
    assert packed.graph.n_node.tolist() == [5, 1, 0, 2, 6]
    positions = jnp.stack(
        [
            jnp.pad(graphs[i].nodes.positions, ((0, 5 - s), (0, 0)))
            for i, s in ((4, 5), (1, 1), (0, 3), (3, 2))
        ]
    )
    flat = with_positions(packed.graph, packing.to_flat(packed, positions)).nodes.positions
    np.testing.assert_array_equal(flat, expected.nodes.positions)
    np.testing.assert_array_equal(packing.from_flat(packed, flat, 5)[3], positions[3])
