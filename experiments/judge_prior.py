"""How good is the classical prior itself? Against B3LYP and GFN2-xTB, without any training.

    pip install -e ".[engines]" && python experiments/judge_prior.py

The answer bounds what a model trained on the prior's forces can reach. First the shipped B3LYP truth
(`jphys.data.truth`; `--no-xtb` stops there and needs no engine): frequencies by bands, rises under noise,
mean rises of rigid turns and stretches. Expected: frequencies off by 66 cm⁻¹, bias +23; ratio of the rises
1.05; turns at 60 - 120 - 180° 0.17, 0.12, 0.16 eV where B3LYP has 0.21, 0.14, 0.48. Then molecules of the
training part against GFN2-xTB: as they are, with noise, with a bond turned by 30° to 330° and with a bond
stretched by -0.2 to 1 Å.
"""

import dataclasses
import json
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jphys.data import qm9, truth
from jphys.data.splits import split
from jphys.data.structures import graphs, take
from jphys.graph import Graph
from jphys.harmonic import frequencies
from jphys.modes import prior_hessian
from jphys.prior import Prior, make_prior, prior_energy
from jphys.reliability.curvature import compare_curvatures
from jphys.reliability.vibrations import numerical_hessians
from jphys.reliability.xtb import compare_surfaces, surface

BANDS = (0.0, 300.0, 700.0, 1100.0, 1700.0, 2600.0, 4200.0)  # cm⁻¹


@dataclasses.dataclass(frozen=True)
class Config:
    """Random molecules of the shipped set's training part."""

    molecules: int = 60
    """How many."""
    curvatures: int = 60
    """Of how many of them the second derivatives are compared, too."""
    sigmas: tuple[float, ...] = (0.05, 0.1)
    """Standard deviations of the noise per coordinate, Å."""
    seed: int = 0
    """Of split, choice and noise."""
    xtb: bool = True
    """Also ask GFN2-xTB; needs tblite."""

    def __post_init__(self):
        if not 1 <= self.curvatures <= self.molecules:
            raise ValueError(f"curvatures must be from 1 to molecules, got {self.curvatures}")


def _padded(array, size: int):
    return np.concatenate(
        [array, np.zeros((size - len(array), *np.shape(array)[1:]), np.asarray(array).dtype)]
    )


def prior_surface(made: list[Graph], owner: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (m,) eV and forces of the prior around the stable structure that each belongs to."""
    known = {row: make_prior(made[row].nodes.species, made[row].nodes.positions) for row in np.unique(owner)}
    sizes = np.max([[len(terms.mask) for terms in prior] for prior in known.values()], axis=0)
    n_atom = max(len(graph.nodes.species) for graph in made)
    ask = jax.jit(jax.value_and_grad(prior_energy))  # everything padded to one shape: compiled once
    energies, forces = np.empty(len(made)), []
    for row, stable in enumerate(owner):
        places = (_padded(made[i].nodes.positions, n_atom) for i in (row, stable))
        terms = (jax.tree.map(lambda a, n=n: _padded(a, n), t) for t, n in zip(known[stable], sizes))
        energies[row], slope = ask(*places, Prior(*terms))
        forces.append(-np.asarray(slope)[: len(made[row].nodes.species)])
    return energies, forces


def curvatures(stable: list[Graph]) -> dict[str, Any]:
    """Curvature of the prior along the modes of GFN2-xTB, by bands."""
    places = [(jnp.asarray(graph.nodes.positions), graph.nodes.species) for graph in stable]
    ours = [jax.jit(prior_hessian)(place, make_prior(z, np.asarray(place))) for place, z in places]
    return compare_curvatures(ours, numerical_hessians(surface(), None, stable), stable)


def judge_frequencies(known: truth.Truth) -> dict[str, Any]:
    """Error of the prior's frequencies, cm⁻¹, in all and by bands of the true ones."""
    rows, ours, theirs = sorted(known.hessians), [], []
    for row, graph in zip(rows, graphs(take(known.structures, rows))):
        z, place = graph.nodes.species, np.asarray(graph.nodes.positions)
        hessian = jax.jit(prior_hessian)(jnp.asarray(place), make_prior(z, place))
        ours.append(frequencies(z, place, hessian))
        theirs.append(frequencies(z, place, known.hessians[row]))
    error, true = np.concatenate(ours) - np.concatenate(theirs), np.concatenate(theirs)
    band = np.digitize(true, BANDS)
    by_band = {f"{BANDS[k - 1]:.0f}": float(error[band == k].mean()) for k in np.unique(band[band > 0])}
    imaginary = int((np.concatenate(ours) < -1.0).sum())
    found = {"mae": float(np.abs(error).mean()), "bias": float(error.mean()), "n_imaginary": imaginary}
    return found | {"bias_from": by_band}


def judge_rises(known: truth.Truth) -> list[dict[str, Any]]:
    """Rises above the stable structures beside the true ones, a row per σ, turn and stretch; means in eV."""
    energy, _ = prior_surface(graphs(known.structures), known.stable)
    true = known.structures.energy - known.structures.energy[known.stable]
    ours, found = energy - energy[known.stable], []
    value = np.where(known.kind == 2, np.minimum(known.value, 360.0 - known.value), known.value)
    for kind, at in sorted({(k, v) for k, v in zip(known.kind.tolist(), value.tolist()) if k > 0}):
        rows = (known.kind == kind) & (value == at) & np.isfinite(true)
        row = {"kind": truth.KINDS[kind], "at": at, "ours": ours[rows].mean(), "true": true[rows].mean()}
        ratio = {"median_ratio": float(np.median(ours[rows] / true[rows]))} if kind == 1 else {}
        found.append(row | {"mae": np.abs(ours - true)[rows].mean()} | ratio)
    return found


def main(config: Config) -> None:
    """Ask the surfaces, print a line of JSON per question."""
    known = truth.load()
    print(json.dumps({"frequencies": judge_frequencies(known)}))
    for row in judge_rises(known):
        print(json.dumps({key: row[key] if isinstance(row[key], str) else float(row[key]) for key in row}))
    if config.xtb:
        ask_xtb(config)


def ask_xtb(config: Config) -> None:
    """The same against GFN2-xTB on molecules of the training part, with forces and curvatures."""
    data = qm9.load_small()
    chosen = split(len(data), seed=config.seed).train[: config.molecules]
    cases = truth.cases(take(data, chosen), sigmas=config.sigmas, n_scans=config.molecules, seed=config.seed)
    made = graphs(cases.structures)
    energy, forces = prior_surface(made, cases.stable)
    true, true_forces = surface().evaluate(made, progress=True)
    rise, true_rise = energy - energy[cases.stable], true - true[cases.stable]
    for sigma in config.sigmas:
        rows = np.flatnonzero((cases.kind == 1) & (cases.value == sigma))
        both = [forces[i] for i in rows], [true_forces[i] for i in rows]
        print(json.dumps({"sigma": sigma, **compare_surfaces(rise[rows], both[0], true_rise[rows], both[1])}))
    for kind in (2, 3):
        rows = (cases.kind == kind) & np.isfinite(true_rise)
        error = np.abs(rise - true_rise)[rows]
        found = {"n": int(rows.sum()), "mae": float(error.mean()), "median": float(np.median(error))}
        print(json.dumps({"scan": truth.KINDS[kind], **found, "mean": float(true_rise[rows].mean())}))
    print(json.dumps({"curvature": curvatures(made[: config.curvatures])}))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
