"""A bond-typed potential gives one energy on every path, and none where bonds are missing."""

import ase
import jax
import numpy as np
import pytest
from ase.build import bulk, molecule

import jphys
from jphys.bonds import perceive_bonds
from jphys.derivatives import energy_and_forces, hessian
from jphys.graph import from_ase
from jphys.models import MessagePassingConfig, TransformerConfig, make_potential

METALLIC = ("single", "double", "triple", "metallic")


@pytest.fixture(scope="module")
def model():
    """Random parameters with a loud readout; knows molecules and metals."""
    potential = make_potential(MessagePassingConfig(channels=8, steps=2, n_basis=8, bond_types=METALLIC))
    params = jax.jit(potential.init)(jax.random.key(0), from_ase(molecule("H2O")))
    kernel = params["f_atom"]["Dense_1"]["kernel"]
    params["f_atom"]["Dense_1"]["kernel"] = 30.0 * kernel
    return potential, params


@pytest.fixture
def acetamide() -> ase.Atoms:
    atoms = molecule("CH3CONH2")
    atoms.rattle(0.05, seed=1)
    return atoms


def test_a_molecule(model, acetamide):
    """Graph, all pairs of jax-md, neighbour list, ASE: energies and forces."""
    potential, params = model
    species, bonds = acetamide.numbers, perceive_bonds(acetamide.numbers, acetamide.positions)
    graph = from_ase(acetamide, bonds=bonds)
    energy, forces = jax.jit(energy_and_forces(potential))(params, graph)
    assert np.abs(forces).max() > 0.1
    R = np.asarray(acetamide.positions, np.float32)
    pairs = jphys.energy_fn(potential, params, species, bonds=bonds)
    neighbor_fn, sparse = jphys.energy_neighbor_list(potential, params, species, bonds=bonds)
    neighbors = neighbor_fn.allocate(R)
    for found, gradient in (
        jax.jit(jax.value_and_grad(pairs))(R),
        jax.jit(jax.value_and_grad(lambda R: sparse(R, neighbors)))(R),
    ):
        assert found == pytest.approx(float(energy[0]), abs=1e-4)
        np.testing.assert_allclose(-gradient, forces, atol=2e-4)
    acetamide.calc = jphys.Calculator(potential, params, bonds=bonds)
    assert acetamide.get_potential_energy() == pytest.approx(float(energy[0]), abs=1e-4)
    np.testing.assert_allclose(acetamide.get_forces(), forces, atol=2e-4)
    matrix = np.asarray(jax.jit(hessian(potential))(params, graph))
    size = 3 * len(species)
    matrix = matrix.reshape(size, size)
    np.testing.assert_allclose(matrix, matrix.T, atol=1e-3 * np.abs(matrix).max())


def test_a_metal(model):
    """One atom in the cell, by the graph with its images, by the neighbour list, and by ASE."""
    potential, params = model
    copper = bulk("Cu", a=3.6)
    copper.set_cell(copper.cell @ np.array([[1.02, 0, 0], [0.01, 0.98, 0], [0, 0, 1.0]]), scale_atoms=True)
    graph = from_ase(copper, cutoff=potential.cutoff)
    energy = float(jax.jit(potential.energy)(params, graph)[0])
    assert abs(energy) > 0.1
    R, box = np.zeros((1, 3), np.float32), np.asarray(copper.cell.array.T, np.float32)
    neighbor_fn, sparse = jphys.energy_neighbor_list(
        potential, params, copper.numbers, box, fractional_coordinates=True
    )
    assert float(sparse(R, neighbor_fn.allocate(R))) == pytest.approx(energy, abs=1e-4)
    copper.calc = jphys.Calculator(potential, params)
    assert copper.get_potential_energy() == pytest.approx(energy, abs=1e-4)


