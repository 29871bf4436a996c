"""Phonons: of springs, as the whole supercell swings, as ASE finds them, and for phonopy."""

import itertools

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.phonons import Phonons
from known_surfaces import EMT_CUTOFF, copper, per_graph

import jphys
from jphys import ops
from jphys.graph import from_ase
from jphys.units import INVERSE_CM, WAVENUMBER

K, A = 5.0, 4.0  # eV/Å², Å
NEAR = A / 2**0.5


def springs(params, graph):
    """½·K·(d − A/√2)² between nearest neighbours."""
    stretched = (ops.edge_distances(graph) - NEAR) ** 2
    return per_graph(0.25 * params * stretched * graph.edges.mask, graph)


@pytest.fixture(scope="module")
def alloy():
    """Four layers of copper and silver, each held by springs; two atoms per cell, two cells each way."""
    cell = Atoms(
        "CuAg", [[0, 0, 0], [A / 2, A / 2, 0]], cell=[[A, 0, 0], [0, A, 0], [A / 2, 0, A / 2]], pbc=True
    )
    return cell, jphys.phonons(springs, K, cell, supercell=(2, 2, 2), cutoff=0.5 * (NEAR + A))


def test_a_face_centred_crystal_of_springs():
    """Along (q, 0, 0): m ω² = 8 K sin²(qa/4) lengthwise, half of it across, twice."""
    crystal = bulk("Cu", a=A)
    found = jphys.phonons(springs, K, crystal, supercell=(4, 4, 4), cutoff=0.5 * (NEAR + A))
    x = np.array([0.0, 0.25, 0.4, 0.5, 1.0])  # 2π/a; half a unit of it is the period of the supercell
    q = np.outer(x, [1.0, 0, 0]) @ crystal.cell.array.T / A
    across = np.sqrt(4 * K / crystal.get_masses()[0]) * np.abs(np.sin(np.pi * x / 2)) * WAVENUMBER
    expected = np.stack([across, across, 2**0.5 * across], axis=1)
    np.testing.assert_allclose(found.wavenumbers(q), expected, atol=0.3)


def test_its_waves_are_the_modes_of_the_supercell(alloy):
    """At the wave vectors that fit into it: the same wavenumbers as those of all its atoms."""
    cell, found = alloy
    waves = found.wavenumbers(list(itertools.product((0.0, 0.5), repeat=3)))
    many = cell.repeat((2, 2, 2))
    (hessian,) = jphys.hessians(springs, K, [from_ase(many, cutoff=0.5 * (NEAR + A))])
    root = np.sqrt(np.repeat(many.get_masses(), 3))
    squares = np.linalg.eigvalsh(hessian.reshape(len(root), -1).astype(float) / np.outer(root, root))
    expected = np.sqrt(np.abs(squares)) * WAVENUMBER
    np.testing.assert_allclose(np.sort(waves.ravel()), np.sort(expected), atol=0.5)
    np.testing.assert_allclose(np.abs(waves[0, :3]), 0.0, atol=0.5)  # the whole crystal moves


def test_force_constants_add_up_to_nothing(alloy):
    """A crystal that moves as a whole feels no force; Φ(0i, Lj) = Φ(Lj, 0i) = Φ(0j, −Li)ᵀ."""
    _, found = alloy
    phi = found.force_constants
    np.testing.assert_allclose(phi.sum(axis=(2, 3, 4, 5)), 0.0, atol=1e-4)
    back = phi[:, :, *np.ix_(*[(-np.arange(n)) % n for n in found.supercell])]
    np.testing.assert_allclose(phi, np.einsum("iaxyzjb->jbxyzia", back), atol=1e-4)


