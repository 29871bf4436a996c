"""The loader of QM9 on real files of the official format, whole and damaged."""

import logging
import os

import numpy as np
import pytest

from jphys.data import qm9, qm9_bonds, qm9_npz

HARTREE = 27.211386245988


@pytest.fixture(scope="module")
def small():
    return qm9.load_small()


@pytest.mark.parametrize("kind", ["make_tar", "make_folder"])
def test_load_reads_the_official_format(kind, request, tmp_path, caplog):
    source = request.getfixturevalue(kind)()
    with caplog.at_level(logging.INFO, logger="jphys"):
        structures = qm9.load(source, cache_dir=tmp_path / "cache")
    assert "1 uncharacterised left out" in caplog.text
    assert structures.name.tolist() == ["dsgdb9nsd_000001", "dsgdb9nsd_000003"]
    assert structures.species.tolist() == [6, 1, 1, 1, 1, 8, 1, 1]
    np.testing.assert_allclose(structures.energy, [-40.47893 * HARTREE, -76.404702 * HARTREE], rtol=1e-14)
    # the Fortran exponents: -6.0313176*^-3 and 1.5346341*^-3, to 1e-5 Å
    np.testing.assert_allclose(structures.positions[1], [0.00215, -0.00603, 0.00198], atol=1e-12)
    np.testing.assert_allclose(structures.positions[6], [0.06477, 0.02057, 0.00153], atol=1e-12)
    assert structures.n_bonds.tolist() == [0, 0]


def test_load_agrees_with_the_shipped_subset(make_tar, tmp_path, small):
    structures = qm9.load(make_tar(), cache_dir=tmp_path / "cache", with_bonds=True)
    np.testing.assert_array_equal(structures.positions[:5], small.positions[:5])
    assert structures.energy[0] == small.energy[0]
    assert structures.n_bonds.tolist() == [4, 2]
    assert structures.bonds[:4].tolist() == [[0, 1, 1], [0, 2, 1], [0, 3, 1], [0, 4, 1]]


def test_second_load_reads_the_cache(make_tar, tmp_path, monkeypatch):
    source = make_tar()
    first = qm9.load(source, cache_dir=tmp_path / "cache")
    time = source.stat().st_mtime_ns
    source.write_bytes(b"x" * source.stat().st_size)  # no longer readable, but looks the same
    os.utime(source, ns=(time, time))
    second = qm9.load(source, cache_dir=tmp_path / "cache")
    np.testing.assert_array_equal(first.positions, second.positions)
    assert qm9.read(source, cache_dir=tmp_path / "cache").n_uncharacterized == 1
    monkeypatch.setenv("JPHYS_CACHE", str(tmp_path / "cache"))
    np.testing.assert_array_equal(qm9.load(source).energy, first.energy)


def test_changed_source_is_read_again(make_folder, tmp_path):
    folder = make_folder()
    qm9.load(folder, cache_dir=tmp_path / "cache")
    (folder / "dsgdb9nsd_000003.xyz").unlink()
    assert len(qm9.load(folder, cache_dir=tmp_path / "cache")) == 1


def test_interrupted_cache_write_leaves_nothing(make_tar, tmp_path, monkeypatch):
    write = np.lib.format.write_array

    def interrupted(file, array, **options):
        write(file, array, **options)
        raise KeyboardInterrupt

    monkeypatch.setattr(np.lib.format, "write_array", interrupted)
    with pytest.raises(KeyboardInterrupt):
        qm9.load(make_tar(), cache_dir=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.99])
