"""The notebook is the script of the same name, executed."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "docs/notebooks/simulate_a_molecule.py"
NOTEBOOK = SCRIPT.with_suffix(".ipynb")


def script_cells() -> list[tuple[str, str]]:
    """(cell type, source) of a file in jupytext's percent format."""
    cells = []
    for part in re.split(r"^# %%", SCRIPT.read_text("utf-8"), flags=re.M)[1:]:
        title, source = part.split("\n", 1)
        kind = "markdown" if "[markdown]" in title else "code"
        if kind == "markdown":
            source = re.sub(r"^# ?", "", source, flags=re.M)
        cells.append((kind, source.strip("\n")))
    return cells


def test_the_pair_is_in_step():
    """Same cells; all executed in order, without errors, without a path of the machine that did it."""
    cells = json.loads(NOTEBOOK.read_text("utf-8"))["cells"]
    assert [(cell["cell_type"], "".join(cell["source"])) for cell in cells] == script_cells()
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell["outputs"]]
    assert {output["output_type"] for output in outputs} <= {"stream", "display_data", "execute_result"}
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 3
    assert not any(output.get("name") == "stderr" for output in outputs)
    texts = "".join("".join(output.get("text", "")) for output in outputs)
    assert "converged after" in texts and not re.search(r"(^|\s)/\w+/|site-packages", texts)
    assert NOTEBOOK.stat().st_size < 500_000


@pytest.mark.slow
def test_the_script_runs(tmp_path):
    """As its reader runs it: autodiff and differences agree to the digits that it prints."""
    settings = {"MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    command = [sys.executable, str(SCRIPT)]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | settings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    found = re.search(r"([\d.]+) by autodiff, ([\d.]+) by differences", done.stdout)
    assert found and float(found[1]) == pytest.approx(float(found[2]), abs=0.002)
    assert "finished: 401 frames" in done.stdout
    assert not list(tmp_path.iterdir())
