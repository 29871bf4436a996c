"""Energies and forces of many structures: the numbers, and how often they are compiled."""

import jax
import numpy as np
import pytest
from ase.build import molecule
from known_surfaces import springs
from numpy.testing import assert_allclose

from jphys.evaluation import Program, energies, evaluate
from jphys.graph import from_ase

STRENGTH = 2.0


@pytest.fixture(scope="module")
def molecules():
    """Nine molecules of 2 to 12 atoms, large and small ones mixed."""
    names = ("CH4", "C6H6", "H2O", "CH3CH2OH", "N2", "C4H4O", "NH3", "HCN", "C2H6")
    return [from_ase(molecule(name)) for name in names]


def traced(function):
    """The function, and a list that grows by one whenever it is compiled anew."""
    shapes = []

    def watched(params, graph):
        shapes.append(len(graph.senders))
        return function(params, graph)

    return watched, shapes


def over(program: Program, graphs, chunk=4) -> np.ndarray:
    found = [np.asarray(out)[: len(sizes)] for out, sizes in program.over(STRENGTH, graphs, chunk)]
    return np.concatenate([np.zeros(0), *found])


@pytest.mark.parametrize("chunk", [1, 4, 64])
def test_batches_give_what_single_graphs_give(molecules, chunk):
    alone = [
        jax.value_and_grad(lambda x, g=g: springs(STRENGTH, moved(g, x))[0])(g.nodes.positions)
        for g in molecules
    ]
    energy, forces = evaluate(springs, STRENGTH, molecules, chunk=chunk)
    assert_allclose(energy, [float(one) for one, _ in alone], rtol=1e-5)
    assert_allclose(np.concatenate(forces), -np.concatenate([slope for _, slope in alone]), atol=1e-4)
    assert_allclose(energies(springs, STRENGTH, molecules, chunk=chunk), energy, rtol=1e-6)


def moved(graph, positions):
    return graph._replace(nodes=graph.nodes._replace(positions=positions))


def test_no_graphs_have_no_energies():
    energy, forces = evaluate(springs, STRENGTH, [])
    assert energy.shape == (0,) and forces == []


def test_a_small_set_after_a_large_one_compiles_nothing(molecules):
    function, shapes = traced(springs)
    program = Program(function)
    all_of_them = over(program, molecules)
    assert len(shapes) == 1
    assert_allclose(over(program, molecules[2:4]), all_of_them[2:4], rtol=1e-6)
    assert_allclose(over(program, molecules[4:5]), all_of_them[4:5], rtol=1e-6)
    assert len(shapes) == 1


def test_many_small_sets_compile_their_own_shape(molecules):
    """Padding that was paid for again and again ends with one compilation, and with no second one."""
    function, shapes = traced(springs)
    program = Program(function, spare=700)  # a little more than the padding of two calls
    over(program, molecules)
    for _ in range(8):
        over(program, molecules[2:3])
    assert len(shapes) == 2 and shapes[1] < shapes[0]
    assert len(program.rooms.known) == 2


def test_a_larger_set_gets_a_larger_shape(molecules):
    function, shapes = traced(springs)
    program = Program(function)
    small = over(program, molecules[2:3])
    assert_allclose(over(program, molecules, chunk=9)[2:3], small, rtol=1e-6)
    assert len(shapes) == 2 and shapes[1] > shapes[0]
