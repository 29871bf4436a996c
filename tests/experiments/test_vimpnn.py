"""The scripts of the bond-typed family as a user runs them, at their smallest size."""

import importlib
import json
from pathlib import Path

import numpy as np
import pytest

from jphys.checkpoint import PRETRAINED
from jphys.data import augmented_qm9, growth
from jphys.data.scaled import take_shapes
from jphys.data.scaled_files import load
from jphys.engines import Engine, Result
from jphys.models import make_potential
from jphys.training.setup import check_heads

NO_STYLE = "style must not be given with the preset smoke"
ROOT = Path(__file__).parents[2]


@pytest.mark.smoke
@pytest.mark.slow
def test_a_table_of_strategies_and_again(run, read, tmp_path):
    """The second call trains nothing: every summary is there."""
    arguments = ("vimpnn_ablation.py", "--table", "4", "--preset", "smoke", "--run", str(tmp_path))
    said = run(*arguments)
    (folder,) = tmp_path.iterdir()
    table = read(folder / "table4.json")
    assert list(table["rows"]) == ["a.ii + atoms", "a.ii + orbitals", "a.ii + scale"]
    for row in table["rows"].values():
        assert row["seeds"] == 1 and row["mae"]["mean"] > 0 and row["dsc"]["mean"] is not None
    summaries = sorted(folder.glob("*/summary.json"))
    assert len(summaries) == 3 and all(read(path)["compilations"] == 1 for path in summaries)
    times = [path.stat().st_mtime_ns for path in summaries]
    assert run(*arguments).splitlines()[:3] == said.splitlines()[:3]
    assert [path.stat().st_mtime_ns for path in summaries] == times


@pytest.mark.slow
def test_clusters_from_training_to_contributions(run, read, tmp_path):
    """Table 2 and figure 3, 4 on stretched clusters; figure 5 and 6; figure 7 from the trained model."""
    run(
        "vimpnn_datasets.py", "--data", "crystal-growth-unstable", "--preset", "smoke", "--run", str(tmp_path)
    )
    folder = tmp_path / "crystal-growth-unstable-smoke"
    table = read(folder / "table2-crystal-growth-unstable.json")
    names = ["MPNN", "VIMPNN", "VIMPNN without estimates", "VIMPNN, smooth (ours)"]
    assert list(table["rows"]) == names
    assert all(row["mae_between"]["mean"] > 0 for row in table["rows"].values()) and set(
        table["mae_by_element"]["MPNN"]
    ) <= {"Al", "Cu"}
    assert (folder / "fig3-crystal-growth-unstable.png").stat().st_size > 5000
    said = run("vimpnn_sizes.py", "--preset", "smoke", "--run", str(tmp_path), "--largest", "60")
    sizes = tmp_path / "crystal-growth-stable-smoke"
    assert (sizes / "fig6.png").exists() and (sizes / "fig5.png").exists() and "not made" not in said
    rows = read(sizes / "sizes.json")["mae_by_size"]
    assert list(rows) == ["all sizes", "up to 60 atoms"] and rows["all sizes"]["VIMPNN"]
    run("vimpnn_contributions.py", "--preset", "smoke", "--run", str(tmp_path))
    found = read(folder / "contributions.json")
    assert (folder / "fig7.png").stat().st_size > 5000 and found["model"].endswith("VIMPNN-0/best")
    assert len(found["energy"]) == 7 and 0 < found["at_lattice_site"]["share"] < 1
    assert found["shift"][found["energy_of_emt"].index(min(found["energy_of_emt"]))] <= 0
    assert found["at_lattice_site"]["distance"] == pytest.approx(3.995 / 2**0.5, abs=0.3)


@pytest.mark.slow
def test_the_styles(run, read, tmp_path):
    """The paper's settings validate after every epoch of Adam, as the fast ones of Muon."""
    run("vimpnn_styles.py", "--preset", "smoke", "--run", str(tmp_path))
    (folder,) = tmp_path.iterdir()
    table = read(folder / "styles.json")
    assert list(table["rows"]) == ["paper", "fast", "fast, 36 epochs"]
    assert read(folder / "paper" / "config.json")["fields"]["optimizer"] == "adam"
    assert (folder / "styles.png").stat().st_size > 5000


