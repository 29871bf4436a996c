"""Energies over neighbour lists against the graph path, whose edges come from numpy, in every kind of box."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.neighborlist import neighbor_list
from jax_md import quantity, space
from known_surfaces import as_potential, repulsive

import jphys
from jphys.evaluation import evaluate
from jphys.graph import from_ase

CUTOFF = 5.0
MODEL = jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4, cutoff=CUTOFF, max_z=30)
POTENTIAL = jphys.make_potential(MODEL)
STRESS = jax.jit(jphys.energy_forces_stress(POTENTIAL))
SPHERES, ONE = as_potential(repulsive), jnp.float32(1.0)  # cheap, and every edge matters


@pytest.fixture(scope="module")
def params():
    """Random parameters, with the heads' small start enlarged so that every edge matters."""
    start = jax.jit(POTENTIAL.init)(jax.random.key(0), from_ase(bulk("Cu", cubic=True), cutoff=3.0))
    return jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(x.size), x.shape), start)


def crystals() -> dict[str, Atoms]:
    rng = np.random.default_rng(0)
    small = bulk("Al", "fcc", a=2.86)  # one atom
    triclinic = Atoms(
        "CuOAl", rng.uniform(0, 3, (3, 3)), cell=[[4, 0, 0], [1.2, 3.6, 0], [-0.5, 0.8, 5]], pbc=True
    )
    large = bulk("Cu", cubic=True).repeat((4, 4, 4))
    large.rattle(0.1, seed=1)
    slanted = bulk("Al", "fcc", a=4.05).repeat(6)
    slanted.rattle(0.1, seed=2)
    oblong = bulk("NaCl", "rocksalt", a=5.6, cubic=True).repeat((3, 1, 2))
    oblong.rattle(0.1, seed=3)
    # The large ones first: their compiled shape then serves the small ones.
    return {"large": large, "slanted": slanted, "oblong": oblong, "one atom": small, "triclinic": triclinic}


def graph_path(params, atoms, potential=None):
    """Energy and forces over the graph of ASE's pairs."""
    energy, forces = evaluate(potential or POTENTIAL, params, [from_ase(atoms, cutoff=CUTOFF)])
    return float(energy[0]), forces[0]


def made(params, atoms, fractional=True, potential=None, **settings):
    """neighbor_fn, energy_fn, and the positions as they want them."""
    box = atoms.cell.array.T if atoms.pbc.all() else None
    given = fractional if box is not None else None
    lists, energy = jphys.energy_neighbor_list(
        potential or POTENTIAL, params, atoms.numbers, box, fractional_coordinates=given, **settings
    )
    inside = (
        atoms.cell.scaled_positions(atoms.positions) if box is not None and fractional else atoms.positions
    )
    return lists, energy, jnp.asarray(inside, jnp.float32)


@pytest.mark.parametrize(("name", "fractional"), [*((n, True) for n in crystals()), ("triclinic", False)])
def test_one_energy_and_the_pairs_of_ase(params, name, fractional):
    atoms = crystals()[name]
    lists, energy, R = made(params, atoms, fractional, skin=0.0)
    found = lists.allocate(R)
    assert not bool(found.did_buffer_overflow)
    fewest, most = (len(neighbor_list("i", atoms, CUTOFF + shift)) for shift in (-1e-4, 1e-4))
    assert fewest <= int(jnp.sum(found.receivers < len(atoms))) <= most  # float32 rounds at the cutoff
    assert np.all(np.diff(found.receivers) >= 0)
    expected, direct = graph_path(params, atoms)
    value, gradient = jax.jit(jax.value_and_grad(energy))(R, found)
    assert float(value) == pytest.approx(expected, rel=2e-5, abs=2e-5)
    np.testing.assert_allclose(-gradient, direct, atol=2e-4)


def test_an_atom_alone_in_a_large_box(params):
    """No pairs at all: the energy of the free atom, and no force."""
    atoms = Atoms("Cu", [[1.0, 2.0, 3.0]], cell=[30, 30, 30], pbc=True)
    lists, energy, R = made(params, atoms)
    value, gradient = jax.value_and_grad(energy)(R, lists.allocate(R))
    expected, _ = graph_path(params, Atoms("Cu", [[0.0, 0.0, 0.0]]))
    assert float(value) == pytest.approx(expected, abs=1e-5) and not np.any(gradient)


