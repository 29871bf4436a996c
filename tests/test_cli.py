"""The console script, and an audit of calculators that are right, wrong or broken."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jphys import cli
from jphys.reliability import audit, mmff94
from jphys.reliability.audit import AuditConfig
from jphys.reliability.surface import Calculated

SMALL = AuditConfig(molecules=4, steps=300, dynamics_ps=0.2, curves=3)


def by_name(checks):
    return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def classical():
    return by_name(audit.audit(mmff94.surface(), config=SMALL))


def test_mmff94_keeps_its_molecules_and_does_not_know_every_pair(classical):
    assert len(classical) == len(audit.CHECKS) == 8
    for name in ("recovery", "assembly", "additivity", "invariance", "conservation", "stable distance"):
        assert classical[name].passed, classical[name]
    assert not classical["repulsion"].passed and "H–H" in classical["repulsion"].details["largest_distance"]
    assert classical["smoothness"].details["n_without_answer"] == 5


def shifted(graph):
    """MMFF94 with a pull along x that depends on where the molecule lies and how it is turned."""
    energy, forces = mmff94.energy_and_forces(graph)
    x = np.asarray(graph.nodes.positions, np.float64)[:, 0]
    return energy + 0.05 * np.sum(x**2), forces - 0.1 * x[:, None] * [1, 0, 0]


def test_a_field_in_space_is_found_out():
    found = audit.invariance(Calculated(shifted), load_some(), SMALL, 0)
    assert not found.passed and found.value is not None
    assert found.value > 0.1 and found.details["renumbered"] < 1e-6


def load_some():
    from jphys.data.qm9 import load_small
    from jphys.data.structures import graphs, take

    return graphs(take(load_small(), np.arange(30, 38)))


def test_forces_that_are_not_the_gradient_do_not_conserve():
    def ask(graph):
        energy, forces = mmff94.energy_and_forces(graph)
        return energy, forces * np.linspace(0.5, 1.5, len(forces))[:, None]

    config = AuditConfig(dynamics_ps=0.2)
    assert audit.conservation(Calculated(mmff94.energy_and_forces), load_some(), config, 0).passed
    assert not audit.conservation(Calculated(ask), load_some(), config, 0).passed


def test_a_broken_surface_fails_everything_and_is_reported():
    def ask(graph):
        raise RuntimeError("out of order")

    surface = Calculated(ask)
    checks = audit.audit(surface, config=SMALL)
    assert not any(check.passed for check in checks) and surface.problems["RuntimeError: out of order"] > 100
    assert json.dumps([vars(check) for check in checks])


def test_subjects_that_are_not_there():
    for name, message in (
        ("qm9-smal", "subject must be of qm9-small, .*, got 'qm9-smal'"),
        ("nowhere:function", "subject must be a module:function to call"),
        ("math:nothing", "subject must be a module:function to call"),
    ):
        with pytest.raises(ValueError, match=message):
            cli.subject_of(name)
    with pytest.raises(ValueError, match="molecules must be at least 2, got 1"):
        AuditConfig(molecules=1)


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from jphys.cli import main; main()", *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_users_own_calculator_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ase.calculators.lj import LennardJones\n\ndef make():\n    return LennardJones(sigma=1.2)\n"
    )
    small = ("--molecules", "2", "--steps", "5", "--dynamics-ps", "0.02", "--curves", "2")
    done = run("audit", "mine:make", *small, "--output", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr[-2000:]
    record = json.loads((tmp_path / "out/audit.json").read_text("utf-8"))
    assert record["subject"] == "mine:make" and len(record["checks"]) == 8
    page = (tmp_path / "out/audit.html").read_text("utf-8")
    assert (
        page.count("data:image/png;base64,") == 2 and "Audit of mine:make" in page and 'src="http' not in page
    )


def test_the_list_and_a_wrong_subject(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, status, said in (
        (["models"], 0, "vimpnn-qm9"),
        (["audit", "nothing"], 2, "error: subject must be of qm9-small"),
        (["audit", "qm9-small", "--molecules", "1"], 2, "molecules must be at least 2, got 1"),
    ):
        monkeypatch.setattr(sys, "argv", ["jphys", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        output = capsys.readouterr()
        assert stopped.value.code == status and said in output.out + output.err
    assert not list(tmp_path.iterdir())
