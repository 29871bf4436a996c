"""Scaled sets: geometry of a point, parts by shape, and a file that is whole, ours, or refused by name."""

import dataclasses
import json

import numpy as np
import pytest
import scipy.spatial.transform

from jphys.data import augmented_qm9, crystals, growth, scaled, scaled_files
from jphys.data.qm9 import load_small
from jphys.data.scaled import CONVERGED, FAILED, NOT_ASKED, ScaledTable
from jphys.data.structures import Structures, take

PROVENANCE = {
    "engine": "none",
    "version": "0",
    "settings": {"σ": 1},
    "source": "made up",
    "licence": "CC0",
    "made_by": "test",
}
SCALES = np.array([0.9, 1.0, 1.2])
UNITS = {"energy": "eV", "pos": "pos_scale Å", "cell": "Å", "scales": "1"}


@pytest.fixture
def table():
    """Water with bonds, a crystal of one atom, a cluster of three; one point failed, one was not asked."""
    water = [[0.0, 0.0, 0.1], [0.75, 0.0, 0.7], [-0.75, 0.0, 0.7]]
    shapes = Structures(
        name=np.array(["water", "crystal", "cluster"]),
        n_atoms=np.array([3, 1, 3], np.int32),
        species=np.array([8, 1, 1, 13, 29, 29, 29], np.int32),
        positions=np.array([*water, [0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [3.5, 1.0, 1.0], [1.0, 4.0, 1.0]]),
        energy=np.full(3, np.nan),
        forces=None,
        cell=np.array([np.zeros((3, 3)), 2.0 * (1 - np.eye(3)), np.zeros((3, 3))]),
        n_bonds=np.array([2, 0, 0], np.int32),
        bonds=np.array([[0, 1, 1], [0, 2, 1]], np.int32),
    )
    status = np.full((3, 3), CONVERGED, np.uint8)
    status[0, 2], status[1, 0] = FAILED, NOT_ASKED
    energy = np.where(status == CONVERGED, -np.arange(9.0).reshape(3, 3) / 7, np.nan)
    return ScaledTable(shapes, SCALES, energy, status, PROVENANCE)


@pytest.fixture
def path(tmp_path, table):
    scaled_files.save(tmp_path / "set.npz", table)
    return tmp_path / "set.npz"


def rewritten(path, **changed):
    """The file again with arrays replaced, or removed where None."""
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files} | changed
    np.savez_compressed(path, **{key: value for key, value in arrays.items() if value is not None})


def test_points_are_scaled_and_named(path, caplog):
    with caplog.at_level("INFO"):
        found = scaled_files.load(path)
    assert len(found) == len(found.structures) == 7 and found.n_shape == 3
    assert (found.n_failed, found.n_not_asked) == (1, 1)
    assert "1 failed, 1 not calculated yet" in caplog.text
    assert found.structures.name.tolist() == [
        *("water@0.9000", "water@1.0000"),
        *("crystal@1.0000", "crystal@1.2000"),
        *("cluster@0.9000", "cluster@1.0000", "cluster@1.2000"),
    ]
    assert found.shape.tolist() == [0, 0, 1, 1, 2, 2, 2]
    np.testing.assert_allclose(found.scale, [0.9, 1, 1, 1.2, 0.9, 1, 1.2])
    assert found.provenance == PROVENANCE


def test_molecules_scale_about_the_centroid_and_crystals_with_their_cell(path):
    points = scaled_files.load(path).structures
    small, water = points.positions[:3], points.positions[3:6]
    np.testing.assert_allclose(small.mean(axis=0), water.mean(axis=0), atol=1e-12)
    np.testing.assert_allclose(small[1] - small[2], 0.9 * (water[1] - water[2]), atol=1e-12)
    np.testing.assert_allclose(points.cell[3], 1.2 * points.cell[2], atol=1e-12)
    assert not points.cell[[0, 1, 4, 5, 6]].any()


def test_spacing_is_bond_length_or_nearest_neighbour(path):
    found = scaled_files.load(path)
    bond = np.hypot(0.75, 0.6)
    np.testing.assert_allclose(found.spacing, [bond] * 2 + [np.sqrt(8)] * 2 + [2.5] * 3, atol=1e-9)


