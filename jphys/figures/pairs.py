"""Learned pair energies E_ij(d) and their parameters β per pair of elements."""

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys import ops
from jphys.basis import cosine_envelope
from jphys.elements import COVALENT_RADIUS, SYMBOLS
from jphys.figures.style import BLUE, GREY, INK, canvas
from jphys.graph import Graph, batch
from jphys.models.pair_energy import PairParameters, pair_energy
from jphys.prior import BOND_REACH

RANGE = (0.3, 5.0)  # Å
QUANTILES = (5, 25, 50, 75, 95)
FIELDS = {"charge": "β₀", "coulomb": "β₁", "depth": "β₂", "exponent": "β₃", "distance": "β₄"}
UNITS = {"charge": "eV·Å", "coulomb": "", "depth": "eV", "exponent": "", "distance": "Å"}
BACKGROUND = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1}
N_SHOWN = 40  # single pairs drawn behind the median


class PairSample(NamedTuple):
    """All pairs of two elements at bonded distance."""

    distances: np.ndarray  # (p,) Å
    parameters: PairParameters  # five fields of (p,)


def pair_samples(potential, params, graphs: Sequence[Graph]) -> dict[tuple[int, int], PairSample]:
    """Distances and β of every pair at bonded distance, by its elements (Z ≤ Z'), each pair once.

    Raises:
        ValueError: for a potential without pair parameters, no graphs, or no pair at bonded distance.
    """
    pair_parameters, joined = potential.head("pair_parameters"), batch(graphs)
    found = _on_edges(pair_parameters, params, joined)
    parameters, (pair, real), distances = jax.tree.map(np.asarray, found)
    pair = pair[real]
    distances = distances[pair]
    ends = joined.nodes.species[np.stack([joined.senders, joined.receivers])[:, pair]]
    low, high = ends.min(0), ends.max(0)
    bonded = distances < BOND_REACH * (COVALENT_RADIUS[low] + COVALENT_RADIUS[high])
    samples = {}
    for z in sorted(set(zip(low[bonded].tolist(), high[bonded].tolist()))):
        of = bonded & (low == z[0]) & (high == z[1])
        fields = (field[pair[of]] for field in parameters)
        samples[z] = PairSample(distances[of], PairParameters(*fields))
    if not samples:
        raise ValueError("graphs must hold at least one pair at bonded distance, got none")
    return samples


@functools.partial(jax.jit, static_argnums=0)
def _on_edges(pair_parameters, params, graph: Graph):
    """Parameters of every edge, which edges are pairs, and distances."""
    return pair_parameters(params, graph), ops.undirected(graph), ops.edge_distances(graph)


def pair_table(potential, params, graphs: Sequence[Graph]) -> dict:
    """Number of pairs, bond lengths and β per pair of elements, ready for JSON.

    Returns:
        {"C-H": {"n": int, "bond_length": spread, "charge": spread, …}, …}, one spread per field of
        `PairParameters`: {"q05", "q25", "q50", "q75", "q95"}; lengths in Å, β0 eV·Å, β2 eV, β4 Å.

    Raises:
        ValueError: as `pair_samples`.
    """
    return {name(z): _row(sample) for z, sample in pair_samples(potential, params, graphs).items()}


def name(z: tuple[int, int]) -> str:
    """Two elements as "C-H": by atomic number, hydrogen last."""
    first, last = (z[1], z[0]) if z[0] == 1 else z
    return f"{SYMBOLS[first]}-{SYMBOLS[last]}"


def _row(sample: PairSample) -> dict:
    spreads = {"bond_length": sample.distances, **sample.parameters._asdict()}
    return {"n": len(sample.distances)} | {field: _spread(values) for field, values in spreads.items()}


def _spread(values: np.ndarray) -> dict[str, float]:
    return {f"q{q:02d}": float(np.percentile(values, q)) for q in QUANTILES}


