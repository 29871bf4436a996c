"""Bands on surfaces whose passes are known, and beside ASE's."""

import functools
import os
from typing import Any

import ase.mep
import ase.optimize
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import add_adsorbate, bulk, fcc100, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.constraints import FixAtoms
from known_surfaces import (
    CUTOFF,
    EMT_CUTOFF,
    EPSILON,
    ONSET,
    SIGMA,
    WELLS,
    as_potential,
    at,
    copper,
    lennard_jones,
    muller_brown,
)

import jphys
from jphys import MessagePassingConfig, lanes, make_potential, ops
from jphys.bfgs import Bfgs
from jphys.evaluation import energies
from jphys.graph import from_ase, make_graph, with_positions
from jphys.md import Fire
from jphys.paths import neb, straight
from jphys.paths.nudging import _difference

F32 = functools.partial(np.array, dtype=np.float32)
PASSES = {
    (0, 2): 1.06035,
    (0, 1): 1.06035,
    (2, 1): 0.35919,
}  # −0.40665 and −0.72249, above −1.46700, −1.08167


@pytest.fixture(scope="module")
def passes():
    """The bands between all wells at once, on the surface of Müller and Brown."""
    bands = [(at(WELLS[a]), at(WELLS[b])) for a, b in PASSES]
    return neb(muller_brown, jnp.float32(1.0), bands, images=9, fmax=0.01, relax_ends=True, n_lanes=2)


def test_it_finds_the_passes_of_muller_and_brown(passes):
    assert passes.converged.all()
    np.testing.assert_allclose(passes.barrier, list(PASSES.values()), atol=2e-4)
    assert passes.reverse_barrier[0] == pytest.approx(1.08167 - 0.40665, abs=2e-4)
    place = passes.saddle[0].nodes.positions[0]
    np.testing.assert_allclose(place, [-0.822, 0.624, 0.0], atol=5e-3)


def test_forward_and_back_are_one_path():
    forth, back = neb(
        muller_brown,
        jnp.float32(1.0),
        [(at(WELLS[0]), at(WELLS[1])), (at(WELLS[1]), at(WELLS[0]))],
        images=9,
        fmax=0.01,
        relax_ends=True,
    ).energies
    np.testing.assert_allclose(forth, back[::-1], atol=2e-3)


def test_an_atom_that_is_fixed_stays_and_its_force_counts_for_nothing():
    """On a slope beside the others: the highest image climbs all the same."""
    ends = [(at(WELLS[a], (0.3, 0.6)), at(WELLS[b], (0.3, 0.6))) for a, b in PASSES]
    found = neb(
        muller_brown,
        *(jnp.float32(1.0), ends),
        images=9,
        fmax=0.01,
        relax_ends=True,
        fixed=[np.array([False, True])] * 3,
    )
    assert found.converged.all() and found.ends_at_rest.all()
    np.testing.assert_allclose(found.barrier, list(PASSES.values()), atol=2e-4)
    for graph in found.images[1]:
        np.testing.assert_array_equal(graph.nodes.positions[1], F32([0.3, 0.6, 0.0]))


def test_bands_of_mixed_size_do_not_feel_each_other():
    """Two atoms in one band, one in the other, and one image in a third call."""
    bands = [(at(WELLS[0], WELLS[2]), at(WELLS[1], WELLS[2])), (at(WELLS[0]), at(WELLS[1]))]
    found = neb(muller_brown, jnp.float32(1.0), bands, images=9, fmax=0.01, relax_ends=True)
    assert found.converged.all()
    np.testing.assert_allclose(found.barrier, PASSES[0, 1], atol=2e-4)
    one = neb(muller_brown, jnp.float32(1.0), bands[1:], images=1, fmax=0.01, relax_ends=True)
    assert one.converged.all() and one.barrier[0] == pytest.approx(PASSES[0, 1], abs=2e-4)


@pytest.mark.usefixtures("x64")
def test_in_double_precision():
    first, last = (at(WELLS[0]), at(WELLS[2]))
    exact = [
        g._replace(nodes=g.nodes._replace(positions=np.asarray(g.nodes.positions, np.float64)))
        for g in (first, last)
    ]
    found = neb(muller_brown, jnp.float64(1.0), [exact], images=5, fmax=1e-6, max_steps=3000)
    assert found.converged.all() and found.saddle[0].nodes.positions.dtype == np.float64


