"""GFN2-xTB as an independent judge of a learned surface that has other labels: `jphys.engines.gfn2_xtb`."""

from collections.abc import Sequence

import jax
import numpy as np

from jphys.engines.engine import package_version
from jphys.engines.gfn2_xtb import xtb_energy_forces
from jphys.graph import Graph
from jphys.reliability.curvature import compare_curvatures
from jphys.reliability.surface import Calculated, finite_or_none, perturb, surface_of
from jphys.reliability.vibrations import numerical_hessians

__all__ = ["compare", "compare_at_rest", "compare_surfaces", "surface"]


def surface() -> Calculated:
    """GFN2-xTB of neutral molecules as a surface to judge, or to judge by; a doublet where Z sums to odd.

    Raises:
        ImportError: without tblite.
    """
    package_version("tblite", "GFN2-xTB")
    return Calculated(_ask)


def _ask(graph: Graph) -> tuple[float, np.ndarray]:
    species = np.asarray(graph.nodes.species)
    return xtb_energy_forces(species, graph.nodes.positions, unpaired=int(species.sum() % 2))


def compare(
    potential,
    params,
    graphs: Sequence[Graph],
    *,
    sigmas: Sequence[float] = (0.05, 0.1),
    n_molecules: int = 40,
    key,
    progress: bool = False,
) -> dict:
    """How far a surface follows GFN2-xTB around given structures.

    Each molecule is perturbed by Gaussian noise; a rise is the energy above the unperturbed structure.

    Args:
        potential: a Potential, any function (params, graph) -> (n_graph,) eV, or a calculator of ASE.
        params: the parameters of the first two.
        graphs: neutral closed-shell molecules; `n_molecules` of them are drawn without replacement.
        sigmas: noise amplitudes in Å.
        n_molecules: how many to compare, at most; all where there are fewer.
        key: PRNG key of the choice and of the noise.
        progress: show a progress bar.

    Returns:
        {"n_molecules": int, "sigmas": [row, …]}; see `compare_surfaces` for the row.
    """
    key_choice, key_noise = jax.random.split(key)
    order = np.asarray(jax.random.permutation(key_choice, len(graphs)))
    chosen = [graphs[i] for i in order[:n_molecules]]
    noise_keys = jax.random.split(key_noise, len(sigmas))
    moved = [perturb(chosen, sigma, key=k) for sigma, k in zip(sigmas, noise_keys, strict=True)]
    sets = [chosen, *moved]
    flat = [graph for graphs in sets for graph in graphs]
    model, xtb = surface_of(potential, params).evaluate(flat), surface().evaluate(flat, progress=progress)
    rows, m = [], len(chosen)
    for index, sigma in enumerate(sigmas, start=1):
        at = slice(index * m, (index + 1) * m)
        rises = [energies[at] - energies[:m] for energies, _ in (model, xtb)]
        row = compare_surfaces(rises[0], model[1][at], rises[1], xtb[1][at])
        rows.append({"sigma": float(sigma), **row})
    return {"n_molecules": m, "sigmas": rows}


def compare_at_rest(potential, params, graphs: Sequence[Graph], *, n_molecules: int, key) -> dict:
    """Curvature at given structures beside that of GFN2-xTB: `curvature.compare_curvatures`.

    Args:
        potential, params, graphs: as `compare`.
        n_molecules: how many to compare, at most; drawn without replacement.
        key: PRNG key of the choice.
    """
    chosen = [graphs[i] for i in np.asarray(jax.random.permutation(key, len(graphs)))[:n_molecules]]
    ours, theirs = numerical_hessians(potential, params, chosen), numerical_hessians(surface(), None, chosen)
    return compare_curvatures(ours, theirs, chosen)


def compare_surfaces(rise, forces, rise_reference, forces_reference) -> dict:
    """Statistics of rises (m,) eV and forces, lists of (n_i, 3) eV/Å, against a reference surface.

    Molecules where either surface gave no finite answer are left out of the statistics and counted.

    Returns:
        `n` compared, `n_xtb_failed`, `n_model_nonfinite`, `median_rise_ratio` (model/reference),
        `rise_correlation`, `force_correlation` over all components, `force_slope` (least squares
        F_model = slope·F_ref), `mean_force_xtb` eV/Å (mean |F_i|), `mean_rise_xtb` and
        `mean_rise_model` eV. A statistic that is undefined is None.
    """
    judged = np.array([np.isfinite(r) for r in rise_reference], bool)
    given = np.array(
        [np.isfinite(r) and np.isfinite(f).all() for r, f in zip(rise, forces, strict=True)], bool
    )
    both = np.flatnonzero(judged & given)
    rise, rise_reference = np.asarray(rise)[both], np.asarray(rise_reference)[both]
    f, f_ref = (
        np.concatenate([np.asarray(side[i], np.float64) for i in both] or [np.zeros((0, 3))])
        for side in (forces, forces_reference)
    )
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.sum(f * f_ref) / np.sum(f_ref**2)
        ratio = (rise / rise_reference)[rise_reference != 0]  # single atoms have no rise
    statistics = {
        "median_rise_ratio": np.median(ratio) if len(ratio) else np.nan,
        "rise_correlation": _correlation(rise, rise_reference),
        "force_correlation": _correlation(f.ravel(), f_ref.ravel()),
        "force_slope": slope,
        "mean_force_xtb": np.linalg.norm(f_ref, axis=1).mean() if len(both) else np.nan,
        "mean_rise_xtb": rise_reference.mean() if len(both) else np.nan,
        "mean_rise_model": rise.mean() if len(both) else np.nan,
    }
    return {
        "n": len(both),
        "n_xtb_failed": int((~judged).sum()),
        "n_model_nonfinite": int((~given).sum()),
        **{name: finite_or_none(value) for name, value in statistics.items()},
    }


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation; NaN where it is undefined."""
    a, b = (x - x.mean() if len(x) else x for x in (a, b))
    norm = np.sqrt(np.sum(a**2) * np.sum(b**2))
    return float(np.sum(a * b) / norm) if norm > 0 else np.nan