def test_as_ase_finds_them_by_differences(tmp_path):
    """Effective medium theory of copper, at waves that fit into the supercell."""
    crystal, sizes = bulk("Cu", a=3.59), (3, 3, 3)
    found = jphys.phonons(copper, np.float32(1.0), crystal, supercell=sizes, cutoff=EMT_CUTOFF)
    theirs = Phonons(crystal, EMT(), supercell=sizes, delta=0.01, name=str(tmp_path / "phonons"))
    theirs.run()
    theirs.read(acoustic=True)
    q = np.array([[1, 0, 0], [1, 1, 0], [1, 2, 0], [1, 1, 1]]) / 3
    expected = np.asarray(theirs.band_structure(q, verbose=False)) / INVERSE_CM
    np.testing.assert_allclose(found.wavenumbers(q), expected, rtol=0.01)


def test_atoms_far_outside_their_cell_and_skewed_cells_are_the_same_crystal(alloy):
    cell, found = alloy
    q = [0.31, 0.07, 0.45]
    far = cell.copy()
    far.positions[1] += 7 * cell.cell[0] - 5 * cell.cell[2]
    moved = jphys.phonons(springs, K, far, supercell=(2, 2, 2), cutoff=0.5 * (NEAR + A))
    np.testing.assert_allclose(moved.wavenumbers(q), found.wavenumbers(q), atol=0.05)
    skewed = cell.copy()
    skewed.set_cell(cell.cell.array + [[0, 0, 0], 3 * cell.cell[0], [0, 0, 0]])
    same = jphys.phonons(springs, K, skewed, supercell=(2, 2, 2), cutoff=0.5 * (NEAR + A))
    wave = np.linalg.solve(cell.cell.array, q) @ skewed.cell.array.T  # the same wave vector of space
    np.testing.assert_allclose(same.wavenumbers(wave), found.wavenumbers(q), atol=0.05)


def test_for_phonopy(alloy, tmp_path):
    """All pairs of the supercell, whose atoms stand as phonopy has them: those of one site together, and of
    its cells the first index the fastest."""
    cell, found = alloy
    found.write_phonopy(tmp_path)
    lines = (tmp_path / "FORCE_CONSTANTS").read_text("utf-8").splitlines()
    assert lines[0] == "16 16" and len(lines) == 1 + 256 * 4
    blocks = np.array([[float(x) for x in line.split()] for line in lines[1:] if len(line.split()) == 3])
    order = np.array([index[::-1] for index in np.ndindex(2, 2, 2)])
    places = np.concatenate([position + order @ cell.cell.array for position in cell.positions])
    many = Atoms(np.repeat(cell.numbers, 8), places, cell=2 * cell.cell.array, pbc=True)
    (hessian,) = jphys.hessians(springs, K, [from_ase(many, cutoff=0.5 * (NEAR + A))])
    np.testing.assert_allclose(blocks.reshape(16, 16, 3, 3), hessian.transpose(0, 2, 1, 3), atol=1e-4)
    with pytest.raises(FileExistsError, match="folder must not have a POSCAR yet"):
        found.write_phonopy(tmp_path)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"supercell": (2, 2)}, "supercell must be three whole numbers from 1, got \\(2, 2\\)"),
        ({"supercell": (2, 0, 2)}, "supercell must be three whole numbers from 1"),
        ({"supercell": (2, 2, 2.5)}, "supercell must be three whole numbers from 1"),
        ({"supercell": 2}, "supercell must be three whole numbers from 1, got 2"),
        ({"supercell": (2, 2, 2), "cutoff": None}, "cutoff must be given for a function without one"),
    ],
)
def test_what_no_supercell_is(settings, message):
    with pytest.raises(ValueError, match=message):
        jphys.phonons(springs, K, bulk("Cu", a=A), **({"cutoff": 3.0} | settings))


def test_a_molecule_is_no_crystal():
    with pytest.raises(ValueError, match="atoms must be periodic in all directions, got pbc"):
        jphys.phonons(springs, K, Atoms("Cu"), supercell=(2, 2, 2), cutoff=3.0)
    with pytest.raises(ValueError, match="potential must not need bonds"):
        jphys.phonons(*jphys.load("vimpnn-qm9"), bulk("C", "diamond", a=3.57), supercell=(1, 1, 1))
