"""A user's own file, written by ASE: energies, forces, cells, and everything that can be wrong with it."""

import ase.build
import ase.io
import numpy as np
import pytest
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator

from jphys.data import extxyz
from jphys.data.structures import graphs


def _labelled(atoms, **results):
    atoms = atoms.copy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


@pytest.fixture
def water():
    return ase.build.molecule("H2O")


def test_molecules_and_crystals_with_emt_labels(tmp_path):
    frames = []
    for atoms in (ase.build.bulk("Cu", cubic=True), ase.build.molecule("H2O")):
        atoms.rattle(0.05, seed=1)
        atoms.calc = EMT()
        frames.append(_labelled(atoms, energy=atoms.get_potential_energy(), forces=atoms.get_forces()))
    ase.io.write(tmp_path / "mine.extxyz", frames)
    structures = extxyz.load(tmp_path / "mine.extxyz")
    assert structures.name.tolist() == ["mine.extxyz:0", "mine.extxyz:1"]
    assert structures.n_atoms.tolist() == [4, 3]
    assert structures.species.tolist() == [29] * 4 + [8, 1, 1]
    assert structures.forces is not None
    np.testing.assert_allclose(structures.energy, [f.get_potential_energy() for f in frames], atol=1e-7)
    np.testing.assert_allclose(structures.forces, np.concatenate([f.get_forces() for f in frames]), atol=1e-7)
    np.testing.assert_allclose(structures.cell[0], frames[0].cell.array, atol=1e-7)
    assert not structures.cell[1].any()
    assert structures.n_bonds.tolist() == [0, 0]
    assert len(graphs(structures, cutoff=3.0)) == 2


def test_energies_alone_are_enough(tmp_path, water):
    ase.io.write(tmp_path / "a.xyz", [_labelled(water, energy=-5.0)] * 3, format="extxyz")
    structures = extxyz.load(tmp_path / "a.xyz")
    assert structures.forces is None
    assert structures.energy.tolist() == [-5.0] * 3


def test_other_formats_of_ase_are_read(tmp_path, water):
    ase.io.write(tmp_path / "a.traj", [_labelled(water, energy=-5.0, forces=np.ones((3, 3)))])
    structures = extxyz.load(tmp_path / "a.traj")
    assert structures.forces is not None
    np.testing.assert_array_equal(structures.forces, np.ones((3, 3)))


def _with(atoms, **changes):
    atoms = atoms.copy()
    for name, value in changes.items():
        setattr(atoms, name, value)
    return atoms