def test_no_step_and_ends_that_do_not_come_to_rest():
    band = (at(WELLS[0]), at((0.5, 0.2)))
    still = neb(muller_brown, jnp.float32(1.0), [band], max_steps=0)
    assert still.status.tolist() == ["max_steps"] and still.n_steps.tolist() == [0]
    slow = neb(muller_brown, jnp.float32(1.0), [band], images=3, fmax=0.3, max_steps=2, relax_ends=True)
    assert slow.ends_at_rest.tolist() == [[True, False]] and not slow.converged.any()


def test_without_climbing_the_highest_image_stays_below_the_pass():
    bands = [(at(WELLS[0]), at(WELLS[2]))]
    settings = {"images": 5, "fmax": 0.01, "relax_ends": True, "spring": 3.0}
    low = neb(muller_brown, jnp.float32(1.0), bands, climb=False, **settings)
    high = neb(muller_brown, jnp.float32(1.0), bands, **settings)
    assert low.barrier[0] < high.barrier[0] - 0.01 and high.barrier[0] == pytest.approx(1.06035, abs=2e-4)


def vacancy():
    """Two crystals with a vacancy; between them a neighbour hops into it, across the boundary of the cell."""
    crystal = bulk("Cu", a=3.55, cubic=True) * (2, 2, 2)
    first = crystal[1:]
    hopping = int(np.argmin(np.linalg.norm(first.positions - [5.325, 5.325, 0.0], axis=1)))
    last = first.copy()
    last.positions[hopping] = 0.0
    return first, last


def barrier_of_ase(first, last, calculator, images, fmax):
    chain = [first.copy() for _ in range(images + 1)] + [last.copy()]
    for atoms in chain:
        atoms.calc = calculator()
    for atoms in (chain[0], chain[-1]):
        ase.optimize.BFGS(atoms, logfile=os.devnull).run(fmax=fmax)
    band = ase.mep.NEB(chain, k=1.0, climb=True, method="improvedtangent", allow_shared_calculator=False)
    band.interpolate(mic=True)
    chain_of_images: Any = band  # which ASE's optimisers take for atoms
    ase.optimize.FIRE(chain_of_images, logfile=os.devnull).run(fmax=fmax, steps=500)
    energies = [atoms.get_potential_energy() for atoms in chain]
    return max(energies) - energies[0]


def lj():
    return LennardJones(epsilon=EPSILON, sigma=SIGMA, rc=CUTOFF, ro=ONSET, smooth=True)


def test_a_vacancy_hops_over_the_barrier_that_ase_finds():
    first, last = vacancy()
    bands = [tuple(from_ase(atoms, cutoff=CUTOFF) for atoms in (first, last))]
    found = neb(
        as_potential(lennard_jones), jnp.float32(EPSILON), bands, images=3, fmax=0.02, relax_ends=True
    )
    assert found.converged.all() and found.barrier[0] > 0.1
    assert found.barrier[0] == pytest.approx(barrier_of_ase(first, last, lj, 3, 0.02), abs=1e-3)
    assert found.barrier[0] == pytest.approx(found.reverse_barrier[0], abs=1e-3)


def test_a_first_guess_is_taken_and_images_that_outgrow_their_edges_get_new_ones(monkeypatch):
    """The hopping atom takes a detour of 0.8 Å first: farther than edges reach beyond the cutoff."""
    surface = as_potential(lennard_jones), jnp.float32(EPSILON)
    first, last = vacancy()
    graphs = [from_ase(atoms, cutoff=CUTOFF) for atoms in (first, last)]
    ends = jphys.relax(surface[0], surface[1], graphs, fmax=0.02).graphs
    chain = straight(ends[0].nodes.positions, ends[1].nodes.positions, 3, cell=first.cell.array)
    hopping = np.argmax(np.linalg.norm(chain[2] - chain[0], axis=1))
    chain[1:-1, hopping, 2] += 0.8
    guess = [with_positions(ends[0], place.astype(np.float32)) for place in chain]
    direct = neb(surface[0], surface[1], [ends], images=3, fmax=0.02)
    runs = []
    run = lanes.run
    monkeypatch.setattr(lanes, "run", lambda *a, **k: runs.append(1) or run(*a, **k))
    found = neb(surface[0], surface[1], [guess], images=3, fmax=0.02)
    assert len(runs) > 2  # one for each stage, and more for new edges
    assert found.converged.all() and found.barrier[0] == pytest.approx(direct.barrier[0], abs=1e-3)