def test_a_bond_stretched_beyond_the_cutoff(model):
    """Its atoms no longer feel each other, on the path through ASE, too."""
    potential, params = model
    water = molecule("H2O")
    bonds = perceive_bonds(water.numbers, water.positions)
    water.positions[2] += [0.0, -potential.cutoff, 0.0]
    graph = from_ase(water, bonds=bonds)
    energy = float(jax.jit(potential.energy)(params, graph)[0])
    water.calc = jphys.Calculator(potential, params, bonds=bonds)
    assert water.get_potential_energy() == pytest.approx(energy, abs=1e-4)


def test_bonds_in_both_directions_are_the_same_bonds(model, acetamide):
    potential, params = model
    bonds = perceive_bonds(acetamide.numbers, acetamide.positions)
    assert bonds is not None
    R, found = np.asarray(acetamide.positions, np.float32), []
    for given in (bonds, np.concatenate([bonds, bonds[:, [1, 0, 2]]])):
        lists, energy = jphys.energy_neighbor_list(potential, params, acetamide.numbers, bonds=given)
        found.append(float(energy(R, lists.allocate(R))))
    assert found[0] == found[1]


def masked():
    """A Transformer whose attention runs along bonds."""
    config = TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4, bond_mask=True)
    return make_potential(config), None


@pytest.mark.parametrize("kind", ["messages", "mask"])
def test_without_bonds_every_path_refuses(model, acetamide, kind):
    potential, params = model if kind == "messages" else masked()
    species, message = (
        acetamide.numbers,
        "bonds must be given for a potential whose energy depends on them",
    )
    acetamide.calc = jphys.Calculator(potential, params)
    for call in (
        lambda: jphys.energy_fn(potential, params, species),
        lambda: jphys.energy_neighbor_list(potential, params, species),
        lambda: jphys.relax(potential, params, [from_ase(acetamide)]),
        acetamide.get_potential_energy,
    ):
        with pytest.raises(ValueError, match=message):
            call()
    jphys.energy_fn(potential, params, np.array([8]))  # one atom has no bonds


@pytest.mark.parametrize(
    ("types", "what"), [(("metallic",), "water"), (("single", "double", "triple"), "aluminium")]
)
def test_a_structure_without_a_pair_that_is_felt_is_refused_on_every_path(types, what):
    """Water for a model of metals, with its bonds too; a metal for one of molecules: not a force of zero."""
    potential = make_potential(MessagePassingConfig(channels=4, steps=1, n_basis=4, bond_types=types))
    atoms = molecule("H2O") if what == "water" else bulk("Al", a=4.05)
    bonds = perceive_bonds(atoms.numbers, atoms.positions) if what == "water" else None
    box = None if what == "water" else np.asarray(atoms.cell.array.T)
    graph = from_ase(atoms, bonds=bonds, cutoff=potential.cutoff)
    params = potential.init(jax.random.key(0), graph)
    atoms.calc = jphys.Calculator(potential, params, bonds=bonds)
    for call in (
        lambda: jphys.energy_fn(potential, params, atoms.numbers, bonds=bonds, box=box),
        lambda: jphys.energy_neighbor_list(potential, params, atoms.numbers, box, bonds=bonds),
        lambda: jphys.relax(potential, params, [graph]),
        atoms.get_potential_energy,
    ):
        with pytest.raises(ValueError, match=f"must have a pair of the types .* {', '.join(types)}, got"):
            call()


def test_what_is_far_apart_or_alone_is_not_refused(model):
    """Two atoms of a metal and a stretched bond beyond the cutoff; one atom, in a large cell, too."""
    potential, params = model
    far = ase.Atoms("Al2", [[0, 0, 0], [0, 0, 9.0]])
    stretched = ase.Atoms("N2", [[0, 0, 0], [0, 0, 9.0]])
    alone = ase.Atoms("H", cell=[9.0, 9.0, 9.0], pbc=True)
    for atoms, bonds in ((far, None), (stretched, [(0, 1, 3)]), (alone, None)):
        atoms.calc = jphys.Calculator(potential, params, bonds=bonds)
        assert not atoms.get_forces().any()