@pytest.mark.parametrize("name", ["one atom", "triclinic"])
def test_stress_is_that_of_the_graph_path_with_the_other_sign(params, name):
    """jax-md's stress through `perturbation`, and through the derivative by the box."""
    atoms = crystals()[name]
    lists, energy, R = made(params, atoms)
    found = lists.allocate(R)
    box = jnp.asarray(atoms.cell.array.T, jnp.float32)
    theirs = jax.jit(lambda R, found: quantity.stress(energy, R, box, neighbor=found))(R, found)
    _, _, ours = STRESS(params, from_ase(atoms, cutoff=CUTOFF))
    np.testing.assert_allclose(theirs, -ours[0], atol=2e-5)
    gradient = jax.jit(jax.grad(lambda b: energy(R, found, box=b)))(box)
    np.testing.assert_allclose(gradient @ box.T / jnp.linalg.det(box), ours[0], atol=2e-5)


@pytest.mark.parametrize(
    ("name", "fractional"), [("triclinic", True), ("triclinic", False), ("large", True), ("large", False)]
)
def test_wrapping_an_atom_changes_nothing(name, fractional):
    """Neither before the list is found, nor after it, nor between an update and the energy."""
    atoms = crystals()[name]
    lists, energy, R = made(ONE, atoms, fractional, SPHERES)
    energy = jax.jit(energy)
    moved = atoms.copy()
    moved.positions += np.random.default_rng(0).integers(-3, 4, (len(atoms), 3)) @ atoms.cell.array
    _, _, far = made(ONE, moved, fractional, SPHERES)
    found, (expected, _) = lists.allocate(R), graph_path(ONE, atoms, SPHERES)
    for positions, neighbor in ((far, lists.allocate(far)), (far, found), (far, found.update(far))):
        assert float(energy(positions, neighbor)) == pytest.approx(expected, rel=5e-5, abs=5e-5)


def test_a_supercell_has_the_energy_of_its_cells(params):
    unit = bulk("Al", "fcc", a=2.86)
    atoms = unit.repeat((5, 5, 5))
    lists, energy, R = made(params, atoms)
    found = jax.jit(energy)(R, lists.allocate(R))
    assert float(found) == pytest.approx(len(atoms) * graph_path(params, unit)[0], rel=1e-4)


def free() -> dict[str, Atoms]:
    far = molecule("H2O")
    far.translate([50, 0, 0])
    cluster = Atoms("Cu40", np.random.default_rng(5).uniform(-6, 6, (40, 3)))
    atom = Atoms("Al", [[1.0, 2.0, 3.0]])
    return {
        "cluster": cluster,  # first: the Calculator's shape then fits all
        "benzene": molecule("C6H6"),
        "water": molecule("H2O"),
        "50 Å apart": molecule("H2O") + far,
        "one atom": atom,
    }


@pytest.mark.parametrize("name", ["triclinic", "free"])
def test_cells_of_atoms_find_the_pairs_of_ase(name):
    """Sides of 28 and 30 Å: from four times cutoff + skin on, jax-md sorts atoms into cells first."""
    rng = np.random.default_rng(7)
    cell = 28.0 * np.array([[1.0, 0.0, 0.0], [0.25, 1.0, 0.0], [-0.2, 0.15, 1.0]])
    atoms = Atoms("Ar500", rng.uniform(0, 1, (500, 3)) @ cell, cell=cell, pbc=True)
    if name == "free":
        atoms = Atoms("Ar500", rng.uniform(-15, 15, (500, 3)))
    box = cell.T if name == "triclinic" else None
    lists, energy = jphys.energy_neighbor_list(
        SPHERES, ONE, atoms.numbers, box, fractional_coordinates=False if name == "triclinic" else None
    )
    found = lists.allocate(jnp.asarray(atoms.positions, jnp.float32))
    assert found.found.cell_list_capacity is not None  # jax-md's word for having made cells
    update = jax.jit(lambda neighbor, R: neighbor.update(R))
    for _ in range(2):
        distances = neighbor_list("d", atoms, CUTOFF)
        expected = 0.5 * np.sum((1.0 - distances / CUTOFF) ** 3)
        R = jnp.asarray(atoms.positions, jnp.float32)
        found = update(found, R)
        assert not bool(found.did_buffer_overflow)
        value, gradient = jax.jit(jax.value_and_grad(energy))(R, found)
        _, forces = graph_path(ONE, atoms, SPHERES)
        assert float(value) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(-gradient, forces, atol=1e-5)
        atoms.positions += rng.uniform(-0.6, 0.6, (500, 3))  # farther than the skin allows