def adatom():
    """An atom of copper in one hollow of a (100) face and in the next, across the boundary of the cell."""
    first = fcc100("Cu", (3, 3, 2), a=3.61)
    add_adsorbate(first, "Cu", 1.7, "hollow", offset=2)
    first.center(axis=2, vacuum=4.0)
    first.pbc = True
    last = first.copy()
    last.positions[-1, 0] -= 2 * first.cell.array[0, 0] / 3
    return first, last


def test_an_adatom_hops_over_the_barrier_that_ase_finds():
    """Its own effective medium theory against ours; the lower layer is fixed."""
    first, last = adatom()
    graphs = [from_ase(atoms, cutoff=EMT_CUTOFF) for atoms in (first, last)]
    surface = as_potential(copper, EMT_CUTOFF), jnp.float32(1.0)
    held = first.positions[:, 2] < first.positions[:, 2].min() + 0.5
    settings = {"images": 3, "fmax": 0.02, "relax_ends": True, "fixed": [held]}
    found = neb(surface[0], surface[1], [graphs], **settings)
    rattled = first.copy()
    rattled.rattle(0.05)
    rattled.calc = EMT()
    ours = jphys.energy_and_forces(copper)(1.0, from_ase(rattled, cutoff=EMT_CUTOFF))
    assert float(ours[0][0]) == pytest.approx(rattled.get_potential_energy(), abs=1e-4)
    np.testing.assert_allclose(ours[1], rattled.get_forces(), atol=1e-4)
    for atoms in (first, last):
        atoms.set_constraint(FixAtoms(mask=held))
    expected = barrier_of_ase(first, last, EMT, 3, 0.02)
    assert found.converged.all() and found.barrier[0] == pytest.approx(expected, abs=5e-3)
    assert found.barrier[0] > 0.3 and found.peak[0] == 2
    places = [graph.nodes.positions for graph in found.images[0]]
    np.testing.assert_array_equal(places[2][held], places[0][held])


@pytest.fixture(scope="module")
def umbrella(pretrained, calculator, at_rest):
    """Ammonia at rest, its mirror image, and the energy of the flat molecule above it."""
    (start,) = at_rest("NH3")
    flat = molecule("NH3")
    flat.positions[:, 2] = 0.0
    flat.calc = calculator
    assert (
        ase.optimize.BFGS(flat, logfile=None).run(fmax=0.002, steps=200)
        and np.abs(flat.positions[:, 2]).max() < 1e-3
    )
    mirrored = with_positions(start, start.nodes.positions * F32([1, 1, -1]))
    low, high = energies(pretrained[0], pretrained[1], [start, from_ase(flat)])
    return start, mirrored, high - low


def test_ammonia_turns_over_through_its_plane(pretrained, umbrella):
    first, last, height = umbrella
    found = neb(pretrained[0], pretrained[1], [(first, last)], progress=True)
    assert found.converged.all() and found.method.tolist() == ["bfgs"] and found.n_steps[0] < 20
    assert found.barrier[0] == pytest.approx(height, abs=2e-3) and found.peak[0] == 4
    np.testing.assert_allclose(found.energies[0], found.energies[0, ::-1], atol=5e-3)


def test_what_bfgs_does_not_bring_to_its_path_is_begun_anew_by_fire(pretrained, umbrella, monkeypatch):
    first, last, height = umbrella
    monkeypatch.setattr("jphys.paths.nudging.FIRST_TRY", 1)
    chain = straight(first.nodes.positions, last.nodes.positions, 7)
    chain[1:-1] += 0.05 * np.random.default_rng(0).normal(size=chain[1:-1].shape)
    guess = [with_positions(first, place.astype(np.float32)) for place in chain]
    found = neb(pretrained[0], pretrained[1], [(first, last), guess])
    assert found.converged.all() and "fire" in found.method
    np.testing.assert_allclose(found.barrier, height, atol=5e-3)
    given_up = neb(pretrained[0], pretrained[1], [guess], max_steps=3)
    assert given_up.status.tolist() == ["max_steps"] and given_up.n_steps.tolist() == [3]
    assert given_up.fmax[0] > 0.05 and not given_up.converged.any()


@pytest.mark.parametrize("method", ["auto", "fire"])
def test_another_call_compiles_nothing(fresh, counting, method):
    """Other molecules, numbers and thresholds."""
    potential, traces = counting(fresh[0])
    starts = [from_ase(molecule(name)) for name in ("CH3OH", "NH3", "N2H4")]
    turned = [with_positions(graph, graph.nodes.positions * F32([1, 1, -1])) for graph in starts]
    bands = list(zip(starts, turned))
    neb(potential, fresh[1], bands, images=2, max_steps=35, fmax=1e-4, method=method)
    traces.clear()
    neb(
        potential,
        fresh[1],
        bands[1:],
        images=2,
        max_steps=40,
        fmax=2e-4,
        spring=2.0,
        climb=False,
        method=method,
    )
    assert traces == []