@pytest.mark.slow
def test_the_crystals(run, read, tmp_path):
    run("vimpnn_datasets.py", "--data", "infinite-crystal", "--preset", "smoke", "--run", str(tmp_path))
    folder = tmp_path / "infinite-crystal-smoke"
    table = read(folder / "table2-infinite-crystal.json")
    assert table["n_train"] == 16 and table["rows"]["VIMPNN"]["dsc"]["mean"] is not None
    assert (folder / "fig4-infinite-crystal.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("data", "cheap", "judge"),
    [("augmented-qm9", "gfn2-xtb", "pyscf"), ("crystal-growth", "emt", "gpaw-lcao")],
)
def test_labels_of_two_engines(run, read, tmp_path, data, cheap, judge):
    if cheap == "gfn2-xtb":
        pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    run("vimpnn_engines.py", "--data", data, "--preset", "smoke", "--run", str(tmp_path))
    rows = read(tmp_path / f"engines-{data}.json")["rows"]
    assert list(rows) == [cheap, f"VIMPNN of {cheap}", f"VIMPNN of {judge}"]
    assert 0 < rows[cheap]["mae"]["mean"] < rows[f"VIMPNN of {judge}"]["mae"]["mean"]


@pytest.mark.slow
def test_the_benchmark(run, read, tmp_path):
    """GFN2-xTB comes with the test extra; DFT is left out by its flag."""
    output = tmp_path / "bench.json"
    run("bench_vimpnn.py", "--molecules", "8", "--dft", "0", "--rounds", "1", "--output", str(output))
    found = read(output)
    *_, engine, ours = found["rows"]
    assert len(found["rows"]) == 8 and engine["atoms"] == ours["atoms"]
    ratio = engine["ms per molecule"] / ours["ms per molecule"]
    assert found["ratios"]["gfn2-xtb / VIMPNN, batched"] == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("script", "file", "n_points"),
    [
        ("make_augmented_qm9.py", "augmented_qm9-smoke.npz", 30),
        ("make_crystal_growth.py", "crystal_growth_stable-smoke.npz", 8),
        ("make_infinite_crystal.py", "infinite_crystal-smoke.npz", 50),
    ],
)
def test_a_trial_set_does_not_go_on_with_the_one_in_the_package(
    run, tmp_path, monkeypatch, script, file, n_points
):
    if script == "make_augmented_qm9.py":
        pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    monkeypatch.chdir(tmp_path)
    assert file in run(script, "--smoke", "--workers", "0")
    assert len(load(tmp_path / "runs" / file)) == n_points