def pair_curves(potential, params, graphs: Sequence[Graph], path, *, n_molecules: int = 200) -> Path:
    """E_ij(d)·φ(d) with the median β of each pair of elements; the β table beside it as JSON.

    Args:
        potential: one with pair parameters.
        params: its parameters.
        graphs: stable structures; the first `n_molecules` are used.
        path: PNG to write; the table goes to the same name with suffix .json.

    Raises:
        ValueError: as `pair_samples`.
    """
    samples = pair_samples(potential, params, graphs[:n_molecules])
    columns = min(len(samples), 4)
    rows = -(-len(samples) // columns)
    with canvas(path, 2.6 * columns, 2.5 * rows + 0.4) as figure:
        draw_pair_curves(figure, samples, potential.cutoff, columns)
    table = {name(z): _row(sample) for z, sample in samples.items()}
    Path(path).with_suffix(".json").write_text(
        json.dumps(table, indent=1, ensure_ascii=False) + "\n", "utf-8"
    )
    return Path(path)


def draw_pair_curves(figure, samples: dict, cutoff: float, columns: int) -> None:
    """One panel per pair of elements."""
    rows = -(-len(samples) // columns)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (z, sample) in zip(panels, samples.items()):
        _draw_pair(axes, sample, cutoff)
        axes.set_title(f"{name(z).replace('-', '–')}, {len(sample.distances)} pairs")
    for axes in panels[len(samples) :]:
        axes.set_axis_off()
    figure.supxlabel("d (Å); bars: observed bond lengths", fontsize=9)
    figure.supylabel("learned pair energy E(d)·φ(d) (eV)", fontsize=9)


def curve(distances: np.ndarray, parameters, cutoff: float) -> np.ndarray:
    """E_ij(d)·φ(d) in eV of one pair's five numbers at distances (k,) Å."""
    return np.asarray(_curve(distances, tuple(parameters), cutoff))


@jax.jit
def _curve(distances, parameters, cutoff):
    fields = PairParameters(*(jnp.full(distances.shape, value) for value in parameters))
    return pair_energy(distances, fields) * cosine_envelope(distances, cutoff)


def _draw_pair(axes, sample: PairSample, cutoff: float) -> None:
    d = np.linspace(*RANGE, 236)
    median = PairParameters(*(np.median(field) for field in sample.parameters))
    count = len(sample.distances)
    singles = [
        curve(d, [field[i] for field in sample.parameters], cutoff)
        for i in np.unique(np.linspace(0, count - 1, min(count, N_SHOWN)).astype(int))
    ]
    for single in singles:
        axes.plot(d, single, color=BLUE, alpha=0.15, linewidth=0.6)
    values = curve(d, median, cutoff)
    axes.plot(d, values, color=BLUE, label="median β")
    axes.axhline(0, color=INK, linewidth=0.7)
    lines = [f"{symbol} = {getattr(median, f):.3g} {UNITS[f]}" for f, symbol in FIELDS.items()]
    text = "\n".join(lines).replace("-", "−")
    axes.text(0.52, 0.97, text, transform=axes.transAxes, va="top", fontsize=7.5, bbox=BACKGROUND)
    low, high = _limits(d, values, sample.distances)
    axes.set(xlim=(0, RANGE[1]), ylim=(low - 0.22 * (high - low), high))
    _bond_lengths(axes, sample.distances)


def _limits(d: np.ndarray, values: np.ndarray, distances: np.ndarray) -> tuple[float, float]:
    """Energies worth showing: well and barrier from the shorter bond lengths on, and some of the wall."""
    near = values[d > min(0.97 * np.percentile(distances, 10), 0.9 * d[-1])]
    low, high = min(near.min(), 0.0), max(near.max(), 0.0)
    room = max(high - low, 0.01)
    return low - 0.1 * room, high + 1.0 * room


def _bond_lengths(axes, distances: np.ndarray) -> None:
    """Histogram in the lowest sixth of the panel."""
    counts, edges = np.histogram(distances, bins=np.linspace(*RANGE, 95))
    heights = 0.16 * counts / max(counts.max(), 1)
    shown = counts > 0
    axes.bar(
        edges[:-1][shown],
        heights[shown],
        np.diff(edges)[shown],
        align="edge",
        color=GREY,
        transform=axes.get_xaxis_transform(),
    )
