"""Figures: what their axes show is compared with the data, not their pixels."""

import ast
import contextlib
import dataclasses
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.patches import Circle, Rectangle

from jphys import figures, ops
from jphys.figures import curves, molecules, pairs, style
from jphys.figures import recovery as histograms
from jphys.figures.story import COLORS, draw_story
from jphys.graph import make_graph, with_positions
from jphys.models import TransformerConfig
from jphys.models.pair_energy import PairParameters
from jphys.models.potential import Potential
from jphys.reliability.recovery import Recovery, recovery

H2 = make_graph([1, 1], np.array([[0, 0, 0], [0, 0, 0.74]], np.float32))
WATER = make_graph([8, 1, 1], np.array([[0, 0, 0.119], [0, 0.763, -0.477], [0, -0.763, -0.477]], np.float32))
CUTOFF = 5.0
# β of H–H and of O–H
BETA = {2: (0.5, 1.2, 0.3, 4.0, 0.8), 9: (-0.2, 0.7, 0.9, 5.0, 1.0)}


def is_picture(path: Path) -> bool:
    """A PNG of a sensible size on which something is drawn."""
    pixels = imread(path)
    return path.suffix == ".png" and min(pixels.shape[:2]) > 300 and pixels[..., :3].std() > 0.02


def bars_of(axes) -> list[Rectangle]:
    return [patch for patch in axes.patches if isinstance(patch, Rectangle)]


def make_recovery(distance=None, n=40) -> Recovery:
    rng = np.random.default_rng(0)
    shape = (2, 2, n)
    distance = rng.uniform(0.01, 1.0, shape) if distance is None else np.broadcast_to(distance, shape)
    status = np.full(shape, "converged")
    status[1, 1, :3] = "nonfinite"
    start = rng.uniform(0.1, 0.2, (2, n))
    steps = np.full(shape, 7)
    numbers = distance, 0 * distance, distance[:, 0], start, status, steps
    return Recovery((0.0, 0.1), (0.05, 0.01), 500, *numbers, np.zeros((2, n, 3)), np.zeros((2, 2, n, 3)))


def fake_potential() -> Potential:
    """β depend on nothing but the two elements; their sum names the pair."""

    def parameters(params, graph):
        z = jnp.asarray(graph.nodes.species)
        pair = z[graph.senders] + z[graph.receivers]
        table = jnp.zeros((20, 5)).at[jnp.array(list(BETA))].set(jnp.array(list(BETA.values())))
        return PairParameters(*table[pair].T)

    def springs(params, graph):
        stretch = jnp.where(graph.edges.mask, (ops.edge_distances(graph) - 0.74) ** 2, 0.0)
        return ops.sum_over_graphs(ops.sum_at_receivers(stretch, graph), graph)

    return Potential(
        TransformerConfig(), CUTOFF, lambda *_: {}, springs, springs, {"pair_parameters": parameters}
    )


class TestLearningCurves:
    @pytest.fixture
    def metrics(self, tmp_path):
        path = tmp_path / "metrics.jsonl"
        records: list[dict] = [
            {"epoch": e, "step": 10 * (e + 1), "losses": {"energy": 2.0**-e, "bound": 0.0, "total": 3.0**-e}}
            for e in range(6)
        ]
        records[5]["valid"] = {"mae_energy_mev": 80.0, "mae_force_ev_per_angstrom": 0.06}
        path.write_text("".join(json.dumps(record) + "\n" for record in records) + '{"step": 70, "los')
        return path

    def test_lines_are_the_records(self, metrics):
        figure = Figure()
        curves.draw_learning_curves(figure, curves.read_records(metrics))
        left, right = figure.axes
        lines = {str(line.get_label()): line for line in left.lines}
        assert set(lines) == {"bound (6 of 6 not above 0)", "energy", "total"}
        np.testing.assert_allclose(
            np.asarray(lines["energy"].get_xydata()), [[10 * (e + 1), 2.0**-e] for e in range(6)]
        )
        points = {str(line.get_label()): np.asarray(line.get_xydata()).tolist() for line in right.lines}
        assert points == {"energy (meV)": [[60, 80]], "force (meV/Å)": [[60, 60]]}
        assert left.get_yscale() == right.get_yscale() == "log"
        assert left.get_xlabel() == right.get_xlabel() == "training step" and "meV/Å" in right.get_ylabel()

    def test_picture(self, metrics, tmp_path):
        assert is_picture(figures.learning_curves(metrics, tmp_path / "new" / "curves.png"))

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "at least one complete line"),
            ("{}\n", "line 1 must have the key 'step'"),
            ('{"step": 1, "losses": {}}\n{"st\n', "line 2 must be a JSON object"),
        ],
    )
    def test_damaged_files(self, tmp_path, text, message):
        path = tmp_path / "metrics.jsonl"
        path.write_text(text)
        with pytest.raises(ValueError, match=message):
            figures.learning_curves(path, tmp_path / "a.png")
        with pytest.raises(ValueError, match="existing file"):
            figures.learning_curves(tmp_path / "none.jsonl", tmp_path / "a.png")


