"""The scripts of the bond-typed family as a user runs them, at their smallest size."""

import importlib
from pathlib import Path

import pytest

from jphys.data.scaled_files import load
from jphys.models import make_potential
from jphys.training.setup import check_heads

ROOT = Path(__file__).parents[2]


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
    assert found["ratios"]["gfn2-xtb / VIMPNN, batched"] > 0 and len(found["rows"]) == 7


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


@pytest.mark.parametrize("model", ["VIMPNN", "MPNN"])
def test_a_model_is_asked_only_for_the_estimates_it_makes(model, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    shared = importlib.import_module("vimpnn_runs")
    config = shared.train_config("smoke", getattr(shared, model), seed=0)
    check_heads(config, make_potential(config.model))
    assert (config.losses.auxiliary > 0) == (model == "VIMPNN")


@pytest.mark.parametrize(
    ("script", "arguments", "message"),
    [
        ("vimpnn_ablation.py", ("--table", "2"), "invalid choice '2'"),
        ("vimpnn_ablation.py", ("--seeds", "0"), "seeds must be at least 1, got 0"),
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
