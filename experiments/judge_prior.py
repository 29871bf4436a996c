"""How good is the classical prior itself? Its rises and forces against GFN2-xTB, without any training.

    pip install -e ".[engines]" && python experiments/judge_prior.py

The answer bounds what a model trained on the prior's forces can reach. Expected (40 molecules): force
correlation 0.97 at σ = 0.05 and 0.1 Å, median ratio of the rises 1.0.
"""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import tyro

from jphys.data import qm9
from jphys.data.splits import split
from jphys.data.structures import graphs, take
from jphys.graph import Graph
from jphys.prior import make_prior, prior_energy
from jphys.reliability.surface import perturb
from jphys.reliability.xtb import compare_surfaces, evaluate_xtb


@dataclasses.dataclass(frozen=True)
class Config:
    """Molecules of the shipped set's test part, perturbed by Gaussian noise."""

    molecules: int = 40
    """How many."""
    sigmas: tuple[float, ...] = (0.05, 0.1)
    """Standard deviations per coordinate, Å."""
    seed: int = 0
    """Of the split and of the noise."""


def evaluate_prior(moved: list[Graph], stable: list[Graph]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Energies (m,) eV and forces of the prior around each stable structure."""
    energies, forces = [], []
    for end, start in zip(moved, stable, strict=True):
        prior = make_prior(start.nodes.species, start.nodes.positions)
        positions, reference = jnp.asarray(end.nodes.positions), jnp.asarray(start.nodes.positions)
        energy, gradient = jax.value_and_grad(prior_energy)(positions, reference, prior)
        energies.append(float(energy))
        forces.append(-np.asarray(gradient))
    return np.array(energies), forces


def main(config: Config) -> None:
    data = qm9.load_small()
    chosen = split(len(data), seed=config.seed).test[: config.molecules]
    stable = graphs(take(data, chosen))
    still, _ = evaluate_xtb(stable)
    for sigma in config.sigmas:
        moved = perturb(stable, sigma, key=jax.random.key(config.seed))
        rise, forces = evaluate_prior(moved, stable)
        xtb_energy, xtb_forces = evaluate_xtb(moved, progress=True)
        row = compare_surfaces(rise, forces, xtb_energy - still, xtb_forces)
        print(json.dumps({"sigma": sigma, **row}))


if __name__ == "__main__":
    main(tyro.cli(Config, description=__doc__))