@pytest.fixture
def module(monkeypatch):
    """A module of experiments/ by name."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return importlib.import_module


def summary(mae, **dsc):
    """What a training reports, as far as tables read it."""
    errors = {name: {"mean": mae, "std": mae} for name in ("mae", "mse", "re", "mae_per_atom")}
    errors |= {"n_nonfinite": 1, "dsc": {"mean": None, "std": None, "n_without_curve": 0, **dsc}}
    return {"test": errors, "between": errors, "epochs": 2, "minutes": 1.0}


def test_what_a_mean_leaves_out_is_summed_over_seeds_and_shown(module):
    tables, page = module("vimpnn_tables"), module("render_vimpnn")
    seeds = [summary(0.1, n_without_minimum=2), summary(0.3, n_without_minimum=3), summary(None)]
    row = tables.over_seeds(seeds)
    assert row["mae"]["mean"] == pytest.approx(0.2) and row["dsc"]["mean"] is None
    assert (row["n_nonfinite"], row["n_without_minimum"], row["n_without_curve"]) == (3, 5, 0)
    assert row["n_without_minimum_between"] == 5
    older = {key: value for key, value in row.items() if not key.startswith("n_")}
    older["std_over_points"] = older["std_over_points"] | {"re": None}
    made = page.rows_of("table1", {"rows": {"a.ii": row, "MPNN": older}})
    assert [one["without minimum"] for one in made] == ["5", "0"] and "without curve" not in made[0]
    assert made[1]["RE, std over points"] == made[1]["DSC Å"] == "–"
    assert "without minimum" not in page.rows_of("table1", {"rows": {"MPNN": older}})[0]
    stable = row | {"n_without_curve": 9}
    assert "without curve" not in page.rows_of("table1", {"rows": {"a.ii": stable}})[0], "no set of curves"
    curves = {"rows": {"a.ii": stable, "MPNN": row | {"dsc": tables.spread([0.1])}}}
    assert page.rows_of("table1", curves)[0]["without curve"] == "9"
    assert tables.mean_by_group([{"Al": 1.0}, {"Al": 3.0, "Cu": 5.0}]) == {"Al": 2.0, "Cu": 5.0}


def test_goals_without_an_answer_are_shown_as_such(module, tmp_path):
    """DSC between the scales is judged apart; a metric that nobody has is no error."""
    page = module("render_vimpnn")
    rows = {
        "MPNN": {"re": value(0.001), "dsc": value(0.02), "dsc_between": value(0.01)},
        "VIMPNN": {"re": value(None), "dsc": value(0.01), "dsc_between": value(0.03)},
    }
    for name, *_ in page.GOALS:
        (tmp_path / f"table2-{name}.json").write_text(json.dumps({"rows": rows}))
    lines = page.goals(tmp_path).splitlines()[2:]
    assert lines[0].split(" | ")[4:8] == ["–", "–", "0.00100", "–"]
    assert lines[1].split(" | ")[5:] == ["yes", "0.0200", "yes", "0.0300", "0.0100", "**no** |"]


def test_every_seed_of_a_table_trains_as_long_as_the_first(module, monkeypatch, tmp_path):
    """Also where a row has more points, and so fewer epochs, than the others."""
    script, asked = module("vimpnn_datasets"), {}
    points = growth.load_unstable()
    parts = script.vimpnn.parts_of("", take_shapes(points, np.arange(20)), (0.6, 0.2, 0.2), 0)

    def trained(folder, parts, style, model, seed, **changes):
        asked.setdefault(folder.name.rsplit("-", 1)[0], set()).add(changes.get("epochs"))
        return summary(0.1), None, None

    monkeypatch.setattr(script.vimpnn, "begin", lambda preset: None)
    monkeypatch.setattr(script.vimpnn, "parts_of", lambda *given: parts)
    monkeypatch.setattr(script.vimpnn, "trained", trained)
    monkeypatch.setattr(script, "predict", lambda potential, params, points: points.structures.energy)
    for name in ("write", "line"):
        monkeypatch.setattr(script.tables, name, lambda *given: None)
    for name in ("errors_by_element", "energy_curves"):
        monkeypatch.setattr(script.figures, name, lambda *given, **options: None)
    script.main(script.Config(data="crystal-growth-unstable", run=tmp_path))
    assert asked["VIMPNN-smooth"] == {4} and len(asked) == 4
    assert all(len(epochs) == 1 for epochs in asked.values())


def test_an_ordering_is_open_until_the_seeds_decide(module, monkeypatch, tmp_path):
    script = module("vimpnn_orderings")
    low, high = ({"mean": mean, "values": [mean, mean + 0.1, mean - 0.1]} for mean in (1.0, 2.0))
    high["values"][0] += 0.01  # differences that are all the same say nothing
    one = {"mean": 3.0, "values": [3.0]}
    assert script.verdict(low, high, 1).startswith("yes: 1.0 < 2.0, p ")
    assert script.verdict(high, low, 1).startswith("**no**: 2.0 > 1.0, p ")
    assert (
        script.verdict(low, one, 1) == "open: 1.0 < 3.0" and script.verdict(low, low, 1) == "open: 1.0 = 1.0"
    )
    assert script.verdict(low, {"mean": None, "values": []}, 1) == "–"
    (tmp_path / "table9.json").write_text(json.dumps({"rows": {"a": {"mae": low}, "b": {"mae": high}}}))
    monkeypatch.setattr(script, "ORDERINGS", {"a before b": [("table9", "a", "b")]})
    (row,) = script.judged(tmp_path)
    assert row["models"] == "a before b" and row["MAE eV"].startswith("yes") and row["DSC Å"] == "–"


def value(mean):
    return {"mean": mean, "std": None}


@pytest.mark.parametrize(
    ("changed", "kept"),
    [
        ({}, True),
        ({"seeds": 4}, True),
        ({"seeds": 2}, False),
        ({"molecules": 1000}, False),
        ({"style": "paper"}, False),
        ({"labels": augmented_qm9.DFT_FILE, "molecules": 100}, False),
        ({"preset": "smoke", "molecules": 70, "seeds": 2}, False),
    ],
)
def test_only_the_tables_of_the_page_go_to_its_folder(module, monkeypatch, tmp_path, changed, kept):
    """And a trial hears how many molecules and seeds it is to take."""
    script, asked, wrote = module("vimpnn_ablation"), [], []

    def trained(folder, parts, style, model, seed, **_):
        asked.append((seed, parts, folder))
        return (summary(0.1),)

    monkeypatch.setattr(script.vimpnn, "trained", trained)
    monkeypatch.setattr(script.tables, "write", lambda folder, name, record: wrote.append((folder, name)))
    monkeypatch.setattr(script.vimpnn, "begin", lambda preset: None)
    monkeypatch.setattr(script.vimpnn, "parts_of", lambda name, points, fractions, seed, shapes: shapes)
    script.main(script.Config(table=3, run=tmp_path, **changed))
    ((folder, name),) = wrote
    assert name == "table3.json" and (folder == script.tables.RESULTS) == kept
    assert {seed for seed, *_ in asked} == set(range(changed.get("seeds", 3)))
    assert {molecules for _, molecules, _ in asked} == {changed.get("molecules", 2000)}
    assert "edge-none-T3-219-0" in {path.name for *_, path in asked}


def test_points_where_the_cheap_engine_does_not_converge_are_counted(module):
    script = module("vimpnn_engines")
    points = growth.load_unstable(growth.DFT_FILE)
    fails = points.structures.positions[0]

    def energy(species, positions, cell):
        return Result(float("nan"), False) if np.array_equal(positions[0], fails) else Result(1.0, True)

    kept, other = script.relabelled(points, Engine("none", "1", {}, energy))
    assert len(kept) == len(other) == len(points) - other.n_failed and other.n_failed >= 1
    assert (other.structures.energy == 1.0).all() and other.provenance["engine"] == "none"
    assert kept.structures.name.tolist() == other.structures.name.tolist()
    assert set(kept.structures.energy) <= set(points.structures.energy)


def test_the_moving_atom_leaves_its_hollow_along_the_normal(module):
    """As far from each of its three neighbours, at any shift."""
    positions = module("vimpnn_contributions").clusters(13, np.array([0.0, 0.5, 1.0]))
    distances = np.sort(np.linalg.norm(positions[:, :14] - positions[:, 14:], axis=-1), axis=1)[:, :3]
    np.testing.assert_allclose(distances[:, 0], distances[:, 2], atol=1e-12)
    np.testing.assert_allclose(distances[0], 3.995 / 2**0.5, atol=1e-12)
    assert (np.diff(distances[:, 0]) > 0.1).all()


def test_figure_5_shows_what_models_do_between_the_scales(module, monkeypatch, tmp_path):
    script, drawn = module("vimpnn_sizes"), {}
    for name in script.MODELS:
        (tmp_path / "crystal-growth-unstable-fast" / f"{name}-0" / "best").mkdir(parents=True)
    monkeypatch.setattr(script.checkpoint, "load", lambda path: (None, None))
    monkeypatch.setattr(script, "predict", lambda potential, params, points: np.zeros(len(points)))
    monkeypatch.setattr(script.figures, "energy_curves", lambda panels, path, reference: drawn.update(panels))
    assert script.figure_5(script.Config(run=tmp_path), "fast", tmp_path)
    sizes = [int(title.split(" atoms (")[0]) for title in drawn]
    np.testing.assert_allclose(sizes, [15, 75], atol=2)
    for curves in drawn.values():
        assert len(curves["emt"][0]) == 10 and len(curves["VIMPNN"][0]) == 55


@pytest.mark.parametrize("model", ["VIMPNN", "MPNN"])
def test_a_model_is_asked_only_for_the_estimates_it_makes(model, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    shared = importlib.import_module("vimpnn_runs")
    config = shared.train_config("smoke", getattr(shared, model), seed=0)
    assert config.losses is not None
    check_heads(config.losses, make_potential(config.model))
    assert (config.losses.auxiliary.weight > 0) == (model == "VIMPNN")


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("vimpnn_ablation.py", ("--table", "2"), "invalid choice '2'"),
        ("vimpnn_ablation.py", ("--seeds", "0"), "seeds must be at least 1, got 0"),
        ("vimpnn_ablation.py", ("--preset", "smoke", "--style", "paper"), NO_STYLE),
        ("vimpnn_datasets.py", ("--preset", "smoke", "--style", "fast"), NO_STYLE),
        ("vimpnn_sizes.py", ("--preset", "smoke", "--style", "fast"), NO_STYLE),
        ("vimpnn_contributions.py", ("--model", str(PRETRAINED / "vimpnn-qm9")), "species must be among the"),
        ("vimpnn_datasets.py", ("--data", "qm9"), "invalid choice 'qm9'"),
        ("vimpnn_datasets.py", ("--labels", "nowhere.npz", "--data", "infinite-crystal"), "nowhere.npz"),
        ("vimpnn_engines.py", ("--seeds", "0"), "seeds must be at least 1, got 0"),
        ("vimpnn_sizes.py", ("--largest", "3"), "largest must be at least 16, got 3"),
        ("vimpnn_contributions.py", ("--model", "nowhere"), "nowhere"),
        ("make_crystal_growth.py", ("--max-size", "14"), "max_size must be at least min_size 15, got 14"),
        ("make_crystal_growth.py", ("--smoke", "--output", "."), "must be an npz file of scaled shapes"),
        ("make_infinite_crystal.py", ("--smoke", "--output", "."), "must be an npz file of scaled shapes"),
        ("bench_vimpnn.py", ("--molecules", "1"), "molecules must be at least 2, got 1"),
    ],
)
def test_what_is_refused(refusal, script, arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refusal(script, *arguments)
    assert not list(tmp_path.iterdir())
