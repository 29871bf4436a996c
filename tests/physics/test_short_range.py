"""Two atoms pushed into each other: finite in float32, and repelling, for every pair of H C N O F."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys.derivatives import energy_and_forces
from jphys.graph import make_graph, with_positions

ELEMENTS = (1, 6, 7, 8, 9)
PAIRS = np.array(list(itertools.combinations_with_replacement(ELEMENTS, 2)), np.int32)
DISTANCES = np.concatenate([np.arange(0.05, 1.0, 0.01), np.arange(1.0, 6.0, 0.1)]).astype(np.float32)


@pytest.fixture(scope="module")
def compute(case):
    """Energies and forces of three atoms each, in float32: species (k, 3), positions (k, 3, 3)."""
    params = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float32), case.params)
    template = jax.tree.map(jnp.asarray, make_graph([1, 1, 1], np.eye(3, dtype=np.float32)))

    def one(species, positions):
        graph = with_positions(template, positions)
        graph = graph._replace(nodes=graph.nodes._replace(species=species))
        energy, forces = energy_and_forces(case.potential)(params, graph)
        return energy[0], forces

    compiled = jax.jit(jax.vmap(one))
    return lambda *arrays: tuple(np.asarray(values) for values in compiled(*arrays))


@pytest.fixture(scope="module")
def scan(compute):
    """Energies and forces on the second atom along the axis, (pair, distance) each; the third atom is far."""
    n_pair, n_distance = len(PAIRS), len(DISTANCES)
    species = np.pad(np.repeat(PAIRS, n_distance, axis=0), ((0, 0), (0, 1)), constant_values=1)
    positions = np.zeros((n_pair * n_distance, 3, 3), np.float32)
    positions[:, 1, 0] = np.tile(DISTANCES, n_pair)
    positions[:, 2, 1] = 100.0
    energy, forces = compute(species, positions)
    return energy.reshape(n_pair, -1), forces[:, 1, 0].reshape(n_pair, -1)


def test_finite_everywhere(scan):
    energy, force = scan
    assert energy.dtype == np.float32
    assert np.isfinite(energy).all() and np.isfinite(force).all()


def test_repelling_when_too_close(case, scan):
    """The pair head's promise; the other readouts are the paper's ablations and promise only finiteness."""
    if not case.repels:
        pytest.skip("only the pair head repels")
    _, force = scan
    pulled = [
        (*pair, round(float(d), 2), float(f))
        for pair, row in zip(PAIRS.tolist(), force)
        for d, f in zip(DISTANCES, row)
        if d < 0.405 and not f > 0
    ]
    assert pulled == []


def test_three_atoms_on_one_spot_are_finite(compute):
    """0.05 Å from each other, a corner that a simulation may pass through."""
    corner = np.array([[0, 0, 0], [0.05, 0, 0], [0, 0.05, 0]], np.float32)
    species = np.array(list(itertools.combinations_with_replacement(ELEMENTS, 3)), np.int32)
    k = len(PAIRS) * len(DISTANCES)  # the shape of the scan: one compilation
    species = np.resize(species, (k, 3))
    energy, forces = compute(species, np.broadcast_to(corner, (k, 3, 3)))
    assert energy.dtype == np.float32
    assert np.isfinite(energy).all() and np.isfinite(forces).all()