@pytest.mark.parametrize("repeats", [1, 3, 5], ids=["all images", "nearest image", "cells"])
def test_lists_of_rattled_crystals_have_few_shapes(repeats):
    """Pairs differ by some percent, rooms by steps of a sixteenth; an update keeps the shape."""
    shapes, pairs, update = set(), set(), jax.jit(lambda neighbor, R: neighbor.update(R))
    atoms = bulk("Al", "fcc", a=4.12, cubic=True).repeat(repeats)
    box = atoms.cell.array.T
    lists, _ = jphys.energy_neighbor_list(SPHERES, ONE, atoms.numbers, box, fractional_coordinates=False)
    rng = np.random.default_rng(0)
    for _ in range(6):
        R = jnp.asarray(atoms.positions + rng.normal(0, 0.15, (len(atoms), 3)), jnp.float32)
        found = lists.allocate(R)
        again = update(found, R + jnp.float32(1.0))
        assert jax.tree.map(jnp.shape, again) == jax.tree.map(jnp.shape, found)
        assert not again.did_buffer_overflow
        held = [np.sum(np.asarray(one.receivers) < len(atoms)) for one in (found, again)]
        assert held[0] == held[1] <= len(found.receivers)
        shapes.add(jax.tree.structure(found))
        pairs.add(int(held[0]))
    assert len(pairs) > 2 and len(shapes) <= 2


@pytest.mark.slow
def test_free_atoms_have_one_energy(params):
    """By the list, by all pairs, and by the Calculator; far apart is the sum."""
    calculator, values = jphys.Calculator(POTENTIAL, params), {}
    for name, atoms in free().items():
        lists, energy, R = made(params, atoms)
        pairs = jax.jit(jax.value_and_grad(jphys.energy_fn(POTENTIAL, params, atoms.numbers)))(R)
        listed = jax.jit(jax.value_and_grad(energy))(R, lists.allocate(R))
        atoms.calc = calculator
        values[name], forces = graph_path(params, atoms)
        for value, gradient in (pairs, listed, (atoms.get_potential_energy(), -atoms.get_forces())):
            assert float(value) == pytest.approx(values[name], rel=1e-4, abs=1e-4)
            np.testing.assert_allclose(-gradient, forces, atol=2e-4)
    assert values["50 Å apart"] == pytest.approx(2 * values["water"], rel=1e-5)


@pytest.mark.slow
def test_the_calculator_sees_every_image(params):
    """As the graph path does, whose pairs are ASE's; the cells of a supercell; atoms moved to other cells."""
    calculator, found = jphys.Calculator(POTENTIAL, params), crystals()
    for name, repeat in (("one atom", (3, 2, 2)), ("triclinic", (2, 1, 2))):
        unit = found[name]
        large = unit.repeat(repeat)
        wrapped = large.copy()
        large.positions += np.random.default_rng(0).integers(-3, 4, (len(large), 3)) @ large.cell.array
        wrapped.wrap()
        for atoms in (wrapped, unit, large):
            graph, atoms.calc = from_ase(atoms, cutoff=CUTOFF), calculator
            assert len(graph.senders) == len(neighbor_list("i", atoms, CUTOFF))
            energy, forces, stress = STRESS(params, graph)
            assert atoms.get_potential_energy() == pytest.approx(float(energy[0]), rel=2e-5, abs=2e-5)
            np.testing.assert_allclose(atoms.get_forces(), forces, atol=2e-4)
            np.testing.assert_allclose(atoms.get_stress(voigt=False), stress[0], atol=2e-5)
        copies = len(large) / len(unit)
        for atoms in (wrapped, large):
            assert atoms.get_potential_energy() == pytest.approx(
                copies * unit.get_potential_energy(), rel=1e-4
            )


