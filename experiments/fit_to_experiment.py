"""Tune trained models to measured numbers, through structures at rest: `jphys.stationary`.

    python experiments/fit_to_experiment.py              # ten minutes on one core, most of it compiling
    python experiments/fit_to_experiment.py --parts copper --steps 5

Molecules: seven bond lengths of five molecules, of a pretrained model. Copper: lattice constant and bulk
modulus, of a model that is trained here on effective medium theory (EMT of ASE). Each step is the smallest
change of the parameters that meets every number and, where it can, leaves energies and forces of some
structures of the training as they were, were all of them linear in the parameters (gauss_newton.py). What
else the models knew is measured before and after. Writes docs/results/reliability/fit-to-experiment.json.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import reliability_runs as shared
import tyro
from ase.build import molecule
from fit_copper import of_copper
from gauss_newton import record, stacked, tuned

import jphys
from jphys.compiling import compile_quickly
from jphys.data.qm9 import load_small
from jphys.data.structures import graphs, take
from jphys.evaluation import evaluate
from jphys.graph import with_positions
from jphys.reliability.report import report
from jphys.training.config import ReportConfig
from jphys.training.parts import split_data

# Molecule, atoms, equilibrium length in Å, source.
BONDS = (
    ("H2O", 0, 1, 0.958, "Hoy and Bunker, J. Mol. Spectrosc. 74, 1 (1979)"),
    ("NH3", 0, 1, 1.012, "Herzberg, Electronic Spectra of Polyatomic Molecules (1966)"),
    ("CH4", 0, 1, 1.086, "Gray and Robiette, Mol. Phys. 37, 1901 (1979)"),
    ("HCN", 0, 2, 1.065, "Winnewisser, Maki and Johnson, J. Mol. Spectrosc. 39, 149 (1971)"),
    ("HCN", 0, 1, 1.153, "the same"),
    ("C2H2", 0, 1, 1.202, "Baldacci et al., J. Mol. Spectrosc. 59, 116 (1976)"),
    ("C2H2", 0, 3, 1.062, "the same"),
)


@dataclasses.dataclass(frozen=True)
class Config:
    """What to tune, how long, where."""

    parts: tuple[Literal["molecules", "copper"], ...] = ("molecules", "copper")
    """Which of the two."""
    model: str = "qm9-small"
    """Pretrained name or checkpoint for the molecules; of seed 0, whose test part it is measured on."""
    steps: int = 3
    """Of Gauss and Newton."""
    molecules: int = 64
    """Test molecules that are displaced and relaxed, before and after."""
    run: Path = Path("runs/fit-to-experiment")
    """Folder of the training on EMT; one that is there goes on."""
    output: Path | None = None
    """Folder of fit-to-experiment.json; where not given docs/results/reliability for both parts
    as they are by default, for others that of the training."""

    def __post_init__(self):
        if self.steps < 1:
            raise ValueError(f"steps must be at least 1, got {self.steps}")
        if self.molecules < 2:
            raise ValueError(f"molecules must be at least 2, got {self.molecules}")

    @property
    def kept(self) -> Path:
        """Where the results go."""
        own = Config(run=self.run, output=self.output)
        return self.output or (shared.RESULTS if self == own else self.run)


def of_molecules(config: Config) -> dict[str, Any]:
    """Bond lengths of all molecules in one call, padded to one shape."""
    potential, params = jphys.load(config.model)
    names = list(dict.fromkeys(name for name, *_ in BONDS))
    start = jphys.relax(potential, params, [jphys.from_ase(molecule(name)) for name in names]).graphs
    many = stacked(start)
    rows = np.array([names.index(name) for name, *_ in BONDS])
    ends = np.array([bond[1:3] for bond in BONDS])

    def lengths(params):
        rest = jax.vmap(lambda graph: jphys.stationary(potential, params, graph).graph)(many)
        places = rest.nodes.positions[rows]
        first, second = (jnp.take_along_axis(places, ends[:, [k], None], axis=1)[:, 0] for k in (0, 1))
        return jnp.linalg.norm(first - second, axis=-1)

    measured = np.array([bond[3] for bond in BONDS])
    new, seen = tuned(lengths, measured, potential, params, stacked(some_molecules(64)), config.steps)
    labels = [f"{name} {molecule(name)[i].symbol}–{molecule(name)[j].symbol}, Å" for name, i, j, *_ in BONDS]
    before, after = (judged_molecules(potential, one, config.molecules) for one in (params, new))
    return record(labels, measured, seen, before, after)


def some_molecules(n: int) -> list[jphys.Graph]:
    """Random ones of the training part, every other displaced by 0.05 Å per coordinate."""
    train, rng = split_data(load_small(), 0).train.structures, np.random.default_rng(0)
    chosen = graphs(take(train, rng.permutation(len(train))[:n]))
    noise = [0.05 * (k % 2) * rng.standard_normal(one.nodes.positions.shape) for k, one in enumerate(chosen)]
    moved = [one.nodes.positions + off.astype(np.float32) for one, off in zip(chosen, noise)]
    return [with_positions(one, places) for one, places in zip(chosen, moved)]


def judged_molecules(potential, params, n: int) -> dict[str, float]:
    """Errors and recovery on molecules of the test part."""
    test, _ = shared.test_part(0)
    structures = split_data(load_small(), 0).test.structures
    energy, _ = evaluate(potential, params, test)
    energy = energy + [float(jphys.reference_energy(potential, graph.nodes.species)) for graph in test]
    settings = ReportConfig(molecules=n, sigmas=(0.1,), fmaxes=(0.01,), xtb_molecules=20)
    _, _, found = report(potential, params, test, settings, key=jax.random.key(0))
    (row,) = found["recovery"]["rows"]
    kept = {"MAE_E, meV": 1e3 * float(np.mean(np.abs(energy - structures.energy)))}
    kept |= {"ΔP, σ = 0.1 Å, mean, Å": row["distance"]["mean"], "ΔP < 0.1 Å, %": 100 * row["recovered"]}
    if found["xtb"] is not None:
        (near, *_) = found["xtb"]["sigmas"]
        kept["force correlation with GFN2-xTB"] = near["force_correlation"]
    return kept


def main(config: Config) -> None:
    """Tune, measure, write."""
    compile_quickly()
    makers = {
        "molecules": lambda: of_molecules(config),
        "copper": lambda: of_copper(config.run, config.steps),
    }
    found = {part: makers[part]() for part in config.parts}
    for part in found.values():
        for row in part["values"]:
            print(
                f"{row['name']:20s} measured {row['measured']:.3f}", [round(one, 4) for one in row["steps"]]
            )
        for name, (before, after) in part["rest"].items():
            print(f"{name:35s} {before:.4g} -> {after:.4g}")
    settings = {"model": config.model, "molecules": config.molecules}
    shared.write(config.kept, "fit-to-experiment.json", {"parts": found} | settings)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
