"""Recovery: do perturbed structures relax back on a surface? (Yi et al., fig. 2 and sec. 4.3)."""

import dataclasses
import zipfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from jphys.alignment import kabsch_distance
from jphys.graph import Graph
from jphys.relaxation import Relaxation
from jphys.reliability.surface import finite_or_none, perturb, surface_of

__all__ = [
    "CAP",
    "RECOVERED",
    "Recovery",
    "load_recovery",
    "recovery",
    "save_recovery",
    "select",
    "summary",
    "table",
]

CAP = 5.0
"""Å; a larger ΔP counts as this and as a failure, and so does a structure that lost its energy or forces."""

RECOVERED = 0.1
"""Å; a structure has come back when its ΔP is below this."""

QUANTILES = (5, 25, 75, 95)


@dataclasses.dataclass(frozen=True)
class Recovery:
    """Results for n_sigma noise amplitudes, n_fmax force thresholds and m structures."""

    sigmas: tuple[float, ...]  # Å
    fmaxes: tuple[float, ...]  # eV/Å
    max_steps: int
    distance: np.ndarray  # ΔP (n_sigma, n_fmax, m) Å, at most CAP
    energy_gap: np.ndarray  # ΔE_g = |E(relaxed) − E(original)| (n_sigma, n_fmax, m) eV; may be inf or NaN
    rise: np.ndarray  # E(perturbed) − E(original) (n_sigma, m) eV; may be inf or NaN
    start_distance: np.ndarray  # ΔP of the perturbed structures (n_sigma, m) Å
    status: np.ndarray  # (n_sigma, n_fmax, m) "converged", "max_steps" or "nonfinite"
    n_steps: np.ndarray  # (n_sigma, n_fmax, m)
    perturbed: np.ndarray  # (n_sigma, Σ n_i, 3) Å, the structures end to end
    relaxed: np.ndarray  # (n_sigma, n_fmax, Σ n_i, 3) Å

    @property
    def failed(self) -> np.ndarray:
        """(n_sigma, n_fmax, m) bool: blown up, by a force that is not finite or a ΔP at the cap."""
        return (self.status == "nonfinite") | (self.distance >= CAP)


def recovery(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    sigmas: Sequence[float] = (0.0, 0.05, 0.1, 0.2),
    fmaxes: Sequence[float] = (0.05, 0.01),
    max_steps: int = 500,
    key,
    n_lanes: int = 32,
    progress: bool = False,
) -> Recovery:
    """Perturb stable structures, relax them on a surface, and measure how far they end from the start.

    One relaxation serves all force thresholds, and one compiled loop all amplitudes.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        graphs: m stable structures, with all the edges that they need on the way.
        sigmas: Gaussian noise per coordinate, Å; the same directions for every amplitude.
        fmaxes: thresholds for the largest atomic force, eV/Å.
        max_steps: FIRE steps after which a structure is taken where it is.
        key: PRNG key of the noise.
        n_lanes: structures relaxed at once.
        progress: show a progress bar.

    Returns:
        Recovery. No structure is left out: what blows up is capped and counted.

    Raises:
        ValueError: for no structures, no amplitude, a negative one, and as `jphys.relax`.
    """
    if not len(graphs):
        raise ValueError("graphs must hold at least one structure, got none")
    if not len(sigmas):
        raise ValueError("sigmas must hold at least one amplitude, got none")
    moved = [graph for sigma in sigmas for graph in perturb(graphs, sigma, key=key)]
    settings = {"max_steps": max_steps, "n_lanes": n_lanes, "progress": progress}
    surface = surface_of(potential, params)
    results = surface.relax(moved, fmaxes=fmaxes, **settings)
    known, _ = surface.evaluate([*graphs, *moved])
    original, shape = known[: len(graphs)], (len(sigmas), len(graphs))

    def stacked(column) -> np.ndarray:
        """(n_sigma, n_fmax, m) of one value (n_sigma·m,) per threshold."""
        return np.stack([np.asarray(column(result)).reshape(shape) for result in results], axis=1)

    return Recovery(
        sigmas=tuple(float(sigma) for sigma in sigmas),
        fmaxes=tuple(float(fmax) for fmax in fmaxes),
        max_steps=max_steps,
        distance=stacked(lambda result: rest_distances(result, graphs)),
        energy_gap=stacked(lambda result: np.abs(_above(result.energy, original))),
        rise=_above(known[len(graphs) :], original).reshape(shape),
        start_distance=distances(moved, graphs).reshape(shape),
        status=stacked(lambda result: result.status),
        n_steps=stacked(lambda result: result.n_steps),
        perturbed=_joined(moved, len(sigmas)),
        relaxed=np.stack([_joined(result.graphs, len(sigmas)) for result in results], axis=1),
    )