def test_all_pairs_of_a_crystal_need_a_box_twice_the_cutoff(params):
    """energy_fn sees each pair once: right in the large crystal, refused in the one-atom cell."""
    found = crystals()
    for name in ("large", "one atom"):
        atoms = found[name]
        box = jnp.asarray(atoms.cell.array.T, jnp.float32)
        displacement, _ = space.periodic_general(box, fractional_coordinates=False)
        if name == "one atom":
            with pytest.raises(ValueError, match="cutoff must be at most half the periodic box"):
                jphys.energy_fn(POTENTIAL, params, atoms.numbers, displacement)
        else:
            energy = jax.jit(jphys.energy_fn(POTENTIAL, params, atoms.numbers, displacement))
            value = float(energy(jnp.asarray(atoms.positions, jnp.float32)))
            assert value == pytest.approx(graph_path(params, atoms)[0], rel=1e-4)


@pytest.mark.parametrize("name", ["one atom", "large"])
def test_a_list_is_renewed_when_the_box_shrinks(name):
    """Atoms stay where they are in the box; jax-md's own criterion would keep the list."""
    atoms = crystals()[name]
    lists, energy, R = made(ONE, atoms, potential=SPHERES)
    found, energy = lists.allocate(R), jax.jit(energy)
    update = jax.jit(lambda neighbor, box: neighbor.update(R, box=box))
    for factor in (0.995, 0.98, 0.96):
        smaller = atoms.copy()
        smaller.set_cell(atoms.cell.array * factor, scale_atoms=True)
        box = jnp.asarray(smaller.cell.array.T, jnp.float32)
        found = update(found, box)
        if bool(found.did_buffer_overflow):
            found = lists.allocate(R, box=box)
            assert not bool(found.did_buffer_overflow)
        expected, _ = graph_path(ONE, smaller, SPHERES)
        assert float(energy(R, found, box=box)) == pytest.approx(expected, rel=1e-4)


def test_a_list_that_is_too_small_says_so():
    atoms = Atoms("Cu40", np.random.default_rng(5).uniform(-12, 12, (40, 3)))
    lists, energy, R = made(ONE, atoms, potential=SPHERES)
    found = lists.allocate(R)
    dense = found.update(0.3 * R)
    assert bool(dense.did_buffer_overflow)
    assert bool(dense.update(R).did_buffer_overflow)
    close = Atoms("Cu40", 0.3 * atoms.positions)
    again = jax.jit(energy)(0.3 * R, lists.allocate(0.3 * R))
    assert float(again) == pytest.approx(graph_path(ONE, close, SPHERES)[0], rel=1e-4)


@pytest.mark.parametrize(("edge", "few", "many"), [(8.0, 0.1, 1.0), (24.0, 1.0, 0.2)])
def test_a_list_remembers_that_it_was_too_small(params, edge, few, many):
    """Many pairs and few again: in a small box a dense cluster has few, since images are far."""
    atoms = Atoms("Cu40", np.random.default_rng(5).uniform(0, edge, (40, 3)), cell=[edge] * 3, pbc=True)
    lists, _, R = made(params, atoms)
    update = jax.jit(lambda neighbor, R: neighbor.update(R))
    full = update(lists.allocate(few * R), many * R)
    assert bool(full.did_buffer_overflow) and bool(update(full, few * R).did_buffer_overflow)
    assert not bool(lists.allocate(many * R).did_buffer_overflow)


def test_bonds_reach_the_model(params):
    config = jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4, bond_mask=True, max_z=9)
    potential, water = jphys.make_potential(config), molecule("H2O")
    start = jax.jit(potential.init)(jax.random.key(0), from_ase(water, bonds=[(0, 1, 1)]))
    values = jax.tree.map(lambda x: x + 0.1 * jax.random.normal(jax.random.key(1), x.shape), start)
    program, R, found = jax.jit(potential.energy), jnp.asarray(water.positions, jnp.float32), []
    for bonds in ([(0, 1, 1), (0, 2, 1)], [(0, 1, 1)]):
        lists, energy = jphys.energy_neighbor_list(potential, values, water.numbers, bonds=bonds)
        found.append(float(jax.jit(energy)(R, lists.allocate(R))))
        expected = float(program(values, from_ase(water, bonds=bonds))[0])
        assert found[-1] == pytest.approx(expected, rel=1e-5)
    assert found[0] != pytest.approx(found[1], rel=1e-3)


