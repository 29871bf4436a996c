"""Figure 7 of VIMPNN: the share of each atom in the energy estimate while one atom leaves a seed of 14.

    python experiments/vimpnn_contributions.py

The model is VIMPNN of vimpnn_datasets.py --data crystal-growth-unstable, which must have run. The first atom
that grows on the seed is moved along the line from the centre of the seed through its site. Writes
docs/results/vimpnn/contributions.json and fig7.png.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
import vimpnn_runs as vimpnn

from jphys import checkpoint, figures
from jphys.data.crystals import LATTICE_CONSTANTS
from jphys.data.growth import grow
from jphys.elements import atomic_number
from jphys.graph import batch, make_graph


@dataclasses.dataclass(frozen=True)
class Config:
    """Which model, which element, where."""

    element: Literal["Al", "Cu"] = "Al"
    """Of the cluster."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: seven positions, the model of the smoke run of vimpnn_datasets.py."""
    model: Path | None = None
    """Checkpoint of a bond-typed potential for clusters; VIMPNN of vimpnn_datasets.py where not given."""
    points: int = 61
    """Positions of the moving atom."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of results; docs/results/vimpnn where not given, for smoke the folder of the trainings."""

    def __post_init__(self):
        if self.points < 3:
            raise ValueError(f"points must be at least 3, got {self.points}")


def clusters(z: int, shifts: np.ndarray) -> np.ndarray:
    """Positions (k, 15, 3) Å of seed and moving atom, which is last."""
    sites = 0.5 * LATTICE_CONSTANTS["emt"][z] * grow(15, seed=0).astype(float)
    away = sites[14] - sites[:14].mean(axis=0)
    moved = np.repeat(sites[None], len(shifts), axis=0)
    moved[:, 14] += shifts[:, None] * away / np.linalg.norm(away)
    return moved


def main(config: Config) -> None:
    """Move the atom, read the shares, draw them."""
    vimpnn.begin(config.preset)
    smoke = config.preset == "smoke"
    base = config.run / f"crystal-growth-unstable-{'smoke' if smoke else 'fast'}"
    model = config.model or base / "VIMPNN-0" / "best"
    output = config.output or (base if smoke else vimpnn.RESULTS)
    potential, params = checkpoint.load(model)
    z, shifts = atomic_number(config.element), np.linspace(-0.6, 2.4, 7 if smoke else config.points)
    positions = clusters(z, shifts)
    graph = batch([make_graph(np.full(15, z), place) for place in positions])
    shares = np.asarray(jax.jit(potential.node_contributions)(params, graph)).reshape(-1, 15)
    energies = np.asarray(jax.jit(potential.energy)(params, graph))
    distances = np.linalg.norm(positions[:, :14] - positions[:, 14:], axis=-1).min(axis=1)
    at_site = int(np.argmin(np.abs(shifts)))
    record = {
        "element": config.element,
        "model": "/".join(model.parts[-3:]),
        "distance": distances.tolist(),
        "energy": energies.tolist(),
        "share_of_moving_atom": shares[:, 14].tolist(),
        "at_lattice_site": {
            "distance": float(distances[at_site]),
            "share": float(shares[at_site, 14]),
            "lowest_energy_at": float(distances[int(np.argmin(energies))]),
        },
    }
    vimpnn.write(output, "contributions.json", record)
    figures.contributions(distances, energies, shares[:, 14], shares[:, :14], output / "fig7.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
