"""A notebook is the script of the same name, executed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs/notebooks"
SHOWN = {"simulate_a_molecule": (3, "converged after"), "stretch_a_molecule": (1, "stable scale")}
"""Name of the notebook -> its images, and what its output says."""


def script_cells(script: Path) -> list[tuple[str, str]]:
    """(cell type, source) of a file in jupytext's percent format."""
    cells = []
    for part in re.split(r"^# %%", script.read_text("utf-8"), flags=re.M)[1:]:
        title, source = part.split("\n", 1)
        kind = "markdown" if "[markdown]" in title else "code"
        if kind == "markdown":
            source = re.sub(r"^# ?", "", source, flags=re.M)
        cells.append((kind, source.strip("\n")))
    return cells


def test_every_pair_is_known():
    assert {path.stem for path in FOLDER.glob("*.py")} == {path.stem for path in FOLDER.glob("*.ipynb")}
    assert {path.stem for path in FOLDER.glob("*.py")} == set(SHOWN)


@pytest.mark.parametrize("name", SHOWN)
def test_the_pair_is_in_step(name):
    """Same cells; all executed in order, without errors, without a path of the machine that did it."""
    notebook, (images, said) = FOLDER / f"{name}.ipynb", SHOWN[name]
    cells = json.loads(notebook.read_text("utf-8"))["cells"]
    made = [(cell["cell_type"], "".join(cell["source"])) for cell in cells]
    assert made == script_cells(notebook.with_suffix(".py"))
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == images
    assert not any(output.get("name") == "stderr" for output in outputs)
    texts = "".join("".join(output.get("text", "")) for output in outputs)
    assert said in texts and not re.search(r"(^|\s)/\w+/|site-packages", texts)
    assert notebook.stat().st_size < 500_000


def run(name: str, folder: Path) -> str:
    """What a script prints, run as its reader runs it; it leaves no file."""
    settings = {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(FOLDER / f"{name}.py")]
    done = subprocess.run(command, cwd=folder, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    assert not list(folder.iterdir())
    return done.stdout


@pytest.mark.slow
def test_simulate_a_molecule(tmp_path):
    """Autodiff and differences agree to the digits that it prints."""
    said = run("simulate_a_molecule", tmp_path)
    found = re.search(r"([\d.]+) by autodiff, ([\d.]+) by differences", said)
    assert found and float(found[1]) == pytest.approx(float(found[2]), abs=0.002)
    assert "finished: 401 frames" in said


@pytest.mark.slow
def test_stretch_a_molecule(tmp_path):
    """The model follows the engine within 2 % of the curve's height, and Newton's method ends at rest."""
    said = run("stretch_a_molecule", tmp_path)
    found = re.search(r"mean error ([\d.]+) eV of ([\d.]+) eV", said)
    assert found and float(found[1]) < 0.02 * float(found[2])
    stable = re.search(r"stable scale ([\d.]+), slope there (\S+) eV", said)
    assert stable and float(stable[1]) == pytest.approx(1.0, abs=0.05) and abs(float(stable[2])) < 1e-2