class TestRecovery:
    def test_panels_count_every_molecule(self, tmp_path):
        distance = np.array([0.0, 0.05, 0.09, 0.3, 0.4, 5.0])  # two off the axis
        result = make_recovery(distance, n=6)
        figure = Figure()
        histograms.draw_histograms(figure, result, 1)
        assert [axes.get_title("left") for axes in figure.axes] == ["σ = 0 Å", "σ = 0.1 Å"]
        for axes, failed in zip(figure.axes, (1, 3)):
            assert sum(patch.get_height() for patch in bars_of(axes)) == 6
            legend = axes.get_legend()
            assert legend is not None
            texts = [text.get_text() for text in legend.get_texts()]
            assert texts[:2] == ["median 0.195 Å", "50 % below 0.1 Å"]
            assert f"{failed + (failed == 3)} of 6 failed" == texts[-1]  # 3 not finite, 1 at the cap
            assert np.asarray(axes.lines[0].get_xdata())[0] == pytest.approx(0.195)
        assert "0.01 eV/Å" in figure.axes[1].get_xlabel()
        assert is_picture(figures.recovery_histogram(result, tmp_path / "a.png"))

    def test_unknown_threshold(self, tmp_path):
        with pytest.raises(ValueError, match=r"fmax must be one of 0.05, 0.01, got 0.1"):
            figures.recovery_histogram(make_recovery(), tmp_path / "a.png", fmax=0.1)


class TestAblation:
    def test_every_training_has_a_symbol_and_every_model_a_label(self, tmp_path, monkeypatch):
        drawn = []
        right = Figure.savefig
        monkeypatch.setattr(Figure, "savefig", lambda f, *a, **k: (drawn.append(f), right(f, *a, **k)))
        ours = {
            "9": (np.array([0.02, 0.03]), np.array([0.1, 0.2])),
            "10": (np.array([0.01]), np.array([0.1])),
        }
        theirs = {"10": (np.array([0.005]), np.array([0.025]))}
        assert is_picture(
            figures.force_and_distance({"physics": ours, "paper: QM9": theirs}, tmp_path / "a.png")
        )
        (axes,) = drawn[0].axes
        assert [len(found.get_offsets()) for found in axes.collections] == [2, 1, 1]
        assert [text.get_text() for text in axes.texts] == ["9", "10", "10"]
        assert [text.get_text() for text in axes.get_legend().get_texts()] == ["physics", "paper: QM9"]

    def test_what_a_log_axis_cannot_show(self, tmp_path):
        with pytest.raises(ValueError, match="MAE_F and ΔP of physics, 10 must be positive"):
            figures.force_and_distance({"physics": {"10": (np.zeros(1), np.ones(1))}}, tmp_path / "a.png")


class TestStory:
    def rows(self):
        judged = {
            "sigmas": [{"sigma": 0.05, "force_correlation": 0.9}, {"sigma": 0.1, "force_correlation": None}]
        }
        other = {"sigmas": [{"sigma": 0.05, "force_correlation": -0.2}]}
        good, bad = (make_recovery(np.linspace(low, high, 40)) for low, high in ((0.0, 0.2), (0.5, 2.0)))
        return [("bad", {"xtb": other}, bad), ("good", {"xtb": judged}, good), ("none", {"xtb": None}, bad)]

    def test_curves_and_bars_are_the_data(self):
        figure = Figure()
        draw_story(figure, self.rows(), 0.1, 0.01)
        left, right = figure.axes
        by_color = {line.get_color(): line for line in left.lines if len(np.atleast_1d(line.get_xdata())) > 2}
        x, y = by_color[COLORS[1]].get_data()
        # Half of the values 0, 0.2/39, …, 0.2 lie below 0.1 Å.
        assert np.asarray(y)[np.searchsorted(x, 0.1) - 1] == pytest.approx(0.5)
        assert [text.get_text().strip() for text in left.texts] == ["0 %", "0 %", "50 %"]
        assert [patch.get_height() for patch in bars_of(right)] == [-0.2, 0.9]
        assert [text.get_text() for text in right.texts].count("none") == 4
        assert "ΔP" in left.get_xlabel() and "Å" in left.get_xlabel() and right.get_ylabel()

    def test_pictures(self, tmp_path):
        assert is_picture(figures.recovery_story(self.rows(), tmp_path / "a.png"))
        triple = molecules.Triple(WATER, WATER, WATER)
        wide = figures.recovery_story(self.rows(), tmp_path / "b.png", examples=[triple] * 3)
        assert is_picture(wide) and imread(wide).shape[0] > imread(tmp_path / "a.png").shape[0]
        assert is_picture(figures.recovery_story(self.rows()[2:], tmp_path / "c.png"))

    def test_impossible_input(self, tmp_path):
        with pytest.raises(ValueError, match="rows must hold 1 to"):
            figures.recovery_story([], tmp_path / "a.png")
        with pytest.raises(ValueError, match="examples must be one per row"):
            triple = molecules.Triple(WATER, WATER, WATER)
            figures.recovery_story(self.rows(), tmp_path / "a.png", examples=[triple])


