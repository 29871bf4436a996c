"""The first figure of the README from run folders, at its smallest size."""

import importlib.util
import json
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.image import imread

import jphys
from jphys.data import qm9, splits
from jphys.data.structures import graphs, take
from jphys.reliability.recovery import Recovery, save_recovery


def load_script():
    path = Path(__file__).resolve().parents[2] / "experiments" / "readme_figure.py"
    spec = importlib.util.spec_from_file_location("readme_figure", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


script = load_script()


def make_run(folder: Path, objective: str, seed: int) -> Path:
    """A run folder with untrained parameters."""
    small = qm9.load_small()
    parts = splits.split(len(small), seed=seed)
    potential = jphys.make_potential(jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4))
    params = jax.jit(potential.init)(jax.random.key(0), graphs(take(small, [0]))[0])
    jphys.save(folder / "best", potential, params)
    data = {"name": "small", "n_train": len(parts.train), "n_test": len(parts.test)}
    summary = {"objective": objective, "seed": seed, "data": data, "xtb": None}
    (folder / "summary.json").write_text(json.dumps(summary))
    values, status = np.full((1, 1, 4), 0.2), np.full((1, 1, 4), "converged")
    places = np.zeros((1, 8, 3)), np.zeros((1, 1, 8, 3))
    numbers = values, values, values[0], values[0], status, values.astype(int)
    recovery = Recovery((0.1,), (0.01,), 9, *numbers, *places)
    save_recovery(recovery, folder / "recovery.npz")
    return folder


@pytest.mark.smoke
@pytest.mark.slow
def test_with_and_without_molecules(tmp_path):
    runs = tuple(make_run(tmp_path / name, name, seed=3) for name in ("paper", "physics"))
    heights = []
    for count in (1, 0):
        script.main(script.Config(runs, tmp_path / "a.png", candidates=count))
        heights.append(imread(tmp_path / "a.png").shape[0])
    assert heights[0] > heights[1] > 300


def test_other_splits_are_refused(tmp_path):
    runs = tuple(make_run(tmp_path / str(seed), "physics", seed) for seed in (0, 1))
    with pytest.raises(ValueError, match="runs must share one split"):
        script.main(script.Config(runs, tmp_path / "a.png"))
    assert not (tmp_path / "a.png").exists()


@pytest.mark.parametrize("text", [None, "{"])
def test_unfinished_run(tmp_path, text):
    if text:
        (tmp_path / "summary.json").write_text(text)
    with pytest.raises(ValueError, match=r"summary\.json"):
        script.main(script.Config((tmp_path,), tmp_path / "a.png"))