def test_spacing_in_a_skewed_cell():
    """The same crystal by another basis of its lattice: the nearest image is five cells away."""
    square = np.diag([4.0, 3.0, 9.0])
    skewed = np.array([[1, 0, 0], [5, 1, 0], [0, 0, 1]]) @ square
    atoms = np.array([[0.0, 0.0, 0.0], [2.0, 1.5, 4.0]])
    one = Structures(
        name=np.array(["a", "b"]),
        n_atoms=np.array([2, 1], np.int32),
        species=np.array([29, 29, 29], np.int32),
        positions=np.concatenate([atoms, atoms[:1]]),
        energy=np.zeros(2),
        forces=None,
        cell=np.stack([skewed, skewed]),
        n_bonds=np.zeros(2, np.int32),
        bonds=np.zeros((0, 3), np.int32),
    )
    np.testing.assert_allclose(scaled.spacings(one), [3.0, 3.0], atol=1e-9)
    far = dataclasses.replace(
        one, cell=np.stack([np.array([[1, 0, 0], [5, 1, 0], [0, 0, 1]]) @ (2 * square)] * 2)
    )
    np.testing.assert_allclose(scaled.spacings(far), [np.sqrt(1.5**2 + 2**2 + 4**2), 6.0], atol=1e-9)


def test_file_keeps_every_array(path, table):
    again = scaled_files.read_table(path)
    for field in dataclasses.fields(Structures):
        before, after = getattr(table.shapes, field.name), getattr(again.shapes, field.name)
        if before is None or after is None:
            assert field.name == "forces" and before is after
        elif before.dtype.kind == "U":
            assert before.tolist() == after.tolist()
        else:
            np.testing.assert_allclose(after, before, atol=1e-9)
    np.testing.assert_allclose(again.energy, table.energy, atol=0.5e-5)
    np.testing.assert_array_equal(again.status, table.status)
    np.testing.assert_array_equal(again.scales, SCALES)


def test_same_table_gives_the_same_bytes(path, table, tmp_path):
    scaled_files.save(tmp_path / "again.npz", scaled_files.read_table(path))
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_take_shapes_numbers_them_anew(path):
    found = scaled.take_shapes(scaled_files.load(path), [2, 0])
    assert found.shape.tolist() == [0, 0, 0, 1, 1]
    assert found.structures.name.tolist()[0] == "cluster@0.9000"
    with pytest.raises(ValueError, match="shapes must be numbers from 0 to 2, got 3"):
        scaled.take_shapes(scaled_files.load(path), [3])


def test_no_shape_is_in_two_parts(path):
    found = scaled_files.load(path)
    parts = scaled.split_shapes(found, seed=0)
    shapes = [set(found.shape[part].tolist()) for part in parts]
    assert sorted(np.concatenate(parts).tolist()) == list(range(7))
    assert sum(map(len, shapes)) == len(set.union(*shapes)) == 3


def test_repeated_clusters_are_in_one_part():
    found = scaled.take_shapes(growth.load_stable(), np.arange(0, 4000, 25))  # 15 atoms are there 40 times
    first = scaled.first_alike(found)
    assert len(np.unique(first)) <= 122 < len(first) == 160
    np.testing.assert_array_equal(first[first], first)
    for seed in range(5):
        parts = [set(first[found.shape[part]].tolist()) for part in scaled.split_shapes(found, seed=seed)]
        assert sum(map(len, parts)) == len(set.union(*parts))


def test_a_part_without_a_shape_of_its_own_is_refused(table):
    """Five times the same molecule."""
    shapes = take(table.shapes, [0] * 5)
    curves = ScaledTable(shapes, SCALES, np.zeros((5, 3)), np.ones((5, 3), np.uint8), PROVENANCE)
    message = r"different shapes for every part, got none for \w+: 1 of 5 are different \(seed 0\)"
    with pytest.raises(ValueError, match=message):
        scaled.split_shapes(scaled.expand(curves), seed=0)


def test_a_turned_copy_is_the_same_shape_and_a_longer_bond_another(table):
    water = take(table.shapes, [0])
    moved = scipy.spatial.transform.Rotation.from_rotvec([0.3, 1.2, -0.5]).apply(water.positions) + 2.0
    positions = np.concatenate([water.positions, moved, 1.05 * water.positions, water.positions])
    species = np.tile(water.species, 4)
    species[9] = 16
    shapes = dataclasses.replace(take(table.shapes, [0] * 4), positions=positions, species=species)
    curves = ScaledTable(shapes, SCALES, np.zeros((4, 3)), np.ones((4, 3), np.uint8), PROVENANCE)
    assert scaled.first_alike(scaled.expand(curves)).tolist() == [0, 0, 2, 3]


def test_factor_must_be_positive(table):
    for bad in (-1.0, 0.0, np.inf, np.nan):
        with pytest.raises(ValueError, match=f"scales must be positive and finite, got {bad}"):
            scaled.scale_structures(table.shapes, [1.0, bad, 1.0])
    with pytest.raises(ValueError, match=r"scales must be 3, one for each structure, got \(1,\)"):
        scaled.scale_structures(table.shapes, [1.0])


