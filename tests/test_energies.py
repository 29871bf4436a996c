"""`energy_fn` on surfaces whose answer is known: free molecules, minimum image, all images of a small box."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from jax_md import minimize, quantity, simulate, space

import jphys
from jphys import md, ops
from jphys.graph import from_ase, make_graph
from jphys.models.potential import Potential


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


def cluster(n_atoms, seed=0):
    positions = np.random.default_rng(seed).normal(size=(n_atoms, 3))
    return make_graph(np.full(n_atoms, 6), positions.astype(np.float32))


def smooth(params, graph):
    """A pair energy that ends at 3 Å, C¹; a bond adds its order."""
    ends = jnp.where(graph.edges.mask, graph.edges.bond_type, 0)
    bonded = ops.sum_over_graphs(ops.sum_at_receivers(0.5 * ends, graph), graph)
    return bonded + pair_sum(lambda r: params * jnp.where(r < 3.0, (r - 3.0) ** 2 * (r - 1.5), 0.0), graph)


CONFIG = SimpleNamespace(reference_energies=(), max_z=118)
SHORT = Potential(CONFIG, 3.0, lambda key, graph: {}, smooth, smooth)


def test_is_the_energy_of_the_graph():
    graph = cluster(5)
    energy_fn = md.energy_fn(morse, MORSE, graph.nodes.species)
    energy = energy_fn(jnp.asarray(graph.nodes.positions), kT=0.1, neighbor=None)
    assert energy.shape == ()
    assert float(energy) == pytest.approx(float(morse(MORSE, graph)[0]), rel=1e-6)


def test_gradient_into_the_parameters():
    R = jnp.array([[0.0, 0, 0], [1.2, 0, 0]])
    energy_fn = md.energy_fn(morse, MORSE, [6, 6])
    assert float(jax.grad(lambda p: energy_fn(R, params=p))(MORSE)["D"]) == pytest.approx(-1.0, rel=1e-5)


@pytest.mark.filterwarnings("ignore:Explicitly requested dtype float64")  # jax-md's thermostat
@pytest.mark.parametrize("name", ["nve", "nvt_nose_hoover", "nvt_langevin", "fire"])
def test_jax_md_takes_it(name):
    displacement_fn, shift_fn = space.free()
    graph = md.relax(morse, MORSE, [cluster(4)]).graphs[0]
    energy_fn = md.energy_fn(morse, MORSE, graph.nodes.species, displacement_fn)
    R, key = jnp.asarray(graph.nodes.positions), jax.random.key(0)
    if name == "fire":
        init, apply = minimize.fire_descent(energy_fn, shift_fn)
        state = init(R * 1.1)
    else:
        make = getattr(simulate, name)
        init, apply = make(energy_fn, shift_fn, 0.01, *(() if name == "nve" else (0.02,)))
        state = init(key, R, **({"kT": 0.02} if name == "nve" else {}))
    state = jax.lax.fori_loop(0, 200, lambda _, s: apply(s), state)
    assert -24.0 - 1e-3 < float(energy_fn(state.position)) < -23.0


def test_nve_keeps_the_total_energy():
    _, shift_fn = space.free()
    graph = md.relax(morse, MORSE, [cluster(4)]).graphs[0]
    energy_fn = md.energy_fn(morse, MORSE, graph.nodes.species)
    init, apply = simulate.nve(energy_fn, shift_fn, 0.005)
    state = init(jax.random.key(1), jnp.asarray(graph.nodes.positions), kT=0.1)

    def total(s):
        return float(energy_fn(s.position) + jnp.sum(s.momentum**2 / 2 / s.mass))

    later = jax.lax.fori_loop(0, 500, lambda _, s: apply(s), state)
    assert float(jnp.abs(later.position - state.position).max()) > 0.01
    assert total(later) == pytest.approx(total(state), abs=2e-3)


@pytest.mark.parametrize("fractional", [False, True])
def test_periodic_box_is_the_graph_with_images(fractional):
    box, rng = np.array([6.5, 7.0, 8.0], np.float32), np.random.default_rng(0)
    R = rng.uniform(size=(12, 3)) * box
    R[0] += box  # an atom outside the box
    graph = make_graph(np.full(12, 29), R, cell=np.diag(box), cutoff=3.0)
    if fractional:
        displacement_fn, _ = space.periodic_general(jnp.diag(jnp.asarray(box)), fractional_coordinates=True)
    else:
        displacement_fn, _ = space.periodic(jnp.asarray(box))
    energy_fn = md.energy_fn(SHORT, jnp.float32(1.0), graph.nodes.species, displacement_fn)
    found = energy_fn(jnp.asarray(R / box if fractional else R))
    free = md.energy_fn(SHORT, jnp.float32(1.0), graph.nodes.species)(jnp.asarray(R))
    assert float(found) == pytest.approx(float(smooth(1.0, graph)[0]), rel=1e-4)
    assert abs(float(found - free)) > 0.1


def test_the_box_carries_gradients():
    box, h = jnp.float32(6.5), 1e-2
    displacement_fn, _ = space.periodic_general(box, fractional_coordinates=True)
    R = jnp.asarray(np.random.default_rng(1).uniform(size=(8, 3)))
    energy_fn = md.energy_fn(SHORT, jnp.float32(1.0), np.full(8, 29), displacement_fn)
    slope = jax.grad(lambda b: energy_fn(R, box=b))(box)
    up, down = (
        float(smooth(1.0, make_graph(np.full(8, 29), R * b, cell=b * np.eye(3), cutoff=3.0))[0])
        for b in (box + h, box - h)
    )
    assert float(slope) == pytest.approx((up - down) / (2 * h), rel=1e-2)


def test_a_box_too_small_for_the_cutoff_is_refused():
    with pytest.raises(ValueError, match="half the periodic box"):
        md.energy_fn(SHORT, 1.0, [29], space.periodic(jnp.array([9.0, 5.9, 9.0]))[0])
    with pytest.raises(ValueError, match="must have a cutoff"):
        md.energy_fn(morse, MORSE, [29], space.periodic(jnp.array(9.0))[0])


def test_a_box_that_has_shrunk_below_twice_the_cutoff_gives_nan(x64):
    """Not the energy of the nearest images alone; a box exactly as long is taken."""
    displacement_fn, _ = space.periodic_general(8.0 * jnp.eye(3))
    R = jnp.asarray(np.random.default_rng(1).uniform(size=(4, 3)))
    compute = jax.jit(jax.value_and_grad(md.energy_fn(SHORT, 1.0, np.full(4, 29), displacement_fn)))
    slanted = jnp.array([[7.0, 5.0, 0.0], [0.0, 7.0, 0.0], [0.0, 0.0, 7.0]])
    for box in (5.9, [8.0, 5.9, 8.0], slanted):
        value, gradient = compute(R, box=jnp.asarray(box))
        assert np.isnan(value) and np.isnan(gradient).all()
    value, _ = compute(R, box=jnp.asarray(6.0))
    exact = smooth(1.0, make_graph(np.full(4, 29), 6.0 * R, cell=6.0 * np.eye(3), cutoff=3.0))
    assert float(value) == pytest.approx(float(exact[0]), rel=1e-10)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"R must have shape \(2, 3\)"):
        md.energy_fn(morse, MORSE, [6, 6])(jnp.zeros((3, 3)))


TRICLINIC = np.array([[4.0, 0.0, 0.0], [1.2, 3.6, 0.0], [-0.5, 0.8, 5.0]])
CRYSTALS = {
    "one atom": (bulk("Al", "fcc", a=2.6).cell.array, np.zeros((1, 3))),  # 1.5 Å between faces
    "triclinic": (TRICLINIC, np.random.default_rng(0).uniform(0, 3, (3, 3))),
    "large": (2.1 * TRICLINIC, np.random.default_rng(1).uniform(0, 7, (8, 3))),
}
STRESS = jax.jit(jphys.energy_forces_stress(smooth))


@pytest.mark.parametrize("fractional", [True, False])
@pytest.mark.parametrize("name", list(CRYSTALS))
def test_a_box_of_any_size_is_the_graph_with_all_images(x64, name, fractional):
    """Energy, forces, stress, also of atoms outside the box; numpy finds the images of the graph."""
    cell, positions = CRYSTALS[name]
    species = np.full(len(positions), 29)
    expected = STRESS(1.0, make_graph(species, positions, cell=cell, cutoff=3.0))
    energy_fn = md.energy_fn(SHORT, 1.0, species, box=cell.T, fractional_coordinates=fractional)
    outside = positions + np.random.default_rng(2).integers(-2, 3, positions.shape) @ cell

    @jax.jit
    def compute(R):
        value, gradient = jax.value_and_grad(energy_fn)(R)
        return value, -gradient, -quantity.stress(energy_fn, R, jnp.asarray(cell.T))

    assert abs(expected[0][0]) > 0.1
    for R in (positions, outside):
        found = compute(jnp.asarray(R @ np.linalg.inv(cell) if fractional else R))
        for one, other in zip(found, (expected[0][0], expected[1], expected[2][0])):
            np.testing.assert_allclose(one, other, atol=1e-10)


def test_a_box_may_shrink_to_four_fifths():
    """As it does under `npt_nose_hoover`; far below, energy and forces are NaN, not those of fewer images."""
    cell, positions = CRYSTALS["triclinic"]
    R = jnp.asarray(positions @ np.linalg.inv(cell), jnp.float32)
    compute = jax.jit(jax.value_and_grad(md.energy_fn(SHORT, jnp.float32(1.0), [29] * 3, box=cell.T)))
    for factor in (0.81, 1.3):
        smaller = make_graph([29] * 3, factor * positions, cell=factor * cell, cutoff=3.0)
        value, gradient = compute(R, box=jnp.asarray(factor * cell.T, jnp.float32))
        energy, forces, _ = STRESS(1.0, smaller)
        assert float(value) == pytest.approx(float(energy[0]), rel=1e-5)
        np.testing.assert_allclose(-gradient, forces, atol=1e-4)
    value, gradient = compute(R, box=jnp.asarray(0.3 * cell.T, jnp.float32))
    assert np.isnan(value) and np.isnan(gradient).all()


def test_bonds_in_a_box_are_those_of_the_nearest_image():
    box, R = 6.5 * np.ones(3), jnp.array([[0.2, 0.0, 0.0], [5.9, 0.0, 0.0]])
    bonded, plain = (
        md.energy_fn(SHORT, jnp.float32(1.0), [6, 6], box=box, bonds=bonds)(R)
        for bonds in ([(0, 1, 2)], None)
    )
    assert float(bonded - plain) == pytest.approx(2.0, rel=1e-5)


@pytest.mark.parametrize("length", [6.5, 6.0, 5.9])
def test_bonds_in_a_small_box_have_one_energy_or_none(length):
    """By graph, by the Calculator, over images and over lists, which reach farther than the cutoff."""
    atoms = Atoms("CC", [[0.2, 0.0, 0.0], [length - 0.6, 0.0, 0.0]], cell=[length] * 3, pbc=True)
    one, bonds, R = jnp.float32(1.0), [(0, 1, 2)], jnp.asarray(atoms.positions, jnp.float32)
    given = {"box": atoms.cell.lengths(), "bonds": bonds}

    def listed():
        lists, energy = jphys.energy_neighbor_list(SHORT, one, atoms.numbers, **given)
        return energy(R, lists.allocate(R))

    def calculated():
        atoms.calc = jphys.Calculator(SHORT, one, bonds=bonds)
        return atoms.get_potential_energy()

    expected = float(smooth(one, make_graph(atoms.numbers, R, cell=atoms.cell.array, cutoff=3.0))[0]) + 2.0
    for compute in (
        lambda: smooth(one, from_ase(atoms, cutoff=3.0, bonds=bonds))[0],
        calculated,
        listed,
        lambda: jphys.energy_fn(SHORT, one, atoms.numbers, **given)(R),
    ):
        if length < 6.0:
            with pytest.raises(ValueError, match="bonds must not be given for a box this small"):
                compute()
        else:
            assert float(compute()) == pytest.approx(expected, rel=1e-5)


def test_bonds_in_a_box_that_shrinks_too_far_are_no_more_told_apart():
    R, bonds = jnp.array([[0.1, 0.0, 0.0], [0.9, 0.0, 0.0]]), [(0, 1, 2)]
    given = {"box": 6.5, "bonds": bonds, "fractional_coordinates": True}
    energy = jphys.energy_fn(SHORT, jnp.float32(1.0), [6, 6], **given)
    lists, _ = jphys.energy_neighbor_list(SHORT, jnp.float32(1.0), [6, 6], **given)
    for box, told in ((6.1, True), (5.9, False)):
        assert np.isfinite(energy(R, box=jnp.float32(box))) == told
        found = lists.allocate(R).update(R, box=jnp.float32(box))
        assert bool(found.did_buffer_overflow) != told


def test_bad_boxes_are_named():
    with pytest.raises(ValueError, match="box must be a length"):
        md.energy_fn(SHORT, 1.0, [29], box=np.zeros((3, 3)))
    with pytest.raises(ValueError, match="potential must have a cutoff"):
        md.energy_fn(morse, MORSE, [29], box=9.0)
    with pytest.raises(ValueError, match="fractional_coordinates must not be set in free space"):
        md.energy_fn(SHORT, 1.0, [29], fractional_coordinates=True)
    with pytest.raises(ValueError, match=r"R must have shape \(1, 3\)"):
        md.energy_fn(SHORT, 1.0, [29], box=2.0)(jnp.zeros((2, 3)))


def test_free_space_is_strained_and_has_no_box():
    """dE/dε of two atoms along x is the virial r·E'(r), and a box that nobody has is refused."""
    pair = make_graph([6, 6], [[0, 0, 0], [1.5, 0, 0]])
    R = jnp.asarray(pair.nodes.positions)
    energy_fn = md.energy_fn(morse, MORSE, pair.nodes.species)

    def strained(strain):
        return energy_fn(R, perturbation=jnp.eye(3) + strain)

    slope = jax.grad(lambda r: energy_fn(jnp.array([[0.0, 0, 0], [1.0, 0, 0]]) * r))(1.5)
    expected = np.zeros((3, 3))
    expected[0, 0] = 1.5 * float(slope)
    np.testing.assert_allclose(jax.grad(strained)(jnp.zeros((3, 3))), expected, atol=1e-5)
    same = md.energy_fn(morse, MORSE, pair.nodes.species, space.free()[0])
    strain = jnp.eye(3).at[0, 0].set(1.1)
    assert float(same(R, perturbation=strain)) == pytest.approx(float(energy_fn(R, perturbation=strain)))
    for free in (energy_fn, same):
        with pytest.raises(ValueError, match="box must not be given in free space"):
            free(R, box=10.0)