class TestPairs:
    def test_table_of_fixed_parameters(self):
        table = json.loads(json.dumps(figures.pair_table(fake_potential(), {}, [H2, WATER, WATER])))
        assert list(table) == ["H-H", "O-H"]
        assert table["H-H"]["n"] == 1 and table["O-H"]["n"] == 4  # the H–H of water is no bond
        assert table["H-H"]["bond_length"]["q50"] == pytest.approx(0.74)
        assert table["O-H"]["bond_length"]["q05"] == pytest.approx(np.hypot(0.763, 0.596), rel=1e-5)
        for name, key in (("H-H", 2), ("O-H", 9)):
            found = [table[name][field] for field in PairParameters._fields]
            for quantile in ("q05", "q50", "q95"):
                assert [spread[quantile] for spread in found] == pytest.approx(BETA[key])

    def test_curve_of_hydrogen(self):
        """Eq. 5 times eq. 3 by hand, where neither continuation is at work."""
        figure = Figure()
        pairs.draw_pair_curves(figure, pairs.pair_samples(fake_potential(), {}, [H2]), CUTOFF, 1)
        (axes,) = figure.axes
        median = next(line for line in axes.lines if line.get_label() == "median β")
        d, values = (np.asarray(data) for data in median.get_data())
        assert d[0] == 0.3 and d[-1] == 5.0
        at = d > 0.75
        b0, b1, b2, b3, b4 = BETA[2]
        energy = -b1 * b0 / d + b2 * ((b4 / d) ** (2 * b3) - 2 * (b4 / d) ** b3)
        np.testing.assert_allclose(
            values[at], (energy * 0.5 * (np.cos(np.pi * d / CUTOFF) + 1))[at], atol=1e-5
        )
        text = axes.texts[0].get_text()
        assert "β₀ = 0.5 eV·Å" in text and "β₂ = 0.3 eV" in text and "β₄ = 0.8 Å" in text
        bars = [patch for patch in bars_of(axes) if patch.get_height() > 0]
        assert len(bars) == 1 and bars[0].get_x() < 0.74 < bars[0].get_x() + bars[0].get_width()

    def test_picture_and_table_beside_it(self, tmp_path):
        potential = fake_potential()
        assert is_picture(figures.pair_curves(potential, {}, [WATER, H2], tmp_path / "pairs.png"))
        beside = json.loads((tmp_path / "pairs.json").read_text())
        assert beside == figures.pair_table(potential, {}, [WATER, H2])

    def test_impossible_input(self):
        far = with_positions(H2, H2.nodes.positions * 3)
        with pytest.raises(ValueError, match="at least one pair at bonded distance"):
            figures.pair_table(fake_potential(), {}, [far])
        with pytest.raises(ValueError, match="must have a head 'pair_parameters'"):
            figures.pair_table(dataclasses.replace(fake_potential(), heads={}), {}, [H2])