def test_truncated_archive_is_named_and_not_cached(make_tar, tmp_path, kept):
    source = make_tar()
    content = source.read_bytes()
    source.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=r"dsgdb9nsd\.xyz\.tar\.bz2 must be a complete tar\.bz2"):
        qm9.load(source, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


DAMAGES = {
    "NaN coordinate": ("1.0858041578", "NaN", "positions must be finite"),
    "infinite coordinate": ("1.0858041578", "1.0*^999", "positions must be finite"),
    "text coordinate": ("1.0858041578", "1.08.58", "positions must be numbers"),
    "unknown element": (
        "C\t-0.0126981359",
        "Si\t-0.0126981359",
        "element must be one of H C N O F, got 'Si'",
    ),
    "no element": ("C\t-0.0126981359", "Xx\t-0.0126981359", "element must be one of H C N O F, got 'Xx'"),
    "too many atoms": ("5\ngdb", "4\ngdb", "must hold the 4 atoms"),
    "too few atoms": ("5\ngdb", "6\ngdb", "must hold the 6 atoms"),
    "negative number of atoms": ("5\ngdb", "-1\ngdb", "must have 1 to 29 atoms, got -1"),
    "no molecule": ("5\ngdb", "30\ngdb", "must have 1 to 29 atoms, got 30"),
    "coordinate beyond int32": ("1.0858041578", "30000.", r"within 21474 Å of the origin, got .*'30000\.'"),
    "huge coordinate": ("1.0858041578", "1e300", "within 21474 Å of the origin, got .*'1e300'"),
    "two atoms on one spot": (
        "-0.540815069\t 1.4475266138\t-0.8766437152",
        "-0.5238136345\t 1.4379326443\t 0.9063972942",
        "atoms must be 0.001 Å apart or more, got 0 Å between atoms 3 and 4",
    ),
    "NaN energy": ("-40.47893\t", "nan\t", "energy U0 must be finite"),
    "another molecule": ("gdb 1\t", "gdb 7\t", "must hold molecule 1, got 7"),
    "another format": ("gdb 1\t", "methane\n", "must be a QM9 xyz file"),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("kind", ["make_tar", "make_folder"])
def test_damaged_entry_is_named_and_not_cached(damage, kind, request, tmp_path, files):
    old, new, message = DAMAGES[damage]
    text = files["dsgdb9nsd_000001.xyz"]
    assert old in text
    source = request.getfixturevalue(kind)(dsgdb9nsd_000001=text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as error:
        qm9.load(source, cache_dir=tmp_path / "cache")
    assert f"{source}: dsgdb9nsd_000001.xyz" in str(error.value)
    assert not (tmp_path / "cache").exists()


def test_missing_list_of_rejected_molecules_is_asked_for(make_tar, tmp_path):
    source = make_tar(uncharacterized=False)
    with pytest.raises(FileNotFoundError, match=r"uncharacterized\.txt.*files/3195404.*uncharacterized="):
        qm9.load(source, cache_dir=tmp_path / "cache")
    given = tmp_path / "list.txt"
    given.write_text("21\n")
    assert len(qm9.load(source, uncharacterized=given, cache_dir=tmp_path / "cache")) == 2
    given.write_text("no numbers here\n")
    with pytest.raises(ValueError, match=r"list\.txt must list GDB9 numbers"):
        qm9.load(source, uncharacterized=given, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(("kind", "place"), [("make_tar", "."), ("make_folder", "."), ("make_folder", "qm9")])
def test_list_is_found_where_the_message_asks_for_it(kind, place, request, tmp_path):
    source = request.getfixturevalue(kind)(uncharacterized=False)
    with pytest.raises(FileNotFoundError, match="put it beside the tar or in the folder, or in Python pass"):
        qm9.load(source, cache_dir=tmp_path / "cache")
    (tmp_path / place / "uncharacterized.txt").write_text("21\n")
    assert qm9.read(source, cache_dir=tmp_path / "cache").n_uncharacterized == 1


def test_wrong_sources_are_refused(make_folder, tmp_path, small):
    with pytest.raises(FileNotFoundError, match="does not exist"):
        qm9.load(tmp_path / "nowhere.tar.bz2", cache_dir=tmp_path)
    make_folder()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="empty must hold characterised molecules"):
        qm9.load(tmp_path / "empty", cache_dir=tmp_path)
    (tmp_path / "text.tar.bz2").write_text("a web page, not an archive")
    with pytest.raises(ValueError, match=r"text\.tar\.bz2 must be a complete tar\.bz2"):
        qm9.load(tmp_path / "text.tar.bz2", cache_dir=tmp_path)


@pytest.mark.parametrize("kind", ["make_tar", "make_folder"])
def test_useless_cache_folder_is_refused_before_parsing(kind, request, tmp_path, monkeypatch):
    def parsed(*_):
        raise AssertionError("parsed")

    for name in ("read_tar", "read_folder", "download"):
        monkeypatch.setattr(qm9, name, parsed)
    (tmp_path / "file").write_text("")
    source, message = request.getfixturevalue(kind)(), r"cache_dir \(or \$JPHYS_CACHE\).*got .*file.cache: "
    for chosen in (source, None):
        with pytest.raises(ValueError, match=message):
            qm9.load(chosen, cache_dir=tmp_path / "file" / "cache")
    monkeypatch.setattr("os.access", lambda place, mode: False)
    with pytest.raises(ValueError, match="must be a folder that can be written"):
        qm9.load(source, cache_dir=tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_full_disk_does_not_lose_what_was_parsed(make_tar, tmp_path, monkeypatch, caplog):
    def full(path, records):
        raise OSError("no space left on device")

    monkeypatch.setattr(qm9, "write_npz", full)
    assert len(qm9.load(make_tar(), cache_dir=tmp_path / "cache")) == 2
    assert "could not be written" in caplog.text and "no space left" in caplog.text


def test_no_network_says_what_to_fetch(tmp_path, monkeypatch):
    closed = "http://127.0.0.1:9/"  # the discard port: nothing listens
    monkeypatch.setattr(qm9, "TAR", qm9.TAR._replace(url=closed + "tar"))
    monkeypatch.setattr(qm9, "UNCHARACTERIZED", qm9.UNCHARACTERIZED._replace(url=closed + "list"))
    with pytest.raises(
        ConnectionError, match=r"9/tar as dsgdb9nsd\.xyz\.tar\.bz2.* source=.*uncharacterized="
    ):
        qm9.load(cache_dir=tmp_path)


def test_failed_perception_keeps_the_molecule_and_is_counted():
    # three hydrogens 0.8 Å apart: no valence model has a triangle of H
    corner = 0.8 * np.array([[0, 0, 0], [1, 0, 0], [0.5, 0.75**0.5, 0]])
    records = qm9_npz.Records(
        index=np.array([1], np.int32),
        n_atoms=np.array([3], np.int32),
        species=np.ones(3, np.int32),
        positions=np.rint(corner / qm9_npz.POSITION_SCALE).astype(np.int32),
        u0=np.array([-1.0]),
        smiles=("",),
    )
    perceived = qm9_bonds.with_bonds(records)
    assert (len(perceived), perceived.n_single_bonded) == (1, 1)
    assert perceived.bonds is not None
    assert perceived.bonds.tolist() == [[0, 1, 1], [0, 2, 1], [1, 2, 1]]
