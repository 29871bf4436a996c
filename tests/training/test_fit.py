"""jphys.train: a folder, a stop, other data, parameters to start from."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from small_batches import CONFIG

import jphys
from jphys.data.qm9 import load_small
from jphys.data.structures import take


@pytest.fixture(scope="module")
def structures():
    return take(load_small(), np.arange(20, 100))


@pytest.fixture(scope="module")
def trained(structures, tmp_path_factory):
    return jphys.train(CONFIG, structures, folder=tmp_path_factory.mktemp("train") / "run")


def same(ours, theirs):
    return jax.tree.all(jax.tree.map(np.array_equal, ours, theirs))


def test_a_folder_that_loads(trained, structures):
    assert trained.complete and trained.run.n_compilations == 1
    potential, params = jphys.load(trained.folder)
    assert potential is trained.potential and same(params, trained.params)
    assert json.loads((trained.folder / "config.json").read_text())["fields"]["epochs"] == 2
    with pytest.raises(ValueError, match="run must be a new folder, or give --resume"):
        jphys.train(CONFIG, structures, folder=trained.folder)


def test_a_stopped_training_goes_on(trained, structures, tmp_path):
    short = dataclasses.replace(CONFIG, stop_after_minutes=1e-6)
    stopped = jphys.train(short, structures, folder=tmp_path / "run")
    assert not stopped.complete
    again = dataclasses.replace(CONFIG, resume=True)
    with pytest.raises(ValueError, match="resume must keep the data of"):
        jphys.train(again, take(structures, np.arange(70)), folder=tmp_path / "run")
    whole = jphys.train(again, structures, folder=tmp_path / "run")
    assert whole.complete and same(whole.params, trained.params)


@pytest.mark.parametrize("kind", ["folder", "parameters"])
def test_training_begins_where_another_ended(trained, structures, tmp_path, kind):
    """By a learning rate of almost nothing the parameters stay where they began."""
    init = trained.folder if kind == "folder" else (trained.potential, trained.params)
    config = dataclasses.replace(
        CONFIG, epochs=1, learning_rate=1e-9, average=0.0, model=jphys.TransformerConfig()
    )
    part = take(structures, np.arange(40, 80))
    tuned = jphys.train(config, part, folder=tmp_path / "run", init=init)
    assert tuned.params is not None
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), tuned.params, trained.params)
    before, now = trained.potential.config, tuned.potential.config
    assert now == dataclasses.replace(before, reference_energies=now.reference_energies)
    assert now.reference_energies != before.reference_energies, "they are those of the new data"


def test_what_is_refused(trained, structures, tmp_path):
    with pytest.raises(ValueError, match="folder must be given where"):
        jphys.train(CONFIG, structures)
    argon = dataclasses.replace(structures, species=np.full_like(structures.species, 18))
    with pytest.raises(ValueError, match=r"must know the elements of the data, \[18\], got those of \[1, 6"):
        jphys.train(CONFIG, argon, folder=tmp_path / "run", init=trained.folder)
    masked = jphys.make_potential(dataclasses.replace(CONFIG.model, bond_mask=True))
    bare = dataclasses.replace(
        structures, bonds=structures.bonds[:0], n_bonds=np.zeros_like(structures.n_bonds)
    )
    with pytest.raises(ValueError, match=r"model\.bond_mask must be False for data without bonds"):
        jphys.train(CONFIG, bare, folder=tmp_path / "run", init=(masked, {}))
    with pytest.raises(ValueError, match="must be the folder of a checkpoint or a pretrained name"):
        jphys.train(CONFIG, structures, folder=tmp_path / "run", init="qm9-smal")
    assert not (tmp_path / "run").exists()
