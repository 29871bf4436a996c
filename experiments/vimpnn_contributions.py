"""Figure 7 of VIMPNN: the share of each atom in the energy estimate while one atom leaves a seed of 14.

    python experiments/vimpnn_contributions.py

The model is VIMPNN of vimpnn_datasets.py --data crystal-growth-unstable, which must have run. The first atom
that grows on the seed sits in a hollow of three atoms; it is moved along the normal of their plane. The
energies of effective medium theory, which the model learned from, are drawn beside the model's. Writes
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
import vimpnn_tables as tables

from jphys import checkpoint, figures
from jphys.data.crystals import LATTICE_CONSTANTS
from jphys.data.growth import grow
from jphys.elements import atomic_number
from jphys.engines import make_engine
from jphys.graph import batch, make_graph
from jphys.models.potential import check_elements, check_graph_bonds


@dataclasses.dataclass(frozen=True)
class Config:
    """Which model, which element, where."""

    element: Literal["Al", "Cu"] = "Al"
    """Of the cluster."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: seven positions, the model of the smoke run of vimpnn_datasets.py."""
    model: Path | None = None
    """Checkpoint of a bond-typed potential for clusters; VIMPNN of vimpnn_datasets.py where not given."""
    points: int | None = None
    """Positions of the moving atom; 61 where not given, for smoke 7."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of results; where not given docs/results/vimpnn for Al by that model at 61 positions, for others
    the folder of the trainings."""

    def __post_init__(self):
        if self.points is not None and self.points < 3:
            raise ValueError(f"points must be at least 3, got {self.points}")


def clusters(z: int, shifts: np.ndarray) -> np.ndarray:
    """Positions (k, 15, 3) Å of seed and moving atom, which is last, off its site along the normal."""
    sites = 0.5 * LATTICE_CONSTANTS["emt"][z] * grow(15, seed=0).astype(float)
    moved = np.repeat(sites[None], len(shifts), axis=0)
    moved[:, 14] += shifts[:, None] * normal(sites)
    return moved


def normal(sites: np.ndarray) -> np.ndarray:
    """Unit vector (3,) out of the plane of the three atoms on which the last one sits."""
    ends = sites[:-1] - sites[-1]
    a, b, c = ends[np.argsort(np.linalg.norm(ends, axis=1), kind="stable")[:3]]
    across = np.cross(b - a, c - a)
    return -np.sign(across @ a) * across / np.linalg.norm(across)


def main(config: Config) -> None:
    """Move the atom, read the shares, draw them."""
    vimpnn.begin(config.preset)
    smoke, points = config.preset == "smoke", tables.size_of(config.preset, config.points, full=61, smoke=7)
    base = config.run / f"crystal-growth-unstable-{'smoke' if smoke else 'fast'}"
    model = config.model or base / "VIMPNN-0" / "best"
    whole = (smoke, points, config.element, config.model) == (False, 61, "Al", None)
    output = tables.folder_of(config.output, base, whole=whole)
    potential, params = checkpoint.load(model)
    z, shifts = atomic_number(config.element), np.linspace(-0.6, 2.4, points)
    species, positions, engine = np.full(15, z), clusters(z, shifts), make_engine("emt")
    made = [make_graph(species, place) for place in positions]
    check_elements(potential, species)
    check_graph_bonds(potential, made[0])
    graph = batch(made)
    shares = np.asarray(jax.jit(potential.node_contributions)(params, graph)).reshape(-1, 15)
    energies = np.asarray(jax.jit(potential.energy)(params, graph))
    truth = np.array([engine.energy(species, place, None).energy for place in positions])
    distances = np.linalg.norm(positions[:, :14] - positions[:, 14:], axis=-1).min(axis=1)
    at_site = int(np.argmin(np.abs(shifts)))
    record = {
        "element": config.element,
        "model": "/".join(model.parts[-3:]),
        "shift": shifts.tolist(),
        "distance": distances.tolist(),
        "energy": energies.tolist(),
        "energy_of_emt": truth.tolist(),
        "share_of_moving_atom": shares[:, 14].tolist(),
        "at_lattice_site": {
            "distance": float(distances[at_site]),
            "share": float(shares[at_site, 14]),
        },
        "lowest_energy_at_shift": {
            "VIMPNN": float(shifts[int(np.argmin(energies))]),
            "emt": float(shifts[int(np.argmin(truth))]),
        },
    }
    tables.write(output, "contributions.json", record)
    curves = {"VIMPNN": energies, "effective medium theory": truth}
    figures.contributions(shifts, curves, shares[:, 14], shares[:, :14], output / "fig7.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
