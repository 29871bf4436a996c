"""The reliability scripts as a user runs them, at their smallest size."""

import dataclasses
import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import t

from jphys.data.qm9 import SMALL

ROOT = Path(__file__).parents[2]
ANI = "--ani-python must be an interpreter"


@pytest.mark.slow
def test_two_rows_of_the_ablation_and_again(run, read, tmp_path):
    """The energy-only row is trained once for both objectives; a second call trains nothing."""
    arguments = ("table2_ablation.py", "--preset", "smoke", "--rows", "1", "10", "--run", str(tmp_path))
    said = run(*arguments)
    table = read(tmp_path / "table2.json")["families"]
    assert list(table) == ["paper", "physics"] and list(table["paper"]) == ["1", "10"]
    assert table["paper"]["1"] == table["physics"]["1"]
    assert table["paper"]["10"]["columns"] != table["physics"]["10"]["columns"]
    summaries = sorted(tmp_path.glob("*/*/summary.json"))
    assert len(summaries) == 3 and all(read(path)["compilations"] == 1 for path in summaries)
    assert (tmp_path / "table2.png").stat().st_size > 5000
    times = [path.stat().st_mtime_ns for path in summaries]
    assert run(*arguments) == said
    assert [path.stat().st_mtime_ns for path in summaries] == times


@pytest.mark.slow
def test_a_row_of_table_1(run, read, tmp_path):
    """A training of train.py, and one that the table makes itself."""
    folder = tmp_path / "smoke-physics-0"
    run("train.py", "--preset", "smoke", "--run", str(folder))
    written = (folder / "summary.json").stat().st_mtime_ns
    run(
        "table1_qm9.py", "--preset", "smoke", "--objectives", "physics", "energy-only", "--run", str(tmp_path)
    )
    rows = read(tmp_path / "table1.json")["rows"]
    assert list(rows) == ["physics", "energy-only"]
    assert (folder / "summary.json").stat().st_mtime_ns == written
    for name, row in rows.items():
        summary = read(tmp_path / f"smoke-{name}-0" / "summary.json")
        assert summary["compilations"] == 1 and summary["objective"] == name
        assert row["mae_energy_mev"]["mean"] == summary["test"]["mae_energy_mev"]


@pytest.mark.smoke
@pytest.mark.slow
def test_recovery_on_several_surfaces(run, read, tmp_path):
    run("fig2_recovery.py", "--preset", "smoke", "--output", str(tmp_path))
    found = read(tmp_path / "fig2.json")["surfaces"]
    assert list(found)[:2] == ["qm9-small", "MMFF94"] and all(one["n"] == 6 for one in found.values())
    assert all((tmp_path / f"{name}.png").stat().st_size > 5000 for name in ("fig2", "fig2-cases"))


@pytest.mark.slow
def test_assembly_on_several_surfaces(run, read, tmp_path):
    run("fig3_assembly.py", "--preset", "smoke", "--output", str(tmp_path))
    found = read(tmp_path / "fig3.json")["surfaces"]
    assert found["MMFF94"][0]["restored"] == 1.0 and found["MMFF94"][0]["n"] == 6
    assert all((tmp_path / f"fig3-{number}.png").stat().st_size > 5000 for number in (35, 87))


@pytest.mark.slow
def test_masked_atoms(run, read, tmp_path):
    run("fig5_masked_atom.py", "--preset", "smoke", "--output", str(tmp_path))
    found = read(tmp_path / "fig5.json")
    assert found["accuracy"]["one at a time"]["top1"] > 0.9 and len(found["shifts"]) == 9
    assert (tmp_path / "fig5.png").stat().st_size > 5000


