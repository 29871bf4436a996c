"""Normal modes: of oscillators that are known, and as ASE finds them."""

import ase.vibrations
import numpy as np
import pytest
from ase.build import molecule
from ase.optimize import BFGS
from known_surfaces import springs

import jphys
from jphys.graph import from_ase, with_positions
from jphys.harmonic import frequencies, normal_modes
from jphys.reliability.vibrations import numerical_hessians


@pytest.fixture(scope="module")
def resting(pretrained, at_rest):
    """Formaldehyde and acetylene at rest, with their modes."""
    graphs = at_rest("H2CO", "C2H2")
    return graphs, jphys.vibrations(pretrained[0], pretrained[1], graphs)


def test_as_many_modes_as_a_molecule_has(resting):
    (bent, straight), (first, second) = resting
    assert len(first.wavenumbers) == 6 and len(second.wavenumbers) == 7
    for graph, found in ((bent, first), (straight, second)):
        n = len(graph.nodes.species)
        assert found.modes.shape == (len(found.wavenumbers), n, 3) and found.n_imaginary == 0
        assert (np.diff(found.wavenumbers) >= 0).all()


def test_modes_are_orthonormal_in_the_masses_and_hold_no_rigid_motion(resting):
    (graph, _), (found, _) = resting
    mass = molecule("H2CO").get_masses()
    overlap = np.einsum("kic,i,lic->kl", found.modes, mass, found.modes)
    np.testing.assert_allclose(overlap, np.eye(6), atol=1e-10)
    np.testing.assert_allclose(np.einsum("kic,i->kc", found.modes, mass), 0.0, atol=1e-5)
    turning = np.einsum("i,kic->kc", mass, np.cross(graph.nodes.positions, found.modes))
    np.testing.assert_allclose(turning, 0.0, atol=1e-4)


def test_as_ase_finds_them_by_differences(resting, pretrained):
    """Wavenumbers, and along which displacements."""
    (graph, _), (found, _) = resting
    atoms = molecule("H2CO")
    atoms.positions = graph.nodes.positions
    (hessian,) = jphys.hessians(pretrained[0], pretrained[1], [graph])
    theirs = ase.vibrations.VibrationsData(atoms, hessian.astype(float))
    waves = np.real(theirs.get_frequencies())[6:]
    np.testing.assert_allclose(found.wavenumbers, waves, atol=1.0)
    modes = theirs.get_modes(all_atoms=True)[6:]
    mass = atoms.get_masses()
    for ours, other in zip(found.modes, modes):
        shared = np.einsum("ic,i,ic", ours, mass, other)
        assert abs(shared) > 0.999
    assert found.zero_point == pytest.approx(theirs.get_zero_point_energy(), abs=2e-3)


def test_the_energy_rises_as_a_mode_says(resting, pretrained):
    """½ω²q² along a mode displaced by q √amu·Å."""
    (graph, _), (found, _) = resting
    energies = []
    for q in (-0.02, 0.0, 0.02):
        moved = graph.nodes.positions + (q * found.modes[3]).astype(np.float32)
        energies.append(float(pretrained[0].energy(pretrained[1], with_positions(graph, moved))[0]))
    omega = found.wavenumbers[3] / jphys.units.WAVENUMBER
    rise = 0.5 * (energies[0] + energies[2]) - energies[1]
    assert rise == pytest.approx(0.5 * omega**2 * 0.02**2, rel=0.05)


def test_many_molecules_at_once():
    """Of two sizes, each as alone by differences of its forces."""
    pair = jphys.make_graph([6, 8], [[0, 0, 0], [0, 0.66, 0.88]])
    corners = 1.1 / 3**0.5 * np.array([[np.cos(a), np.sin(a), 0] for a in 2 * np.pi * np.arange(3) / 3])
    triangle = jphys.make_graph([6, 6, 6], corners)
    found = jphys.vibrations(springs, 40.0, [pair, triangle, pair])
    assert [len(one.wavenumbers) for one in found] == [1, 3, 1]
    for graph, one in zip([pair, triangle, pair], found):
        (hessian,) = numerical_hessians(springs, 40.0, [graph])
        expected = frequencies(graph.nodes.species, graph.nodes.positions, hessian)
        np.testing.assert_allclose(one.wavenumbers, expected, rtol=2e-3)
    assert jphys.vibrations(springs, 40.0, []) == []


def test_what_is_straight_but_for_rounding_is_linear(pretrained, calculator):
    """HCN in any direction, relaxed from a bend: four modes, of which two are equal."""
    atoms = molecule("HCN")
    atoms.rotate(37, (1, 2, 3))
    atoms.rattle(0.02, seed=1)
    atoms.calc = calculator
    assert BFGS(atoms, logfile=None).run(fmax=0.002, steps=200)
    (found,) = jphys.vibrations(pretrained[0], pretrained[1], [from_ase(atoms)])
    assert len(found.wavenumbers) == 4 and found.n_imaginary == 0
    assert found.wavenumbers[0] == pytest.approx(found.wavenumbers[1], rel=0.02)


def test_an_atom_has_no_modes_and_no_zero_point_energy():
    alone = normal_modes([2], [[0.0, 0.0, 0.0]], np.zeros((3, 3)))
    assert alone.wavenumbers.shape == (0,) and alone.modes.shape == (0, 1, 3) and alone.zero_point == 0.0


def test_a_crystal_is_sent_to_phonons(pretrained):
    crystal = jphys.make_graph([6], [[0, 0, 0]], cell=4 * np.eye(3), cutoff=5.0)
    with pytest.raises(ValueError, match="phonons has crystals, got a cell at 0"):
        jphys.vibrations(pretrained[0], pretrained[1], [crystal])
    with pytest.raises(ValueError, match="graphs must be a sequence of Graph"):
        jphys.vibrations(pretrained[0], pretrained[1], crystal)  # pyright: ignore[reportArgumentType]