def _above(energy: np.ndarray, original: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        return energy - np.tile(original, len(energy) // len(original))


def _joined(graphs: Sequence[Graph], n_sigma: int) -> np.ndarray:
    """Positions (n_sigma, Σ n_i, 3) of the structures of every amplitude end to end."""
    positions = np.concatenate([np.asarray(graph.nodes.positions) for graph in graphs])
    return positions.reshape(n_sigma, -1, 3)


def distances(ends: Sequence[Graph], starts: Sequence[Graph]) -> np.ndarray:
    """ΔP (len(ends),) in Å, at most CAP; the starts are repeated as often as needed."""
    found = []
    for index, end in enumerate(ends):
        a, b = (np.asarray(graph.nodes.positions) for graph in (end, starts[index % len(starts)]))
        distance = kabsch_distance(a, b) if np.abs(a).max() < 1e6 else np.inf
        found.append(min(float(distance), CAP))
    return np.array(found)


def rest_distances(result: Relaxation, starts: Sequence[Graph]) -> np.ndarray:
    """ΔP (m,) in Å of where structures came to rest; CAP where the surface had no answer on the way.

    Where such a structure was last says nothing: one that never moved would count as recovered.
    """
    return np.where(result.status == "nonfinite", CAP, distances(result.graphs, starts))


def summary(result: Recovery) -> dict:
    """Statistics per amplitude and threshold, ready for JSON.

    Returns:
        {"n": m, "max_steps", "cap", "rows": [row, …]} with `sigma` Å, `fmax` eV/Å, `distance` (ΔP, Å),
        `energy_gap` and `rise` (eV), each as mean, median and quantiles; `start_distance` Å (mean);
        `recovered`, the fraction with ΔP < 0.1 Å; `n_failed`; `status` counts; `mean_steps`. Energies
        that are not finite are left out of their statistics and counted in `n_nonfinite`.
    """
    rows = []
    for i, sigma in enumerate(result.sigmas):
        for j, fmax in enumerate(result.fmaxes):
            distance, status = result.distance[i, j], result.status[i, j]
            counts = {name: int((status == name).sum()) for name in ("converged", "max_steps", "nonfinite")}
            row = {
                "sigma": sigma,
                "fmax": fmax,
                "distance": _spread(distance),
                "recovered": float((distance < RECOVERED).mean()),
                "n_failed": int(result.failed[i, j].sum()),
                "energy_gap": _spread(result.energy_gap[i, j]),
                "rise": _spread(result.rise[i]),
                "start_distance": float(result.start_distance[i].mean()),
                "status": counts,
                "mean_steps": float(result.n_steps[i, j].mean()),
            }
            rows.append(row)
    return {"n": result.distance.shape[2], "max_steps": result.max_steps, "cap": CAP, "rows": rows}


def _spread(values: np.ndarray) -> dict:
    finite = values[np.isfinite(values)]
    if not finite.size:
        finite = np.array([np.nan])
    return {
        "mean": finite_or_none(finite.mean()),
        "median": finite_or_none(np.median(finite)),
        **{f"q{q:02d}": finite_or_none(np.percentile(finite, q)) for q in QUANTILES},
        "n_nonfinite": int((~np.isfinite(values)).sum()),
    }


def table(result: Recovery) -> str:
    """The summary as text, one line per amplitude and threshold."""
    report = summary(result)
    head = "  σ Å  fmax   start  ΔP mean median   q05   q95  <0.1 Å   ΔE_g eV  rise eV  steps  conv  fail"
    lines = [f"{report['n']} structures, at most {report['max_steps']} steps", head]
    for row in report["rows"]:
        d = row["distance"]
        medians = (row[name]["median"] for name in ("energy_gap", "rise"))
        gap, rise = ("-" if median is None else f"{median:.3f}" for median in medians)
        lines.append(
            f"{row['sigma']:5.2f} {row['fmax']:5.3g}  {row['start_distance']:6.3f}   {d['mean']:6.3f}"
            f" {d['median']:6.3f} {d['q05']:5.3f} {d['q95']:5.3f}  {100 * row['recovered']:5.1f}%"
            f"  {gap:>8} {rise:>8}  {row['mean_steps']:5.0f} {row['status']['converged']:5d}"
            f" {row['n_failed']:5d}"
        )
    return "\n".join([*lines, "ΔE_g and rise are medians; fail: not finite or ΔP at the cap"])


def save_recovery(result: Recovery, path) -> None:
    """Write every field, thus every single distance, energy and structure, to the npz file `path`."""
    fields: dict[str, Any] = {name: np.asarray(value) for name, value in vars(result).items()}
    with open(path, "wb") as file:
        np.savez_compressed(file, **fields)


def load_recovery(path) -> Recovery:
    """The Recovery that `save_recovery` wrote.

    Raises:
        ValueError: if the file is missing, damaged or not of a Recovery; naming it.
    """
    try:
        with open(path, "rb") as raw, np.load(raw) as file:
            fields = {field.name: file[field.name] for field in dataclasses.fields(Recovery)}
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} must be the complete npz file of a Recovery, got: {error}") from error
    plain = {name: tuple(fields.pop(name).tolist()) for name in ("sigmas", "fmaxes")}
    return Recovery(**plain, **{**fields, "max_steps": int(fields["max_steps"])})


def select(sizes: Sequence[int] | np.ndarray | Sequence[Graph], *, n: int = 256, seed: int = 0) -> np.ndarray:
    """The paper's choice: the n/2 smallest structures and n/2 random larger ones.

    Structures of equal size keep their order, so that ties are decided the same way every time.

    Args:
        sizes: number of atoms of each structure, or the graphs themselves.
        n: how many; all of them where there are fewer.
        seed: of the random half.

    Returns:
        Indices (min(n, m),), the small ones first.

    >>> select([5, 3, 4, 9, 3], n=2).tolist()[0]
    1
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    counts = np.array([len(size.nodes.species) if isinstance(size, Graph) else size for size in sizes], int)
    order = np.argsort(counts, kind="stable")
    small, larger = order[: (n + 1) // 2], order[(n + 1) // 2 :]
    picked = np.random.default_rng(seed).permutation(len(larger))[: n - len(small)]
    return np.concatenate([small, larger[np.sort(picked)]])