def test_provenance_is_complete(tmp_path, table):
    with pytest.raises(ValueError, match="got none of the name licence"):
        incomplete = {key: value for key, value in PROVENANCE.items() if key != "licence"}
        scaled_files.save(tmp_path / "x.npz", dataclasses.replace(table, provenance=incomplete))
    assert list(tmp_path.iterdir()) == []


def test_a_name_is_one_line(tmp_path, table):
    names = dataclasses.replace(table.shapes, name=np.array(["water", "two\nlines", "cluster"]))
    with pytest.raises(ValueError, match=r"name must be one line for each shape, got 'two\\nlines'"):
        scaled_files.save(tmp_path / "x.npz", dataclasses.replace(table, shapes=names))
    assert list(tmp_path.iterdir()) == []


SETS = {
    augmented_qm9.load: augmented_qm9.DFT_FILE,
    crystals.load: crystals.FILE,
    growth.load_stable: growth.STABLE_FILE,
    growth.load_unstable: growth.DFT_FILE,
}


@pytest.mark.parametrize("load", SETS, ids=lambda load: f"{load.__module__}.{load.__name__}")
def test_a_file_of_another_set_is_refused(load):
    """Those in the package have no names: by cells, elements and scales."""
    for other, file in SETS.items():
        if other is not load:
            with pytest.raises(ValueError, match=rf"{file.name}: \S+ must (have|be) .*, got "):
                load(file)


def test_a_file_says_which_set_it_is(tmp_path):
    table = scaled_files.read_table(growth.DFT_FILE)
    named = table.provenance | {"set": scaled_files.UNSTABLE_GROWTH}
    scaled_files.save(tmp_path / "a.npz", dataclasses.replace(table, provenance=named))
    assert growth.load_unstable(tmp_path / "a.npz").n_shape == 24
    named["set"] = "another"
    scaled_files.save(tmp_path / "a.npz", dataclasses.replace(table, provenance=named))
    with pytest.raises(ValueError, match=r"a.npz: set must be crystal-growth-unstable, got another"):
        growth.load_unstable(tmp_path / "a.npz")


def test_missing_and_truncated_files_are_named(path):
    with pytest.raises(FileNotFoundError, match=r"none\.npz must be an npz file of scaled shapes"):
        scaled_files.load(path.with_name("none.npz"))
    whole = path.read_bytes()
    np.save(path.with_name("one.npy"), np.zeros(3))
    one_array = path.with_name("one.npy").read_bytes()
    for content in (whole[:-200], whole[:2000], b"", b"no archive", one_array):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"set\.npz must be a complete npz file, got its beginning"):
            scaled_files.load(path)
    path.write_bytes(whole[:1500] + bytes([whole[1500] ^ 255]) + whole[1501:])
    with pytest.raises(ValueError, match=r"set\.npz must be a complete npz file, got: "):
        scaled_files.load(path)


def u8(values):
    return np.array(values, np.uint8)


