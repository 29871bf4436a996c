"""How good is the classical prior itself? Rises, scans and curvatures against GFN2-xTB, without any training.

    pip install -e ".[engines]" && python experiments/judge_prior.py

The answer bounds what a model trained on the prior's forces can reach. Molecules of the training part: as
they are, with noise, with a bond turned by 30° to 330° and with a bond stretched by -0.2 to 1 Å. Expected (60
molecules, a minute): force correlation 0.97, median ratio of the rises 1.04, torsions off by 0.26 eV on
average, curvatures of soft and stiff modes within a factor of 1.3.
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
from jphys.modes import prior_hessian
from jphys.prior import make_prior, prior_energy
from jphys.reliability.curvature import compare_curvatures
from jphys.reliability.vibrations import numerical_hessians
from jphys.reliability.xtb import compare_surfaces, surface


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

    def __post_init__(self):
        if not 1 <= self.curvatures <= self.molecules:
            raise ValueError(f"curvatures must be from 1 to molecules, got {self.curvatures}")


def prior_surface(made: list[Graph], owner: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (m,) eV and forces of the prior around the stable structure that each belongs to."""
    energies, forces = np.empty(len(made)), [np.zeros((0, 3))] * len(made)
    for stable in np.unique(owner):
        reference, rows = made[stable].nodes, np.flatnonzero(owner == stable)
        prior = make_prior(reference.species, reference.positions)
        ask = jax.jit(jax.vmap(jax.value_and_grad(prior_energy), in_axes=(0, None, None)))
        places = jnp.stack([jnp.asarray(made[row].nodes.positions) for row in rows])
        energies[rows], slopes = ask(places, jnp.asarray(reference.positions), prior)
        for row, slope in zip(rows, np.asarray(slopes)):
            forces[row] = -slope
    return energies, forces


def curvatures(stable: list[Graph]) -> dict[str, Any]:
    """Curvature of the prior along the modes of GFN2-xTB, by bands."""
    places = [(jnp.asarray(graph.nodes.positions), graph.nodes.species) for graph in stable]
    ours = [jax.jit(prior_hessian)(place, make_prior(z, np.asarray(place))) for place, z in places]
    return compare_curvatures(ours, numerical_hessians(surface(), None, stable), stable)


def main(config: Config) -> None:
    """Ask both surfaces, print a line of JSON per question."""
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