def test_an_atom_far_away_makes_no_room_for_empty_cells(params):
    """1000 atoms and one a millimetre off: cells are those of the 1000, pairs those without it."""
    grid = 4.0 * np.stack(np.meshgrid(*[np.arange(10.0)] * 3), axis=-1).reshape(-1, 3)
    alone = np.concatenate([grid, [[1e7, 0.0, 0.0]]])
    counts = []
    for R in (grid, alone):
        lists, _ = jphys.energy_neighbor_list(POTENTIAL, params, np.full(len(R), 18))
        found = lists.allocate(jnp.asarray(R, jnp.float32))
        counts.append(int((found.receivers < len(R)).sum()))
    assert counts[0] == counts[1] > 1000


def test_a_thin_box_of_many_atoms_is_refused_before_memory_is_gone(params):
    box = np.diag([400.0, 400.0, 8.0])
    R = np.random.default_rng(0).uniform(size=(4000, 3))
    lists, _ = jphys.energy_neighbor_list(POTENTIAL, params, np.full(4000, 18), box)
    with pytest.raises(ValueError, match=r"box must be at least .* Å thick for 4000 atoms"):
        lists.allocate(jnp.asarray(R, jnp.float32))


def test_bad_arguments_are_named(params):
    def refused(match, *args, **settings):
        with pytest.raises(ValueError, match=match):
            jphys.energy_neighbor_list(*args, **settings)

    refused("potential must have a cutoff", lambda p, g: 0.0, None, [29])
    refused("skin must be at least 0.0, got -1", POTENTIAL, params, [29], skin=-1)
    refused("capacity must be at least 1.0, got 0.5", POTENTIAL, params, [29], capacity=0.5)
    refused("box must be a length", POTENTIAL, params, [29], np.zeros((3, 3)))
    refused("box must be a length", POTENTIAL, params, [29], np.ones(2))
    refused(
        "fractional_coordinates must not be set in free space",
        POTENTIAL,
        params,
        [29],
        fractional_coordinates=True,
    )
    refused("bonds must join two different atoms", POTENTIAL, params, [29, 29], bonds=[(0, 2, 1)])
    displacement = space.periodic_general(4.0 * jnp.eye(3))[0]
    refused(
        "fractional_coordinates must be True, as displacement_fn has it, got False",
        *(POTENTIAL, params, [29], 4.0 * np.eye(3)),
        displacement_fn=displacement,
        fractional_coordinates=False,
    )
    for fractional in (True, False):
        ten = space.periodic_general(10.0 * jnp.eye(3), fractional_coordinates=fractional)[0]
        jphys.energy_neighbor_list(POTENTIAL, params, [29], 10.0, displacement_fn=ten)
        for box in (12.0, 5.0, 20.0, [10.0, 10.0, 10.1]):
            refused("box must be that of displacement_fn", POTENTIAL, params, [29], box, displacement_fn=ten)
        refused("box must be given for a periodic disp", POTENTIAL, params, [29], displacement_fn=ten)
    refused("box must be given", POTENTIAL, params, [29], displacement_fn=space.periodic(jnp.array(3e4))[0])
    refused("box must be that of", POTENTIAL, params, [29], 9.0, displacement_fn=space.free()[0])
    jphys.energy_neighbor_list(POTENTIAL, params, [29], displacement_fn=space.free()[0])
    slanted, _ = space.periodic_general(jnp.array([[9.0, 4.0, 2.0], [0.0, 8.0, 3.0], [0.0, 0.0, 7.0]]))
    rows = jnp.array([[9.0, 0.0, 0.0], [4.0, 8.0, 0.0], [2.0, 3.0, 7.0]])
    refused("box must be that of", POTENTIAL, params, [29], rows, displacement_fn=slanted)
    lists, _ = jphys.energy_neighbor_list(POTENTIAL, params, [29, 29], 4.0, bonds=[(0, 1, 1)])
    with pytest.raises(ValueError, match="bonds must not be given for a box this small"):
        lists.allocate(jnp.array([[0.0, 0.0, 0.0], [0.0, 0.0, 1.5]]))
    lists, energy = jphys.energy_neighbor_list(POTENTIAL, params, [29], 4.0)
    with pytest.raises(ValueError, match="R must be finite"):
        lists.allocate(jnp.full((1, 3), jnp.nan))
    with pytest.raises(ValueError, match=r"R must have shape \(1, 3\) to match species, got \(2, 3\)"):
        lists.allocate(jnp.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"R must have shape \(1, 3\)"):
        energy(jnp.zeros((2, 3)), lists.allocate(jnp.zeros((1, 3))))
