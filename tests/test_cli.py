"""The console script, and an audit of calculators that are right, wrong or broken."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

import jphys
from jphys import cli, runs
from jphys.figures.audit import audit_page
from jphys.reliability import audit, mmff94
from jphys.reliability.audit import AuditConfig
from jphys.reliability.surface import Calculated
from jphys.training.config import TrainConfig

SMALL = AuditConfig(molecules=4, steps=300, dynamics_ps=0.2, curves=3)


def by_name(checks):
    return {check.name: check for check in checks}


@pytest.fixture(scope="module")
def classical():
    return by_name(audit.audit(mmff94.surface(), config=SMALL))


def test_mmff94_keeps_its_molecules_and_does_not_know_every_pair(classical):
    assert len(classical) == len(audit.CHECKS) == 10
    kept = "recovery", "assembly", "additivity", "invariance", "conservation", "stable distance", "torsions"
    for name in kept:
        assert classical[name].passed, classical[name]
    assert (
        not classical["frequencies"].passed and "10 of 210 modes imaginary" in classical["frequencies"].what
    )
    assert not classical["repulsion"].passed and "H–H" in classical["repulsion"].details["largest_distance"]
    smooth = classical["smoothness"]
    assert smooth.details["n_without_answer"] == 5 and len(smooth.details["curves"]) == 10
    assert smooth.value is None and not smooth.passed, "a surface that knows ten pairs has no answer for all"


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


def test_what_takes_long_shows_how_far_it_is(capsys):
    """A bar over the checks, and within them one per set of structures and per run of dynamics."""
    audit.audit(mmff94.surface(), config=SMALL, progress=True)
    said = capsys.readouterr().err
    missing = [name for name in ("relax", "evaluate", "dynamics", "stable distance") if name not in said]
    assert not missing, said[-500:]


def test_a_broken_surface_fails_everything_and_is_reported():
    def ask(graph):
        raise RuntimeError("out of order")

    surface = Calculated(ask)
    checks = audit.audit(surface, config=SMALL)
    assert not any(check.passed for check in checks) and surface.problems["RuntimeError: out of order"] > 100
    assert by_name(checks)["recovery"].value == 0 and by_name(checks)["assembly"].value == 0
    assert json.dumps([vars(check) for check in checks], allow_nan=False)


def test_a_check_that_cannot_be_made_is_reported_and_the_others_are_made(tmp_path):
    """A surface that refuses to relax at all; of the four molecules of seed 1 none has a bond to cut."""

    class Rigid(Calculated):
        def relax(self, graphs, **how):
            raise ValueError("species must be among H, C, got O")

    short = AuditConfig(molecules=4, steps=5, dynamics_ps=0.01, curves=2)
    checks = by_name(audit.audit(Rigid(mmff94.energy_and_forces), config=short, seed=1))
    assert len(checks) == len(audit.CHECKS) and checks["additivity"].passed
    for name, reason in (
        ("recovery", "must be among H, C, got O"),
        ("assembly", "with a bond to cut, got 4"),
    ):
        assert not checks[name].passed and checks[name].value is None and reason in checks[name].what
    page = audit_page(list(checks.values()), tmp_path / "a.html", subject="x", problems={}, made_with="")
    assert "species must be among H, C, got O" in page.read_text("utf-8")


def test_an_audit_that_is_stopped_has_told_what_it_knew(tmp_path, monkeypatch):
    def stopped(surface, chosen, config, seed):
        raise KeyboardInterrupt

    monkeypatch.setattr(audit, "CHECKS", (audit.additivity, stopped))
    with pytest.raises(KeyboardInterrupt):
        cli.run_audit(cli.Audit("mmff94", tmp_path, config=SMALL))
    record = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert [check["name"] for check in record["checks"]] == ["additivity"] and not record["finished"]


def test_a_surface_that_is_given_needs_no_known_name_and_says_why_it_failed(tmp_path, monkeypatch, capsys):
    """As experiments/audits.py gives one; a range is shown by both ends."""
    monkeypatch.setattr(audit, "CHECKS", (audit.frequencies, audit.torsions))
    monkeypatch.setattr(cli, "CHECKS", audit.CHECKS)
    monkeypatch.setattr("jphys.figures.audit.audit_page", lambda checks, path, **_: path)
    assert cli.run_audit(cli.Audit("ani-1x", tmp_path), mmff94.surface()) == 1
    record = json.loads((tmp_path / "audit.json").read_text("utf-8"))
    assert record["subject"] == "ani-1x" and record["finished"]
    assert [(check["limit"], check["most"]) for check in record["checks"]] == [(0.5, None), (0.5, 1.5)]
    said = capsys.readouterr().out
    assert "limit 0.5–1.5" in said and "10 of 210 modes imaginary" in said


def test_one_stretched_molecule_without_an_answer_is_no_answer():
    def ask(graph) -> Any:
        nitrogen = 7 in np.asarray(graph.nodes.species)
        return (None, None) if nitrogen else mmff94.energy_and_forces(graph)

    found = audit.stable_distance(Calculated(ask), [], AuditConfig(curves=6), 0)
    assert not found.passed and found.value is None and 0 < found.details["n_nonfinite"] < 6


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
    with pytest.raises(ValueError, match=r"dynamics_ps must be at least 0\.01, got 0\.004"):
        AuditConfig(dynamics_ps=0.004)
    with pytest.raises(ValueError, match=r"torsions must be a lower and a higher number, got 1\.5 and 0\.5"):
        AuditConfig(torsions=(1.5, 0.5))


def test_a_users_module_that_fails_is_told_apart_from_a_failed_audit(tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(
        "def nothing(): return None\n"
        "def asks(x): return x\n"
        "def missing(): raise FileNotFoundError('weights.pt')\n"
        "number = 3\n"
        "def ends(): import sys; sys.exit(0)\n"
        "from ase.calculators.lj import LennardJones\n"
        "def kind(): return LennardJones\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for function, message in (
        ("nothing", "potential must be a Potential, .* got <class 'NoneType'>"),
        ("asks", "missing 1 required positional argument"),
        ("missing", "FileNotFoundError: weights.pt"),
        ("number", "not callable"),
        ("ends", "SystemExit: 0"),
        ("kind", "must return a calculator, or .potential, params., got <class"),
    ):
        with pytest.raises(ValueError, match=f"subject must be a module:function to call, .*{message}"):
            cli.subject_of(f"faulty:{function}")


def run(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-c", "from jphys.cli import main; main()", *arguments],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[1]), "COLUMNS": "200"},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_model_is_asked_what_its_own_training_held_out(tmp_path, monkeypatch):
    potential = jphys.make_potential(jphys.TransformerConfig(channels=8, blocks=1, heads=2, n_basis=4))
    params = potential.init(jax.random.key(0), load_some()[0])
    run, asked = tmp_path / "run:3", []
    runs.start(run, TrainConfig(seed=3), resume=False)
    jphys.save(run / "best", potential, params)

    def audited(surface, *, config, **_):
        asked.append(config.split)
        raise InterruptedError

    monkeypatch.setattr(cli, "audit", audited)
    monkeypatch.chdir(run)  # a plain name is none of the folder that one works in
    for subject, split in ((run, 3), (run / "best", 3), ("qm9-small", 0), ("mmff94", 0)):
        with pytest.raises(InterruptedError):
            cli.run_audit(cli.Audit(str(subject), tmp_path / "out"))
        assert asked[-1] == split


def test_what_nobody_foresaw_is_no_failed_check(tmp_path, monkeypatch, capsys):
    def broken(*args, **kwargs):
        raise AttributeError("no such thing")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cli, "audit", broken)
    monkeypatch.setattr(sys, "argv", ["jphys", "audit", "mmff94"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2 and "no such thing" in capsys.readouterr().err


@pytest.mark.slow
def test_a_users_own_calculator_from_the_command_line(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from ase.calculators.lj import LennardJones\n\ndef make():\n    return LennardJones(sigma=1.2)\n"
    )
    small = ("--molecules", "2", "--steps", "5", "--dynamics-ps", "0.02", "--curves", "2")
    done = run("audit", "mine:make", *small, "--output", "out", cwd=tmp_path)
    assert done.returncode == 1, done.stderr[-2000:]
    record = json.loads((tmp_path / "out/audit.json").read_text("utf-8"))
    assert record["subject"] == "mine:make" and len(record["checks"]) == 10
    page = (tmp_path / "out/audit.html").read_text("utf-8")
    assert (
        page.count("data:image/png;base64,") == 3 and "Audit of mine:make" in page and 'src="http' not in page
    )


def test_the_list_and_a_wrong_subject(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for arguments, status, said in (
        (["models"], 0, "vimpnn-qm9"),
        (["--version"], None, f"jphys {jphys.__version__}"),
        (["audit", "nothing"], 2, "error: subject must be of qm9-small"),
        (["audit", "qm9-small", "--molecules", "1"], 2, "molecules must be at least 2, got 1"),
    ):
        monkeypatch.setattr(sys, "argv", ["jphys", *arguments])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        output = capsys.readouterr()
        assert stopped.value.code == status and said in output.out + output.err
    assert not list(tmp_path.iterdir())