class TestMolecules:
    def test_relaxed_molecule_is_drawn_where_it_lies(self):
        """A rotated and shifted copy lies on the stable structure again: ΔP 0, balls at the same places."""
        turn, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
        turn *= np.sign(np.linalg.det(turn))
        moved = with_positions(WATER, WATER.nodes.positions @ turn + 3.0)
        stretched = with_positions(WATER, WATER.nodes.positions * 2)
        figure = Figure()
        molecules.draw_overlays(figure, [molecules.Triple(WATER, stretched, moved)])
        above, below = figure.axes
        assert above.get_title().startswith("H₂O\nperturbed") and below.get_title() == "relaxed, ΔP 0.000 Å"
        centers = np.array([patch.center for patch in below.patches if isinstance(patch, Circle)])
        np.testing.assert_allclose(centers[:3], centers[3:], atol=1e-5)
        lengths = np.linalg.norm(centers[[1, 2]] - centers[0], axis=1)  # a planar molecule lies in the plane
        np.testing.assert_allclose(lengths, np.hypot(0.763, 0.596), rtol=1e-5)
        assert len(below.lines) == 4 and all(line.get_linestyle() == "-" for line in below.lines)
        assert [line.get_linestyle() for line in above.lines] == ["-", "-", "--", "--"]  # torn apart

    def test_bonds_of_the_graph_come_first(self):
        joined = make_graph([6, 1, 1], np.eye(3) * 2.0, bonds=[(0, 2, 1)])
        assert molecules.bonds(joined).tolist() == [[0, 2]]
        assert sorted(molecules.bonds(WATER).tolist()) == [[0, 1], [0, 2]]

    def test_triples_relax(self):
        potential = fake_potential()
        (triple,) = figures.relaxed_triples(potential, {}, [H2], sigma=0.05, key=jax.random.key(0))
        lengths = [float(np.linalg.norm(np.diff(graph.nodes.positions, axis=0))) for graph in triple]
        assert lengths[0] == pytest.approx(0.74) and abs(lengths[1] - 0.74) > 0.01
        assert lengths[2] == pytest.approx(0.74, abs=0.005)

    def test_picture(self, tmp_path):
        graphs, energy = [H2, WATER, H2], fake_potential().energy
        settings = {"sigmas": (0.0, 0.1), "max_steps": 5, "key": jax.random.key(0)}
        found = recovery(energy, {}, graphs, **settings)
        assert is_picture(figures.overlays(found, graphs, tmp_path / "a.png", n=2))
        with pytest.raises(ValueError, match="n must be at least 1, got 0"):
            figures.overlays(found, graphs, tmp_path / "a.png", n=0)
        with pytest.raises(ValueError, match="graphs must be those of the recovery, 7 atoms, got 2 graphs"):
            figures.overlays(found, graphs[:2], tmp_path / "a.png")
        with pytest.raises(ValueError, match=r"sigma must be one of 0\.0, 0\.1, got 0\.2"):
            figures.overlays(found, graphs, tmp_path / "a.png", sigma=0.2)


@pytest.fixture
def caught(monkeypatch):
    """A function that puts a Figure in place of the next file of a module of figures, and returns it."""

    def catch(module: str) -> Figure:
        drawn = Figure()
        monkeypatch.setattr(f"jphys.figures.{module}.canvas", lambda *size: contextlib.nullcontext(drawn))
        return drawn

    return catch


def test_every_surface_is_drawn(caught, tmp_path):
    """Seven surfaces, one more than there are colours: each has a line of its own, told by its dashes."""
    drawn = caught("assembly")
    strips = {f"surface {number}": [(WATER, 0.0), (WATER, -1.0)] for number in range(7)}
    figures.assembly_strips(strips, (0, 5), WATER, tmp_path / "strips.png")
    lines = drawn.subfigs[1].axes[0].lines
    assert [line.get_label() for line in lines] == list(strips)
    assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 7


def test_every_model_has_bars_of_its_own(caught, tmp_path):
    drawn = caught("scaled")
    rows = {element: {f"model {number}": 1.0 for number in range(9)} for element in ("H", "C")}
    figures.errors_by_element(rows, tmp_path / "bars.png", ylabel="MAE (eV)")
    looks = {(bar.get_facecolor(), bar.get_hatch()) for bar in drawn.axes[0].patches}
    assert len(drawn.axes[0].patches) == 18 and len(looks) == 9


def test_settings_stay_inside(tmp_path):
    """A user's own settings neither leak into a figure nor are changed by it."""
    with matplotlib.rc_context({"font.size": 31, "axes.facecolor": "black"}):
        before = dict(matplotlib.rcParams)
        with style.canvas(tmp_path / "a.png", 4, 3) as figure:
            assert figure.subplots().get_facecolor() == (1.0, 1.0, 1.0, 1.0)
        assert dict(matplotlib.rcParams) == before
    with pytest.raises(ValueError, match=r"must end in \.png"):
        with style.canvas(tmp_path / "a.pdf", 4, 3):
            pass


def test_matplotlib_loads_on_first_use():
    for file in (Path(figures.__file__).parent).glob("*.py"):
        names = [
            ast.unparse(n)
            for n in ast.parse(file.read_text("utf-8")).body
            if isinstance(n, ast.Import | ast.ImportFrom)
        ]
        assert not [name for name in names if "matplotlib" in name], file