@pytest.mark.slow
def test_truth_by_a_quick_engine(run, read, tmp_path):
    """GFN2-xTB instead of density functional theory: it follows itself."""
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    labels, small = str(tmp_path / "truth.npz"), ("--molecules", "6", "--scans", "2")
    run("make_truth.py", "--engine", "gfn2-xtb", *small, "--output", labels)
    run("truth_dft.py", "--preset", "smoke", "--labels", labels, "--output", str(tmp_path))
    found = read(tmp_path / "truth.json")["surfaces"]
    assert (tmp_path / "truth.png").stat().st_size > 10000
    assert found["GFN2-xTB"]["displaced"][1]["force_slope"] == pytest.approx(1.0, abs=1e-3)
    assert 0.5 < found["qm9-small"]["displaced"][0]["median_rise_ratio"] < 1.5


@pytest.mark.slow
def test_geometries_of_two_surfaces(run, read, tmp_path):
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    run("geometry.py", "--preset", "smoke", "--surfaces", "mmff94", "qm9-small", "--output", str(tmp_path))
    found = read(tmp_path / "geometry-mmff94-qm9-small.json")
    started, relaxed = (found["surfaces"][name]["sizes"][-1] for name in ("MMFF94", "qm9-small"))
    assert started["n"] == relaxed["n"] == 2
    assert relaxed["heavy"]["median"] < started["heavy"]["median"] < 0.1
    (row,) = found["surfaces"]["qm9-small"]["conformers"]
    assert found["conformers"] == [row["n"]] and row["n"] >= 4 and row["rank"] > 0


@pytest.mark.slow
def test_audits_of_two_subjects(run, read, tmp_path):
    run("audits.py", "--preset", "smoke", "--subjects", "qm9-small", "mmff94", "--run", str(tmp_path))
    for subject in ("qm9-small", "mmff94"):
        record = read(tmp_path / f"audit-{subject}.json")
        assert record["subject"] == subject and len(record["checks"]) == 10
        assert (tmp_path / subject / "audit.html").stat().st_size > 5000


