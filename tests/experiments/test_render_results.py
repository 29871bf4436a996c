"""The table of results: rendered from summaries, seeds joined, and README never typed by hand."""

import copy
import importlib
import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "experiments" / "render_results.py"


START, END = "<!-- results:start -->", "<!-- results:end -->"


def load_script():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(SCRIPT.parent))
        return importlib.import_module("render_results")


script = load_script()


def summary(**changes) -> dict:
    rows = [
        {"sigma": sigma, "fmax": fmax, "distance": {"mean": mean}, "recovered": recovered}
        for sigma, fmax, mean, recovered in (
            (0.0, 0.01, 0.01, 1.0),
            (0.1, 0.05, 0.077, 0.8),
            (0.1, 0.01, 0.1234, 0.456),
        )
    ]
    judged = [
        {"sigma": sigma, "median_rise_ratio": ratio, "force_correlation": correlation}
        for sigma, ratio, correlation in ((0.05, 1.111, 0.899), (0.1, 9.0, 0.751))
    ]
    return {
        "preset": "default",
        "objective": "physics",
        "seed": 0,
        "n_parameters": 1,
        "device": "1 x cpu",
        "seconds": {"data": 1, "train": 600, "report": 30, "total": 660},
        "epochs": 60,
        "data": {"name": "qm9-small", "n_train": 3, "n_valid": 1, "n_test": 1},
        "test": {"mae_energy_mev": 71.26, "mae_force_ev_per_angstrom": 0.05678},
        "recovery": {"n": 4, "rows": rows},
        "xtb": {"n_molecules": 4, "sigmas": judged},
        **changes,
    }


