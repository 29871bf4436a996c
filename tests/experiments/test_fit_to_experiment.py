"""Parameters tuned to measured numbers: on a surface whose answer is known, and the script on copper."""

import importlib
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from known_surfaces import as_potential, per_graph

import jphys
from jphys.graph import make_graph
from jphys.ops import edge_distances

EXPERIMENTS = Path(__file__).parents[2] / "experiments"


@pytest.fixture
def gauss_newton(monkeypatch):
    monkeypatch.syspath_prepend(str(EXPERIMENTS))
    return importlib.import_module("gauss_newton")


def springs(params, graph):
    """½k(r − r₀ − c)² + e of a pair: the length knows r₀ + c alone, the energy e alone."""
    off = edge_distances(graph) - params["r0"] - params["c"]
    pairs = 0.25 * params["k"] * off**2 * graph.edges.mask
    return per_graph(pairs, graph) + params["e"] * graph.globals.mask


def test_the_smallest_change_meets_the_length_and_leaves_the_energy(gauss_newton):
    params = {name: jnp.float32(value) for name, value in {"k": 20.0, "r0": 0.7, "c": 0.5, "e": 2.0}.items()}
    graph = make_graph([6, 8], [[0.0, 0, 0], [0, 0, 1.15]])

    def length(params):
        rest = jphys.stationary(springs, params, graph, fmax=1e-4).graph.nodes.positions
        return jnp.linalg.norm(rest[0] - rest[1])[None]

    one = make_graph([6, 8], [[0.0, 0, 0], [0, 0, 1.2]])
    settings = as_potential(springs), params, gauss_newton.stacked([one]), 3
    new, seen = gauss_newton.tuned(length, np.array([1.3]), *settings)
    assert len(seen) == 4 and seen[0] == pytest.approx(1.2, abs=1e-4)
    assert seen[-1] == pytest.approx(1.3, abs=1e-4)
    # r₀ and c, which do the same, share the change; the energy at 1.2 Å, now ½k(0.1)² higher, comes down.
    assert float(new["r0"] - params["r0"]) == pytest.approx(float(new["c"] - params["c"]), abs=1e-4)
    kept = [float(springs(p, one)[0]) for p in (params, new)]
    unmended = float(springs(params | {"r0": params["r0"] + 0.1}, one)[0]) - kept[0]
    assert abs(kept[1] - kept[0]) < 0.7 * unmended


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--steps", "0"), "steps must be at least 1, got 0"),
        (("--molecules", "1"), "molecules must be at least 2, got 1"),
        (("--parts", "gold"), "gold"),
        (("--parts", "molecules", "--model", "nowhere"), "nowhere"),
    ],
)
def test_what_is_refused(refusal, arguments, message):
    assert message in refusal("fit_to_experiment.py", *arguments)


def test_only_the_whole_goes_into_the_docs(gauss_newton):
    script = importlib.import_module("fit_to_experiment")
    assert script.Config().kept == script.shared.RESULTS
    for part in ({"parts": ("copper",)}, {"steps": 1}, {"molecules": 4}, {"model": "mine"}):
        assert script.Config(**part).kept == Path("runs/fit-to-experiment")


@pytest.mark.slow
def test_copper(run, read, tmp_path):
    """Trained, tuned and judged; a second call goes on from the training that is there."""
    for _ in range(2):
        run("fit_to_experiment.py", "--parts", "copper", "--run", str(tmp_path), "--output", str(tmp_path))
        found = read(tmp_path / "fit-to-experiment.json")["parts"]["copper"]
        assert [row["steps"][-1] for row in found["values"]] == pytest.approx([3.61, 137.0], rel=2e-3)
        assert found["values"][0]["steps"][0] == pytest.approx(3.59, abs=0.01)  # EMT's own
        before, after = found["rest"]["MAE_F / EMT, eV/Å"]
        assert before < 0.02 and after < 0.06