def test_nowhere_is_said_and_nothing_gives_nothing():
    def broken(params, graph):
        x = ops.sum_over_graphs(graph.nodes.positions[:, 0], graph)
        return jnp.where(x < 0.2, jnp.nan, muller_brown(params, graph))

    found = neb(
        broken, jnp.float32(1.0), [(at(WELLS[2]), at((0.9, 0.1))), (at(WELLS[0]), at(WELLS[2]))], images=3
    )
    assert found.status[1] == "nonfinite" and np.isnan(found.energies[1]).any()
    none = neb(muller_brown, jnp.float32(1.0), [])
    assert none.energies.shape == (0, 9) and not len(none.status) and none.saddle == []


WATER, METHANE = (from_ase(molecule(name)) for name in ("H2O", "CH4"))


@pytest.mark.parametrize(
    ("bands", "wrong", "message"),
    [
        ([(WATER,)], {}, r"bands must hold 2 or images \+ 2 = 9 Graph each, got 1 GraphsTuple in band 0"),
        ([(WATER, WATER, WATER)], {}, "got 3 GraphsTuple in band 0"),
        ([(WATER, molecule("H2O"))], {}, "got 2 Atoms, GraphsTuple in band 0"),
        ([(WATER, WATER), (WATER, METHANE)], {}, "got other atoms in graph 1 of band 1"),
        (
            [(WATER, from_ase(molecule("H2O")[[1, 0, 2]]))],
            {},
            "got another order of atoms in graph 1 of band 0",
        ),
        ([(at(WELLS[0]), make_graph([1], np.zeros((1, 3), np.float32)))], {}, "got another cell in graph 1"),
        (
            [(WATER, with_positions(WATER, WATER.nodes.positions * np.nan))],
            {},
            "finite positions, .* graph 1 of band 0",
        ),
        (
            [(at(WELLS[0], WELLS[2]), at(WELLS[0], WELLS[0]))],
            {},
            "got other edges, which a plain function would not see, in graph 1",
        ),
        (
            [(at(WELLS[0]), at(WELLS[2]))],
            {"fixed": [np.array([True])]},
            "fixed atoms must have one place in all graphs, got several in band 0",
        ),
        ([(WATER, WATER)], {"bfgs": Bfgs()}, "bfgs must not be given where FIRE is taken"),
        ([(WATER, WATER)], {"method": "bfgs", "fire": Fire()}, "fire must not be given with the method bfgs"),
        ([(WATER, WATER)], {"images": 0}, "images must be at least 1, got 0"),
        ([(WATER, WATER)], {"spring": 0.0}, "spring must be positive and finite, got 0.0"),
        ([(WATER, WATER)], {"method": "cg"}, "method must be one of auto, fire, bfgs, got 'cg'"),
        ([(WATER, WATER)], {"start": "x"}, "start must be one of idpp, linear, got 'x'"),
        ([(WATER, WATER)], {"fmax": -1.0}, "fmax must be positive"),
        (
            [(WATER, WATER)],
            {"method": "bfgs", "images": 200},
            "at most 512 atoms in all images for bfgs, got 600",
        ),
    ],
)
def test_refusals(bands, wrong, message):
    with pytest.raises(ValueError, match=message):
        neb(muller_brown, jnp.float32(1.0), bands, **wrong)


def test_bonds_in_another_order_are_the_same_bonds():
    """`make_graph` lists the bonds of a cell by images."""
    water = molecule("H2O").positions.astype(np.float32)
    cell, bonds = 12 * np.eye(3), [(0, 1, 1), (0, 2, 1)]
    inside, across = (
        make_graph([8, 1, 1], place, cell=cell, cutoff=5.0, bonds=bonds)
        for place in (water + 5, (water - water[1] + F32([0, 0.1, 0])) % 12)
    )
    potential = make_potential(MessagePassingConfig())
    assert _difference(potential, inside, across) is None
    other = make_graph([8, 1, 1], water + 5, cell=cell, cutoff=5.0, bonds=bonds[:1])
    assert "other bonds" in (_difference(potential, inside, other) or "")