def header(**changed):
    record = {"format": scaled_files.FORMAT, "version": 1, "units": UNITS, "provenance": PROVENANCE} | changed
    return np.frombuffer(json.dumps(record).encode(), np.uint8)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"energy": None}, "set.npz must hold the arrays .*, misses energy"),
        ({"header": np.zeros(3, np.uint8)}, "set.npz: header must be JSON"),
        ({"header": header(format="other")}, "format must be 'jphys scaled shapes' version 1, got 'other' 1"),
        ({"header": header(version=2)}, "version 1, got 'jphys scaled shapes' 2"),
        ({"header": header(provenance={})}, "provenance must have .*, misses engine"),
        ({"header": header(units=UNITS | {"energy": "Hartree"})}, "units must be .*'eV'.*, got .*'Hartree'"),
        ({"header": header(units=None)}, "units must be .*, got None"),
        ({"pos": np.zeros((6, 3), np.int32)}, r"pos must have shape \(7, 3\), got \(6, 3\)"),
        ({"name": np.frombuffer(b"a\nb", np.uint8)}, "name must have a line for each of 3 shapes, got 2"),
        ({"scales": np.array([1.0, 0.9, 1.2])}, "scales must be positive and ascending"),
        ({"scales": np.array(1.0)}, r"scales must have shape \(1,\), got \(\)"),
        ({"z": np.zeros(7, np.uint8)}, "z must be from 1 to 94, got others"),
        ({"pos_scale": np.array(np.nan)}, "pos_scale must be positive, got others"),
        ({"cell": np.full((3, 3, 3), np.nan)}, "cell must be finite, got others"),
        ({"bonds": u8([[0, 1, 1], [0, 99, 1]])}, "bonds must join atoms of their shape, got others"),
        ({"bonds": u8([[0, 1, 1], [0, 2, 7]])}, "orders of bonds must be 1, 2 or 3, got others"),
        ({"bonds": u8([[0, 1, 1], [2, 2, 1]])}, "bonds must join two atoms, got others"),
        ({"bonds": np.array([[0, 1, 1], [0, -1, 1]])}, "bonds must be of type unsignedinteger, got int64"),
        ({"pos": np.zeros((7, 3))}, "pos must be of type signedinteger, got float64"),
        ({"energy": np.full((3, 3), "1.0")}, "energy must be of type floating, got <U3"),
        ({"n_atoms": u8([4, 0, 3])}, "n_atoms must be positive, got others"),
        ({"n_atoms": u8([[3, 1, 3]])}, r"n_atoms must have shape \(3,\), got \(1, 3\)"),
        ({"name": u8([255, 10, 97, 10, 97])}, "name must be text in UTF-8"),
        ({"scales": np.array([0.9, 1.0, np.inf])}, "scales must be finite, got others"),
        ({"pos_scale": np.array(np.inf)}, "pos_scale must be positive, got others"),
        ({"header": header(provenance="engine version")}, "header must be JSON with format, version and"),
        ({"status": np.full((3, 3), 3, np.uint8)}, "status must be 0, 1 or 2, got 3"),
        ({"status": np.ones((3, 3), np.uint8)}, "energy must be finite where status is 1 .* got nan"),
    ],
)
def test_foreign_files_are_refused_by_name(path, changed, message):
    rewritten(path, **changed)
    with pytest.raises(ValueError, match=message) as caught:
        scaled_files.load(path)
    assert "set.npz" in str(caught.value)


def test_points_between_the_scales():
    """Two in each gap: geometry of a point made at that scale, energy of the curve, old points as before."""
    shapes = take(load_small(), [5, 20])
    shape, scale = np.repeat(np.arange(2), 6), np.tile(np.linspace(0.9, 1.4, 6), 2)
    made = scaled.scale_structures(take(shapes, shape), scale)

    def curve(scale, shape):
        return (scale - 1.0 - 0.01 * shape) ** 3 - 5.0 * shape

    made.energy[:] = curve(scale, shape)
    coarse = scaled.ScaledSet(made, shape, scale, scaled.spacings(shapes)[shape], {}, 0)
    fine = scaled.between(coarse, 2)
    assert len(fine) == 2 * 16 and fine.n_shape == 2
    np.testing.assert_allclose(fine.scale[:16], np.linspace(0.9, 1.4, 16), rtol=1e-12)
    np.testing.assert_allclose(fine.structures.energy, curve(fine.scale, fine.shape), atol=1e-12)
    direct = scaled.scale_structures(take(shapes, fine.shape), fine.scale)
    np.testing.assert_allclose(fine.structures.positions, direct.positions, atol=1e-12)
    assert fine.structures.name.tolist() == direct.name.tolist()
    kept = scaled.take(fine, np.flatnonzero(np.isclose(fine.scale[:, None], scale[:6]).any(axis=1)))
    np.testing.assert_allclose(kept.structures.positions, made.positions, atol=1e-12)
    np.testing.assert_array_equal(kept.spacing, coarse.spacing)
    assert len(scaled.between(coarse, 0)) == 12
    shuffled = scaled.between(scaled.take(coarse, np.random.default_rng(0).permutation(12)), 2)
    order = np.argsort(shuffled.structures.name, kind="stable")
    assert shuffled.structures.name[order].tolist() == sorted(fine.structures.name.tolist())
    by_name = dict(zip(fine.structures.name, fine.structures.energy))
    expected = [by_name[name] for name in shuffled.structures.name]
    np.testing.assert_allclose(shuffled.structures.energy, expected, atol=1e-12)
    with pytest.raises(ValueError, match=r"at different scales within a shape, got .* twice"):
        scaled.between(scaled.take(coarse, [0, 0, 1, 2, 3]), 1)
    with pytest.raises(ValueError, match="points must be four or more of every shape, got none at all"):
        scaled.between(scaled.take(coarse, []), 1)
    with pytest.raises(ValueError, match="n must not be negative, got -1"):
        scaled.between(coarse, -1)
    with pytest.raises(ValueError, match="points must be four or more of every shape, got 3"):
        scaled.between(scaled.take(coarse, np.arange(3)), 1)