def cells(page: Path) -> list[list[str]]:
    lines = [line for line in page.read_text("utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.fixture
def place(tmp_path):
    """Writes summaries and a README; renders."""

    class Place:
        readme, page = tmp_path / "README.md", tmp_path / "results.md"
        paths: tuple[Path, ...] = ()

        def add(self, record, name=None) -> Path:
            path = tmp_path / (name or f"{len(self.paths)}.json")
            path.write_text(record if isinstance(record, str) else json.dumps(record), "utf-8")
            self.paths += (path,)
            return path

        def render(self, *, check=False) -> list[list[str]]:
            script.main(script.Config(self.paths, self.readme, self.page, check))
            return cells(self.page)

    found = Place()
    for path, name in ((found.readme, "results"), (found.page, "trainings")):
        start, end = (f"<!-- {name}:{where} -->" for where in ("start", "end"))
        path.write_text(f"# A\n\n{start}\nold\n{end}\n\nafter é\n", "utf-8")
    return found


class TestTable:
    def test_one_run(self, place):
        place.add(summary())
        head, rule, goal, row = place.render()
        assert {len(head), len(rule), len(goal)} == {len(row)}
        assert row[0] == "`default`, physics, 60 epochs"
        assert row[1:] == ["71.3", "0.057", "0.123", "46 %", "1.11", "0.90", "0.75", "10.0", "11.0"]
        assert goal[0] == "*goal of `default`*" and goal[1] == "≤ 45" and goal[-1] == "≤ 12"
        for page in (place.readme, place.page):
            text = page.read_text("utf-8")
            assert text.startswith("# A\n\n") and text.endswith("\n\nafter é\n") and "old" not in text

    def test_the_readme_shows_five_columns(self, place):
        place.add(summary())
        place.render()
        head, _, goal, row = cells(place.readme)
        assert head == ["training", "MAE_E meV", "ΔP Å", "ΔP < 0.1 Å", "force correlation"]
        assert goal == ["*goal of `default`*", "≤ 45", "≤ 0.045", "≥ 92 %", ""]
        assert row == ["`default`, physics, 60 epochs", "71.3", "0.123", "46 %", "0.90"]

    def test_the_readme_leaves_objectives_without_the_bound_to_the_page(self, place):
        for objective in ("physics", "physics-no-bound", "paper", "paper-no-bound"):
            place.add(summary(objective=objective))
        labels = [row[0].split(", ")[1] for row in place.render()[3:]]
        assert labels == ["physics", "physics-no-bound", "paper", "paper-no-bound"]
        assert [row[0].split(", ")[1] for row in cells(place.readme)[3:]] == ["physics", "paper"]

    def test_a_device_of_jax_is_not_taken_for_cores(self, place):
        place.add(summary())
        place.render()
        text = place.page.read_text("utf-8")
        assert "Devices of JAX: 1 x cpu, all cores of a processor being one" in text

    def test_seeds_are_joined(self, place):
        errors = [60.0, 70.0, 95.0]
        for seed, error in enumerate(errors):
            test = {"mae_energy_mev": error, "mae_force_ev_per_angstrom": 0.05}
            place.add(summary(seed=seed, test=test, xtb=None if seed == 2 else summary()["xtb"]))
        place.add(summary(seed=0, epochs=30))
        *_, other, row = place.render()
        assert row[0] == "`default`, physics, 60 epochs (n = 3)" and "n =" not in other[0]
        assert row[1] == f"{statistics.mean(errors):.1f} ± {statistics.stdev(errors):.1f}"
        assert row[2] == "0.050 ± 0.000" and row[4] == "46 ± 0 %"
        assert row[5] == "1.11 ± 0.00 (n = 2)"  # one was not compared

    def test_order_and_goals(self, place):
        for preset, objective in (
            ("smoke", "physics"),
            ("best-cpu", "physics"),
            ("default", "energy-only"),
            ("default", "odd"),
            ("default", "paper"),
            ("default", "physics"),
        ):
            place.add(summary(preset=preset, objective=objective, xtb=None))
        labels = [row[0].removesuffix(", 60 epochs") for row in place.render()[2:]]
        assert labels == [
            "*goal of `default`*",
            *(f"`default`, {objective}" for objective in ("physics", "paper", "energy-only", "odd")),
            "*goal of `best-cpu`*",
            "`best-cpu`, physics",
            "`smoke`, physics",
        ]
        assert place.render()[3][5:8] == ["–"] * 3

    def test_data_are_not_mixed(self, place):
        for name in ("a.extxyz", "qm9-small"):
            place.add(summary(data={"name": name}))
        rows = place.render()
        assert [row[0].split(", ")[-1] for row in rows[3:]] == ["a.extxyz", "qm9-small"]

    def test_undefined_statistics(self, place):
        record = summary()
        record["xtb"]["sigmas"][0]["median_rise_ratio"] = None
        place.add(record)
        assert place.render()[-1][5:7] == ["–", "0.90"]


class TestErrors:
    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            (("seed",), "must have the key seed"),
            (("test", "mae_energy_mev"), "must have the key test.mae_energy_mev"),
            (("data", "name"), "must have the key data.name"),
            (("xtb",), "must have the key xtb"),
            (("recovery", "rows", 2, "distance", "mean"), "must have the key distance.mean"),
            (("recovery", "rows", 2), "must have a row with"),
            (("xtb", "sigmas", 1), "must have a row with"),
            (("xtb", "sigmas", 0, "force_correlation"), "must have the key force_correlation"),
        ],
    )
    def test_missing_keys(self, place, keys, message):
        record = copy.deepcopy(summary())
        *outer, last = keys
        inner = record
        for key in outer:
            inner = inner[key]
        del inner[last]
        path = place.add(record, "run.json")
        before = place.readme.read_text("utf-8")
        with pytest.raises(ValueError, match=message) as error:
            place.render()
        assert str(path) in str(error.value)
        assert place.readme.read_text("utf-8") == before

    @pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
    def test_no_summary(self, place, text):
        place.add(text, "run.json")
        with pytest.raises(ValueError, match=r"run\.json"):
            place.render()

    def test_values_of_the_wrong_kind(self, place):
        place.add(summary(test={"mae_energy_mev": "71", "mae_force_ev_per_angstrom": 0.1}))
        with pytest.raises(ValueError, match=r"test\.mae_energy_mev must be a finite number, got '71'"):
            place.render()

    def test_missing_file_and_markers(self, place, tmp_path):
        place.paths = (tmp_path / "none.json",)
        with pytest.raises(ValueError, match=r"existing files, got .*none\.json"):
            place.render()
        place.paths = ()
        with pytest.raises(ValueError, match="summaries must be at least one file, got none"):
            place.render()
        place.add(summary())
        place.readme.write_text(f"{END}\n{START}\n")
        with pytest.raises(ValueError, match=r"README\.md must have"):
            place.render()

    def test_the_same_seed_twice(self, place):
        place.add(summary())
        place.add(summary())
        with pytest.raises(ValueError, match="seeds of one training must differ"):
            place.render()


class TestCheck:
    def test_stale_table(self, place):
        place.add(summary())
        with pytest.raises(SystemExit) as stop:
            place.render(check=True)
        assert stop.value.code and "old" in place.readme.read_text("utf-8")
        place.render()
        place.render(check=True)
        for page in (place.readme, place.page):
            right = page.read_text("utf-8")
            page.write_text(right.replace("71.3", "61.3"), "utf-8")
            with pytest.raises(SystemExit, match=page.name):
                place.render(check=True)
            page.write_text(right, "utf-8")

    def test_command_line(self, place):
        path = place.add(summary())
        command = [
            sys.executable,
            str(SCRIPT),
            str(path),
            "--readme",
            str(place.readme),
            "--page",
            str(place.page),
        ]
        assert subprocess.run([*command, "--check"], capture_output=True, check=False).returncode == 1
        subprocess.run(command, check=True)
        assert subprocess.run([*command, "--check"], capture_output=True, check=False).returncode == 0