@pytest.fixture
def render(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module("render_reliability")


@pytest.mark.slow
def test_a_training_that_fails_is_left_out_of_its_row(render, tmp_path, monkeypatch, capsys):
    """By a learning rate that no network survives; the table, and its figure, go on without it."""
    runs = importlib.import_module("reliability_runs")
    tables, table1 = (importlib.import_module(name) for name in ("reliability_tables", "table1_qm9"))
    config = table1.train_config(table1.Config(preset="smoke", run=tmp_path), "energy-only", 0)
    config = dataclasses.replace(config, learning_rate=1e30, structures=60, epochs=12)
    assert runs.trained(tmp_path / "a", config, runs.molecules()) is None
    assert "is left out: loss must be finite" in capsys.readouterr().err
    good = dict.fromkeys(("mae_energy_mev", "mae_force", "distance", "recovered"), 1.0)
    rows = {
        "physics": tables.spread([good, runs.numbers(None)]),
        "paper": tables.spread([runs.numbers(None)] * 2),
    }
    tables.compared(rows, full="physics")
    lines = render.table1({"rows": rows}).splitlines()
    assert lines[2].startswith("| physics | 1.0 | 1.000 |") and lines[3].startswith("| paper | – | – | – |")
    tables.draw(tmp_path, "a.png", {"ours": rows}, tables.PAPER_1)
    assert (tmp_path / "a.png").stat().st_size > 5000


def test_a_star_is_where_a_paired_test_says_so_and_the_paper_stands_beside(render):
    tables = importlib.import_module("reliability_tables")
    names = ("mae_energy_mev", "mae_force", "distance", "recovered")

    def seeds(*values):
        return tables.spread([dict.fromkeys(names, value) for value in values])

    rows = {
        "physics": seeds(1.0, 1.1, 1.2),
        "paper": seeds(1.05, 1.15, 1.0),
        "energy-only": seeds(5.0, 5.1, 5.3),
    }
    tables.compared(rows, full="physics")
    # differences 4, 4, 4.1: t = 4.0333/(0.057735/√3) with two degrees of freedom
    expected = 2 * t.sf(121.0, 2)
    assert rows["energy-only"]["distance"]["p"] == pytest.approx(expected, rel=0.01)
    rows["same"] = seeds(1.0, 1.1, 1.2)
    tables.compared(rows, full="physics")
    assert rows.pop("same")["distance"]["p"] is None, "nothing to divide by"
    assert rows["physics"]["distance"]["p"] is None and rows["paper"]["distance"]["p"] > 0.4
    head, _, *lines = render.table1({"rows": rows}).splitlines()
    assert head.endswith("| paper: MAE_E | MAE_F | ΔP |")
    assert lines[0].startswith("| physics | 1.1 ± 0.1 |") and lines[0].endswith("|  |  |  |")
    assert lines[1].endswith("| 15.16 | 0.0057 | 0.0251 |") and "*" not in lines[1]
    assert lines[2].startswith("| energy-only | 5.1 ± 0.2 * |")


def test_a_surface_without_an_answer_has_a_row_too(render, capsys):
    forces = ("force_mae", "force_size", "force_correlation", "force_slope")
    scan = {"n": 0, **dict.fromkeys(("mae", "size", "correlation"))}
    found = {
        "displaced": [{"sigma": 0.05, **dict.fromkeys(("median_rise_ratio", "rise_correlation", *forces))}],
        "stretch": scan,
        "frequencies": {**scan, "bias": None, "n_imaginary": 0},
        "n_unanswered": 9,
    }
    importlib.import_module("truth_dft").show("broken", found)
    assert "stretch: 0 points, MAE – of – eV" in capsys.readouterr().out
    row = render.truth({"surfaces": {"broken": found}}).splitlines()[-1]
    assert row == "| broken | – | – of – | –, – | – of – | –, – | 0 of 0 | 9 |"
    still = {
        "distance": {"mean": 5.0, "median": 5.0},
        "recovered": 0.0,
        "n_failed": 6,
        "energy_gap": {"median": None},
    }
    row = render.fig2({"surfaces": {"broken": {"rows": [still, still]}}}).splitlines()[-1]
    assert row == "| broken | 5.000 | 5.000 | 0 % | – | 6 | 5.000 |"


def test_a_surface_judged_alone_stands_beside_the_others(render, tmp_path):
    """And an audit of before, without the check, leaves its place empty; a range shows both ends."""
    for name, one in (("fig3", {"a": 1, "b": 2}), ("fig3-ani-1x", {"ANI-1x": 3})):
        (tmp_path / f"{name}.json").write_text(json.dumps({"shift": 0.7, "surfaces": one}))
    assert render.stored(tmp_path, "fig3") == {"shift": 0.7, "surfaces": {"a": 1, "b": 2, "ANI-1x": 3}}
    assert render.stored(tmp_path, "fig2") == {}
    check = {"unit": "", "details": {}, "value": 0.7, "passed": True}
    checks = [
        check | {"name": "recovery", "limit": 0.8},
        check | {"name": "torsions", "limit": 0.5, "most": 1.5},
    ]
    for name, kept in (("a", checks), ("b", checks[:1])):
        (tmp_path / f"audit-{name}.json").write_text(json.dumps({"subject": name, "checks": kept}))
    assert render.audits(tmp_path).splitlines()[2:] == [
        "| recovery | 0.8 | 0.7 | 0.7 |",
        "| torsions | 0.5–1.5 | 0.7 |  |",
    ]


def test_one_surface_alone_goes_into_a_file_of_its_own(render):
    shared = importlib.import_module("reliability_runs")
    assert shared.Judged(surfaces=("ANI-1x",)).named("truth") == "truth-ani-1x"
    assert shared.Judged().named("truth") == "truth"
    assert list(shared.surfaces(shared.Judged(surfaces=("mmff94",), run=Path("nowhere")))) == ["MMFF94"]
    assert "ANI-1x" not in shared.surfaces(shared.Judged(preset="smoke"))


def test_trainings_of_other_machines_are_judged_by_their_parameters_in_the_docs(
    render, capsys, monkeypatch, tmp_path
):
    shared = importlib.import_module("reliability_runs")
    monkeypatch.chdir(tmp_path)
    asked = shared.Judged(surfaces=("physics-no-bound",))
    (potential, params) = shared.surfaces(asked)["physics-no-bound"]
    assert potential.config.channels == 64 and "runs/default" in capsys.readouterr().err and params
    with pytest.raises(FileNotFoundError, match=r"nowhere.*must be a finished training"):
        shared.surfaces(dataclasses.replace(asked, run=Path("nowhere")))
    monkeypatch.setattr(shared, "MODELS", tmp_path)
    with pytest.raises(FileNotFoundError, match=r"runs.*must be a finished training"):
        shared.surfaces(asked)


def test_ani_is_asked_once_for_many_and_never_about_fluorine(render):
    """By a process that says minus the number of atoms, in hartree, and pushes every atom by its place."""
    ani, graph = importlib.import_module("peer_ani"), importlib.import_module("jphys.graph")
    hartree, asked = importlib.import_module("jphys.units").HARTREE, []

    class Peer:
        answer: dict

        def work(self, request):
            asked.append(request)
            energies = [-float(len(one)) for one in request["species"]]
            self.answer = {"energy": energies, "forces": request["positions"]}

    questions, place = ani.Questions(Peer()), np.eye(3)
    graphs = [
        graph.make_graph([8, 1, 1], place),
        graph.make_graph([9, 1], place[:2]),
        graph.make_graph([6], place[:1]),
    ]
    questions.prepare(graphs)
    energy, forces = questions(graphs[0])
    assert energy == -3 * hartree and np.allclose(forces, hartree * place)
    with pytest.raises(ValueError, match=r"atomic numbers must be of \[1, 6, 7, 8\] for ANI-1x, got \[9\]"):
        questions(graphs[1])
    assert questions(graphs[2])[0] == -hartree and len(asked) == 1 and asked[0]["species"] == [[8, 1, 1], [6]]
    assert questions(graphs[0])[0] == energy and len(asked) == 2


@pytest.mark.slow
def test_ani_itself(render):
    """Forces are the slope of the energy, and many molecules at once get what one gets."""
    python = os.environ.get("ANI_PYTHON")
    if not python:
        pytest.skip("needs ANI_PYTHON, an interpreter with torchani")
    graph = importlib.import_module("jphys.graph")
    surface = importlib.import_module("peer_ani").surface(python)
    place = 0.6276 * np.array([[0, 0, 0], [1, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1.1]])
    moved = [place + h * np.eye(15)[5].reshape(5, 3) for h in (-1e-3, 1e-3)]
    graphs = [graph.make_graph([6, 1, 1, 1, 1], one) for one in (place, *moved)]
    energies, forces = surface.evaluate([*graphs, graph.make_graph([9, 1], place[:2])])
    assert energies[0] == pytest.approx(-1102.0, abs=0.5) and np.isnan(energies[3])
    assert forces[0][1, 2] == pytest.approx((energies[1] - energies[2]) / 2e-3, rel=1e-3)
    assert surface.evaluate(graphs[:1])[0][0] == pytest.approx(energies[0], abs=1e-9)
    assert sum(surface.problems.values()) == 1


def test_seeds_without_a_number_leave_the_others(render):
    shared = importlib.import_module("reliability_tables")
    found = shared.spread([{"a": 1.0, "b": None}, {"a": 3.0, "c": 2.0}])
    assert found["a"]["mean"] == 2.0 and found["c"]["values"] == [None, 2.0]
    assert found["b"] == {"mean": None, "std": None, "values": [None, None]}
    rows = {"full": found, "other": shared.spread([{"a": 5.0, "d": 1.0}, {"a": 6.0, "d": 2.0}])}
    shared.compared(rows, full="full")
    assert 0 < rows["other"]["a"]["p"] < 0.2 and rows["other"]["d"]["p"] is None
    assert shared.means(found) == {"a": 2.0, "b": None, "c": 2.0}


def test_a_training_of_the_docs_is_known_by_its_settings(render, tmp_path):
    shared, table1 = (importlib.import_module(name) for name in ("reliability_runs", "table1_qm9"))
    config = table1.train_config(table1.Config(), "physics", 3)
    found = shared.stored(config)
    assert found["seed"] == 3 and found["objective"] == "physics" and shared.numbers(found)["distance"] > 0
    for other in ({"epochs": 2}, {"seed": 99}, {"data": "qm9"}):
        assert shared.stored(dataclasses.replace(config, **other)) is None
    assert shared.stored(config, tmp_path) is None


def test_only_whole_results_go_into_the_docs(render):
    shared = importlib.import_module("reliability_runs")
    assert shared.SurfacesConfig().kept == shared.RESULTS
    for part in ({"preset": "smoke"}, {"molecules": 2}):
        assert shared.SurfacesConfig(**part).kept == Path("runs")


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("table1_qm9.py", ("--objectives", "physic"), "objectives must be of physics, physics-no-bound, "),
        ("table1_qm9.py", ("--seeds", "0"), "seeds must be at least 1, got 0"),
        ("table1_qm9.py", ("--source", "qm9.npz"), "source must go with the data qm9-full, got qm9.npz"),
        ("table2_ablation.py", ("--source", "qm9.npz"), "source must go with the data qm9-full"),
        ("table2_ablation.py", ("--rows", "11"), "rows must be of 1 to 10, got [11]"),
        ("table2_ablation.py", ("--objectives", "energy"), "objectives must be of paper, physics, got"),
        ("table2_ablation.py", ("--preset", "smoke", "--stored"), "stored must go with the table in docs"),
        ("fig2_recovery.py", ("--molecules", "1"), "molecules must be at least 2, got 1"),
        ("fig3_assembly.py", ("--run", "nowhere"), "run experiments/table1_qm9.py first"),
        ("fig5_masked_atom.py", ("--model", "nowhere"), "nowhere"),
        ("geometry.py", ("--molecules", "0"), "molecules must be at least 1, got 0"),
        ("geometry.py", ("--conformers", "-1"), "conformers must be at least 0, got -1"),
        ("geometry.py", ("--surfaces", "qm9-smal"), "surfaces must be of qm9-small, physics, "),
        ("geometry.py", ("--surfaces", "mmff94", "--source", "nowhere"), "nowhere"),
        ("make_truth.py", ("--molecules", "0"), "molecules must be at least 1, got 0"),
        ("make_truth.py", ("--source", "qm9.npz"), "source must go with the second judge, got qm9.npz"),
        ("make_truth.py", ("--judge", "second", "--source", "nowhere"), "nowhere"),
        (
            "make_truth.py",
            ("--judge", "second", "--source", str(SMALL)),
            "source must hold 13 molecules of 8 heavy atoms in its test part, got 0",
        ),
        ("audits.py", ("--subjects", "mmff94", "qm9-smal"), "subject must be of qm9-small, "),
        (
            "audits.py",
            ("--subjects", "ani-1x"),
            f"{ANI} after pip install numpy 'torch==2.13.0' 'torchani==2.2.4'",
        ),
        ("audits.py", ("--subjects", "ani-1x", "--ani-python", "nowhere"), f"{ANI}, got nowhere: No such"),
        (
            "truth_dft.py",
            ("--surfaces", "ani-1x", "--ani-python", sys.executable),
            f"{ANI} after pip install",
        ),
        ("fig2_recovery.py", ("--surfaces", "ani-1x"), f"{ANI} after pip install"),
        ("fig3_assembly.py", ("--surfaces", "ani-2x"), "surfaces must be of qm9-small, physics, "),
        ("truth_dft.py", ("--judge", "second", "--labels", "a.npz"), "labels must not go with the second"),
        ("truth_dft.py", ("--labels", "nowhere.npz"), "nowhere.npz must be an npz file of truth"),
    ],
)
def test_what_is_refused(refusal, script, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(script, *arguments)
    assert not list(tmp_path.iterdir())
