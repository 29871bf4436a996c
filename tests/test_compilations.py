"""How often users wait for XLA: once for a shape, whatever they do again."""

import jax
import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.collections import g2

import jphys
from jphys.graph import from_ase

pytestmark = pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # by jax-md


@pytest.fixture
def counted(fresh, counting):
    """A potential of its own, its parameters, and the list of shapes its energy is traced for."""
    potential, traces = counting(fresh[0])
    return potential, fresh[1], traces


def random_sets(rng, times: int):
    """Lists of two to eight organic molecules."""
    known = [molecule(name) for name in g2.names if len(molecule(name)) > 1]
    known = [one for one in known if {*one.numbers} <= {1, 6, 7, 8}]
    known = [one for one in known if not one.get_initial_magnetic_moments().any()]
    for _ in range(times):
        chosen = rng.choice(len(known), rng.integers(2, 9), replace=False)
        yield [from_ase(known[i]) for i in chosen]


def test_ten_sets_of_molecules_relax_in_two_shapes(counted, rng):
    potential, params, traces = counted
    for graphs in random_sets(rng, 10):
        result = jphys.relax(potential, params, graphs, max_steps=3)
        assert [len(g.nodes.species) for g in result.graphs] == [len(g.nodes.species) for g in graphs]
    shapes = set(traces)
    assert len(shapes) <= 2
    assert len(traces) <= 3 * len(shapes)  # the loop, the energies at its end


@pytest.mark.parametrize("dynamics", ["nve", "nvt_nose_hoover"])
def test_another_simulation_of_a_molecule_compiles_nothing(counted, dynamics):
    potential, params, traces = counted
    settings = {"steps": 4, "every": 2, "progress": False, "dynamics": jphys.Dynamics(dynamics)}
    first = jphys.simulate(potential, params, molecule("CH3OH"), **settings)
    known = len(traces)
    other = jax.tree.map(lambda leaf: 1.01 * leaf, params)
    second = jphys.simulate(potential, other, molecule("CH3OH"), seed=1, **settings)
    assert len(traces) == known
    assert second.potential[0] != first.potential[0]  # by its own parameters
    again = jphys.simulate(potential, params, molecule("CH3OH"), **settings)
    np.testing.assert_array_equal(again.potential, first.potential)


def test_another_simulation_of_a_crystal_compiles_nothing(counted):
    potential, params, traces = counted
    crystal = bulk("Si", cubic=True) * (2, 2, 2)
    for seed in range(2):
        known = len(traces)
        jphys.simulate(potential, params, crystal, steps=2, every=1, progress=False, seed=seed)
    assert len(traces) == known > 0


def test_calculators_of_one_potential_share_what_is_compiled(counted):
    potential, params, traces = counted
    energies = []
    for factor in (1.0, 1.01):
        known = len(traces)
        scaled = jax.tree.map(lambda leaf, by=factor: by * leaf, params)
        for name in ("C2H6", "H2O", "CH3CH2OH"):
            atoms = molecule(name)
            atoms.calc = jphys.Calculator(potential, scaled)
            atoms.get_forces()
            energies.append(atoms.get_potential_energy())
    assert len(traces) == known > 0
    assert energies[0] != energies[3]


def test_equal_configs_are_one_potential():
    first, second = (jphys.TransformerConfig(channels=16, blocks=1, heads=4) for _ in range(2))
    assert jphys.make_potential(first) is jphys.make_potential(second)


def test_hessians_of_molecules_of_eight_sizes(counted, fresh):
    potential, params, traces = counted
    names = ("N2", "H2O", "NH3", "CH4", "CH3OH", "C2H6", "CH3CH2OH", "C6H6")
    for name in names:
        (matrix,) = jphys.hessians(potential, params, [from_ase(molecule(name))])
        n = len(molecule(name))
        assert matrix.shape == (n, 3, n, 3)
    assert len(traces) <= 2
    water = from_ase(molecule("H2O"))
    (matrix,) = jphys.hessians(potential, params, [water])
    alone = jax.jit(jphys.hessian(fresh[0]))(params, water)
    np.testing.assert_allclose(matrix, alone, atol=1e-4 * float(abs(alone).max()))
