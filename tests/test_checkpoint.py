"""Potentials saved and loaded: same config, same bits, and every damage named."""

import dataclasses
import json
import os
import subprocess
import sys

import jax
import numpy as np
import pytest

import jphys
from jphys import checkpoint

CONFIG = jphys.TransformerConfig(
    channels=8, heads=2, blocks=1, n_basis=4, max_z=9, reference_energies=((1, -13.6), (8, -2041.25))
)
WATER = jphys.make_graph([8, 1, 1], [[0.0, 0.0, 0.119], [0.0, 0.763, -0.477], [0.0, -0.763, -0.477]])


@pytest.fixture(scope="module")
def trained():
    """A potential and parameters that no initialisation gives."""
    potential = jphys.make_potential(CONFIG)
    params = jax.jit(potential.init)(jax.random.key(0), WATER)
    return potential, jax.tree.map(lambda leaf: leaf + 0.125, params)


@pytest.fixture
def folder(trained, tmp_path):
    return jphys.save(tmp_path / "model", *trained)


def assert_same_params(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_round_trip(trained, folder):
    potential, params = trained
    loaded, loaded_params = jphys.load(folder)
    assert loaded.config == CONFIG and loaded.cutoff == potential.cutoff
    assert_same_params(loaded_params, params)
    np.testing.assert_array_equal(loaded.energy(loaded_params, WATER), potential.energy(params, WATER))


def test_record_is_readable(folder):
    record = json.loads((folder / "config.json").read_text("utf-8"))
    assert record["config"]["class"] == "TransformerConfig" and record["config"]["fields"]["channels"] == 8
    assert record["units"] == {"energy": "eV", "length": "Å"}
    assert record["versions"]["jax"] == jax.__version__ and record["versions"]["jphys"] == jphys.__version__


def test_card_and_replacement(trained, tmp_path):
    potential, params = trained
    path = jphys.save(tmp_path / "deep" / "model", potential, params, card="# Card of water\n")
    assert (path / "card.md").read_text("utf-8") == "# Card of water\n"
    other = jax.tree.map(lambda leaf: leaf * 2, params)
    jphys.save(path, potential, other)
    assert_same_params(jphys.load(path)[1], other)
    assert not (path / "card.md").exists()  # the old card would describe other parameters
    assert os.listdir(path.parent) == ["model"]


def test_moved_checkpoint_loads(trained, folder, tmp_path):
    moved = folder.rename(tmp_path / "elsewhere")
    assert_same_params(jphys.load(str(moved))[1], trained[1])


def test_the_folder_of_a_run_gives_its_best(trained, tmp_path):
    potential, params = trained
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.json").write_text('{"class": "TrainConfig", "fields": {}}')
    with pytest.raises(ValueError, match="format must be"):
        jphys.load(run)
    jphys.save(run / "best", potential, params)
    assert_same_params(jphys.load(run)[1], params)


@pytest.mark.parametrize("make", [lambda path: path.write_text("mine"), lambda path: path.mkdir()])
def test_something_else_is_not_overwritten(trained, tmp_path, make):
    path = tmp_path / "thesis"
    make(path)
    with pytest.raises(ValueError, match=r"path must be new or a jphys checkpoint to replace, got .*thesis"):
        jphys.save(path, *trained)
    assert os.listdir(tmp_path) == ["thesis"]


def test_failed_save_leaves_the_old_one(trained, folder, monkeypatch):
    """The disk fills up while the parameters are written."""

    def full(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(checkpoint.ocp.Checkpointer, "save", full)
    with pytest.raises(OSError, match="no space left"):
        jphys.save(folder, trained[0], jax.tree.map(lambda leaf: leaf * 2, trained[1]))
    assert_same_params(jphys.load(folder)[1], trained[1])
    assert os.listdir(folder.parent) == ["model"]


def test_what_killed_saves_left_is_removed_and_nothing_else(trained, tmp_path):
    names = (".model.new-17", ".model.old-18", ".model.new-19", ".model.new-mine", ".other.new-17")
    for name in names:
        (tmp_path / name).mkdir()
        if name != ".model.new-19":  # perhaps a save that goes on in another process
            os.utime(tmp_path / name, (0, 0))
    jphys.save(tmp_path / "model", *trained)
    assert sorted(os.listdir(tmp_path)) == [".model.new-19", ".model.new-mine", ".other.new-17", "model"]


def test_foreign_config_is_refused(trained, tmp_path):
    foreign = dataclasses.replace(trained[0], config=dataclasses.make_dataclass("Mine", ["size"])(3))
    with pytest.raises(ValueError, match=r"potential\.config must be one of TransformerConfig.*got Mine"):
        jphys.save(tmp_path / "model", foreign, trained[1])


def test_unknown_name_lists_the_known_ones(monkeypatch, trained, tmp_path):
    monkeypatch.setattr(checkpoint, "PRETRAINED", tmp_path)
    with pytest.raises(ValueError, match=r"pretrained name \(none\), got 'qm9-smal'"):
        jphys.load("qm9-smal")
    for name in ("water-b", "water-a"):
        jphys.save(tmp_path / name, *trained)
    assert checkpoint.pretrained_names() == ["water-a", "water-b"]
    with pytest.raises(ValueError, match=r"pretrained name \(water-a, water-b\), got 'water'"):
        jphys.load("water")
    assert_same_params(jphys.load("water-a")[1], trained[1])


@pytest.mark.parametrize("name", checkpoint.pretrained_names())
def test_shipped_models_load_and_say_what_they_are(name):
    potential, params = jphys.load(name)
    assert potential.config.reference_energies and np.isfinite(potential.energy(params, WATER)).all()
    card = (checkpoint.PRETRAINED / name / "card.md").read_text("utf-8")
    assert len(card) > 400
    size = sum(file.stat().st_size for file in (checkpoint.PRETRAINED / name).rglob("*") if file.is_file())
    assert size < 5e6


def edit(folder, change):
    file = folder / "config.json"
    record = json.loads(file.read_text("utf-8"))
    change(record)
    file.write_text(json.dumps(record), "utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r["config"]["fields"].update(tensor_rank=2), "TransformerConfig must .* got tensor_rank"),
        (lambda r: r["config"].update({"class": "Mace"}), "config class must be one of .*, got 'Mace'"),
        (lambda r: r.update(units={"energy": "Ha", "length": "Å"}), "units must be .*eV.*, got .*Ha"),
        (lambda r: r.update(format="jphys checkpoint 2"), "format must be .*, got 'jphys checkpoint 2'"),
        (lambda r: r.pop("sha256"), "must have the entries .* none of .*sha256"),
        (lambda r: r["config"]["fields"].update(channels=-8), "channels must be positive and finite, got -8"),
    ],
)
def test_edited_record_is_refused(folder, change, message):
    edit(folder, change)
    with pytest.raises(ValueError, match=rf"config\.json.*{message}"):
        jphys.load(folder)


def test_missing_and_damaged_records(folder):
    file = folder / "config.json"
    file.write_text(file.read_text("utf-8")[:40], "utf-8")
    with pytest.raises(ValueError, match=r"model/config\.json must be JSON, got a damaged file"):
        jphys.load(folder)
    file.unlink()
    with pytest.raises(ValueError, match=r"model/config\.json must exist in a checkpoint"):
        jphys.load(folder)


def parameter_files(folder):
    return [file for file in sorted((folder / "params").rglob("*")) if file.is_file()]


def test_flipped_byte_is_noticed(trained, tmp_path, rng):
    """In the middle of a large array, where orbax restores it without a word."""
    folder = jphys.save(tmp_path / "model", trained[0], {"kernel": rng.normal(size=(64, 64)).astype("f4")})
    largest = max(parameter_files(folder), key=lambda file: file.stat().st_size)
    content = bytearray(largest.read_bytes())
    content[len(content) // 2] ^= 1
    largest.write_bytes(bytes(content))
    with pytest.raises(ValueError, match=r"model/params must match the sha256 of config\.json"):
        jphys.load(folder)


def test_truncated_parameters_are_noticed(folder):
    largest = max(parameter_files(folder), key=lambda file: file.stat().st_size)
    largest.write_bytes(largest.read_bytes()[:100])
    with pytest.raises(ValueError, match="model/params must"):
        jphys.load(folder)


def test_missing_parameters_are_noticed(folder):
    (folder / "params").rename(folder / "lost")
    with pytest.raises(ValueError, match="model/params must exist in a checkpoint"):
        jphys.load(folder)
    (folder / "params").mkdir()
    with pytest.raises(ValueError, match="model/params must hold readable parameters"):
        jphys.load(folder)


SHARDED_SAVE = """
import sys, jax, jphys
from jax.sharding import Mesh, NamedSharding, PartitionSpec
assert jax.device_count() == 4
potential, params = jphys.load(sys.argv[1])
mesh = Mesh(jax.devices(), ("data",))
def place(leaf):
    split = leaf.ndim and leaf.shape[0] % 4 == 0
    return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec("data") if split else PartitionSpec()))
params = jax.tree.map(place, params)
assert any(not leaf.is_fully_replicated for leaf in jax.tree.leaves(params))
jphys.save(sys.argv[2], potential, params)
"""


def test_checkpoint_of_four_devices_loads_on_one(trained, folder, tmp_path):
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    env = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", SHARDED_SAVE, str(folder), str(tmp_path / "sharded")]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same_params(jphys.load(tmp_path / "sharded")[1], trained[1])