WRONG = {
    "no energy": (lambda w: w, "frame 1: a structure must have an energy"),
    "NaN energy": (lambda w: _labelled(w, energy=np.nan), "frame 1: energy must be finite"),
    "forces missing": (
        lambda w: _labelled(w, energy=1.0),
        "frame 1: forces must be in all frames or in none",
    ),
    "infinite force": (
        lambda w: _labelled(w, energy=1.0, forces=np.full((3, 3), np.inf)),
        "frame 1: forces must be finite",
    ),
    "NaN position": (
        lambda w: _labelled(_with(w, positions=np.full((3, 3), np.nan)), energy=1.0),
        "frame 1: positions must be finite",
    ),
    "partly periodic": (
        lambda w: _labelled(_with(w, pbc=(True, True, False), cell=[9, 9, 9]), energy=1.0),
        "frame 1: pbc must be all true or all false",
    ),
    "flat cell": (
        lambda w: _labelled(_with(w, pbc=True, cell=[9, 9, 0]), energy=1.0),
        "frame 1: cell must have a volume",
    ),
    "charged": (
        lambda w: _labelled(_with(w, info={"charge": 1}), energy=1.0),
        r"frame 1: info\['charge'\] must be 0 or absent",
    ),
    "no element": (lambda w: _labelled(_with(w, numbers=[0, 1, 1]), energy=1.0), "frame 1: species must be"),
    "two atoms on one spot": (
        lambda w: _labelled(_with(w, positions=w.positions[[0, 1, 1]] + [[0], [0], [1e-4]]), energy=1.0),
        "frame 1: atoms must be 0.001 Å apart or more, got 0.00017 Å between atoms 1 and 2",
    ),
    "an atom on the image of another": (
        lambda w: _labelled(
            _with(w, positions=[[0, 0, 0], [3, 0, 0], [0, 9, -9]], pbc=True, cell=[9, 9, 9]), energy=1.0
        ),
        "frame 1: atoms must be 0.001 Å apart or more, got 0 Å between atoms 0 and 2",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_frame_is_named(case, tmp_path, water):
    make, message = WRONG[case]
    good = _labelled(water, energy=-5.0, forces=np.zeros((3, 3)))
    ase.io.write(tmp_path / "mine.traj", [good, make(water), good])
    with pytest.raises(ValueError, match=message) as error:
        extxyz.load(tmp_path / "mine.traj")
    assert "mine.traj" in str(error.value)


def test_missing_empty_and_unreadable_files_are_named(tmp_path, water):
    with pytest.raises(FileNotFoundError, match=r"none\.xyz"):
        extxyz.load(tmp_path / "none.xyz")
    (tmp_path / "empty.xyz").write_text("")
    with pytest.raises(ValueError, match=r"empty\.xyz must hold at least one frame"):
        extxyz.load(tmp_path / "empty.xyz")
    (tmp_path / "poem.xyz").write_text("roses are red\nviolets are blue\n")
    with pytest.raises(ValueError, match=r"poem\.xyz, frame 0: must be readable by ASE"):
        extxyz.load(tmp_path / "poem.xyz")


def test_truncated_file_names_the_frame(tmp_path, water):
    path = tmp_path / "cut.extxyz"
    ase.io.write(path, [_labelled(water, energy=-5.0)] * 3)
    path.write_text("\n".join(path.read_text().splitlines()[:-2]) + "\n")
    with pytest.raises(ValueError, match=r"cut\.extxyz, frame \d: must be readable by ASE"):
        extxyz.load(path)


TEXTS = {
    "another name": ("force:R:3", "energy=-1.0", "column 'forces', got 'force': rename it to 'forces'"),
    "a prefix": ("REF_forces:R:3", "energy=-1.0", "column 'forces', got 'REF_forces'"),
    "capitals": ("DFT_Forces:R:3", "energy=-1.0", "column 'forces', got 'DFT_Forces'"),
    "both names": ("forces:R:3:ml_force:R:3", "energy=-1.0", "column 'forces', got 'ml_force'"),
    "one component": ("forces:R:1", "energy=-1.0", r"forces must have shape \(3, 3\), got shape \(3,\)"),
    "energy of another name": ("a:R:3", "Energy=-1.0", "got the keys: Energy"),
    "free energy": ("a:R:3", "free_energy=-1.0", "got the keys: free_energy"),
    "no energy at all": ("a:R:3", "", "got the keys: none"),
    "text for energy": ("a:R:3", "energy=abc", "energy must be a number, got 'abc'"),
    "truth for energy": ("a:R:3", "energy=T", "energy must be a number, got True"),
    "three energies": ("a:R:3", 'energy="1 2 3"', r"energy must be one number, got shape \(3,\)"),
}


@pytest.mark.parametrize("case", TEXTS)
def test_wrong_column_or_key_is_named(case, tmp_path):
    columns, key, message = TEXTS[case]
    row = "O 0.0 0.0 {} " + "0.1 " * sum(int(part) for part in columns.split(":")[2::3])
    head = ["3", f'Properties=species:S:1:pos:R:3:{columns} {key} pbc="F F F"']
    path = tmp_path / "mine.extxyz"
    path.write_text("\n".join([*head, *(row.format(z) for z in range(3))]) + "\n")
    with pytest.raises(ValueError, match=rf"mine\.extxyz, frame 0: .*{message}"):
        extxyz.load(path)
