"""experiments/bench_simulation.py at its smallest size, in a process of its own, and its parts."""

import importlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from ase.neighborlist import neighbor_list

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "experiments" / "bench_simulation.py"
SHORT = ["--rounds", "1", "--molecules", "3", "--ase-molecules", "2", "--minima", "2"]
SHORT += ["--bands", "2", "--ase-bands", "1"]
SHORT += ["--fmax", "1.0", "--max-steps", "3"]
TINY = ["--systems", "liquid", "--sizes", "100", "300", "--steps", "2", "--memory-sizes", "100", "300"]
BRIEF = ["--conserving", "1", "--time-steps", "1", "0.5", "--picoseconds", "0.1"]


def run(*flags):
    # A wide terminal: messages are then not broken into lines.
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200"}
    command = [sys.executable, str(SCRIPT), *flags]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)


@pytest.fixture
def scripts(monkeypatch):
    """Imports modules from the folder of the scripts."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module


@pytest.mark.slow
def test_every_part_is_measured(tmp_path, scripts):
    done = run(*SHORT, *TINY, *BRIEF, "--output", str(tmp_path / "bench.json"))
    assert done.returncode == 0, done.stderr[-1500:]
    found = json.loads((tmp_path / "bench.json").read_text("utf-8"))
    ours, _, _, ase = found["relaxation"]["rows"]
    names = [row["candidate"] for row in (ours, ase)]
    assert names == ["jphys.relax, BFGS, all at once", "ASE FIRE, one by one"]
    ratio = ase["ms per molecule"] / ours["ms per molecule"]
    assert found["relaxation"]["ratios"][
        f"speed of {ours['candidate']} / {ase['candidate']}"
    ] == pytest.approx(ratio)
    small, large = found["dynamics"]["rows"]
    assert (small["atoms"], large["atoms"]) == (128, 256)
    growth = found["dynamics"]["ratios"]["growth per atom, liquid, 100 to 300"]
    assert growth == pytest.approx(large["µs per atom and step"] / small["µs per atom and step"])
    assert all(row["peak GiB"] >= row["after the first list GiB"] > 0 for row in found["memory"]["rows"])
    (ratio,) = [value for name, value in found["conservation"]["ratios"].items() if "dt²: 4" in name]
    assert 3 < ratio < 5
    for row in found["minima"]["rows"]:
        assert row["converged %, BFGS"] == 100.0 and row["force calls, BFGS"] < row["force calls, FIRE"]
    assert len(found["minima"]["rows"]) == 6
    assert [row["bands"] for row in found["paths"]["rows"]] == [1, 1, 1]
    for row in found["paths"]["rows"]:
        assert (
            row["converged %"] == row["barrier within 5 meV of ASE's %"] == 100.0 and row["ms per band"] > 0
        )
    assert all(row["ms per molecule"] > 0 for row in found["vibrations"]["rows"])
    distances = [value for name, value in found["vibrations"]["ratios"].items() if "distance" in name]
    assert len(distances) == 1 and distances[0] < 5.0
    for part in get_args(scripts("bench_simulation").Part):
        assert f"**{part}**" in done.stdout
    assert "output" not in found["config"] and str(tmp_path) not in json.dumps(found)


def test_edges_are_found_in_boxes_of_all_sizes(scripts, monkeypatch):
    part = scripts("bench_neighbors")
    monkeypatch.setattr(part, "ATOMS", 128)
    monkeypatch.setattr(scripts("bench_timing").time, "sleep", lambda _: None)
    found = part.run(scripts("bench_simulation").BenchConfig(systems=("liquid",), sizes=(100, 300), rounds=1))
    small, large = (row["ours, µs per atom"] for row in found["rows"])
    assert found["ratios"]["growth per atom, liquid, 100 to 300"] == pytest.approx(large / small)
    assert found["ratios"]["speed of ours / ASE, liquid, 300"] > 0


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"rounds": 0}, "rounds must be at least 1, got 0"),
        ({"sizes": (100, 0)}, r"sizes must be at least 1, got \(100, 0\)"),
        ({"molecules": 4}, "ase_molecules must be at most 4, got 16"),
        ({"memory_sizes": (10, 10)}, "memory_sizes must hold two different sizes"),
        ({"time_steps": (0.5, 0.0)}, r"time_steps must be from above 0 to 5 fs, got \(0.5, 0.0\)"),
        ({"time_steps": ()}, "time_steps must be from above 0"),
        ({"picoseconds": 0.0}, "picoseconds must be positive, got 0.0"),
        ({"parts": ("memory",), "peer": "mlip"}, "parts must hold dynamics for mlip"),
    ],
)
def test_impossible_measurements_are_refused(scripts, given, message):
    with pytest.raises(ValueError, match=message):
        scripts("bench_simulation").BenchConfig(**given)


@pytest.mark.parametrize(
    ("module", "library", "package"),
    [("peer_mlip", "mlip", "mlip"), ("peer_torch_sim", "torch_sim", "torch-sim-atomistic")],
)
def test_an_absent_peer_is_named(scripts, module, library, package):
    check = scripts(module).check
    with pytest.raises(SystemExit, match="--peer-python must be an interpreter, got nowhere"):
        check("nowhere")
    if importlib.util.find_spec(library) is None:
        with pytest.raises(SystemExit, match=f"pip install {package}"):
            check(sys.executable)


def test_boxes_have_the_density_and_no_overlaps(scripts):
    systems = scripts("bench_systems")
    for name, n_atoms, gap in (("liquid", 128, 1.3), ("metal", 108, 2.5)):
        atoms = systems.build(name, 100)
        assert len(atoms) == n_atoms and atoms.pbc.all()
        distances = neighbor_list("d", atoms, 2.6)
        if name == "metal":
            assert distances.min() > gap
    liquid = systems.build("liquid", 1000)
    assert len(liquid) == 1024
    grams_per_cm3 = liquid.get_masses().sum() / liquid.get_volume() * 1.66054
    assert grams_per_cm3 == pytest.approx(systems.DENSITY, rel=1e-3)
    molecule = np.repeat(np.arange(len(liquid) // 8), 8)
    i, j, distances = neighbor_list("ijd", liquid, 2.0)
    assert distances[molecule[i] != molecule[j]].min(initial=2.0) > 1.0


def test_subsets_differ_and_begin_with_the_largest(scripts):
    task = scripts("bench_relaxation").Task(molecules=10, noise=0.1, fmax=0.1, max_steps=1)
    subsets = task.subsets(size=5, rounds=3)
    assert sorted(np.concatenate(subsets[:2])) == list(range(10)) and len(subsets[2]) == 5
    for chosen in subsets:
        assert np.all(np.diff(task.structures.n_atoms[chosen]) <= 0)


def test_the_median_of_interleaved_rounds_counts(scripts):
    timing = scripts("bench_timing")
    calls = []
    made = [timing.Candidate(name, lambda i, name=name: calls.append((name, i)), 2.0) for name in "ab"]
    timing.measure(made, rounds=2)
    assert calls == [("a", 0), ("b", 0), ("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    made[0].seconds = [1.0, 9.0, 2.0]
    assert made[0].per_unit == 1.0 and made[0].spread == 9.0


def test_the_largest_system_is_where_the_line_meets_the_limit(scripts):
    memory = scripts("bench_memory")
    base, slope, atoms = memory.largest([1000, 2000, 4000], [2.0, 3.0, 5.0], 8.0)
    assert (base, slope, atoms) == (pytest.approx(1.0), pytest.approx(1e-3), 7000)


def test_a_peer_answers_in_a_process_of_its_own(scripts, tmp_path):
    """The protocol with a script that stands for a library; noise on its standard output is no answer."""
    process = scripts("peer_process")
    script = tmp_path / "peer.py"
    script.write_text(
        "from peer_process import serve\n"
        "def make(task):\n"
        "    print('noise')\n"
        "    return lambda: {'double': 2 * task['number']}\n"
        "serve(make)\n"
    )
    (tmp_path / "peer_process.py").write_text((ROOT / "experiments" / "peer_process.py").read_text("utf-8"))
    peer = process.Peer(sys.executable, str(script), {"number": 21})
    peer.work(0)
    assert peer.answer == {"double": 42}
    peer.close()


def test_a_page_without_markers_is_refused(scripts, tmp_path):
    render = scripts("render_bench")
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="must have <!-- training:start --> once"):
        render.main(render.Config(page=page))
