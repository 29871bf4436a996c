"""Figure 5 of Yi et al.: what a model that learned from masked atoms knows of the element at a place.

    python experiments/fig5_masked_atom.py                # about a minute
    python experiments/fig5_masked_atom.py --model runs/default-physics-0/best

The hidden hydrogen of CH4 is dragged along its bond, and hydrogen and nitrogen of pyrrole, C4NH5, along their
bond and out of the ring, from −4 to 4 Å: likelihood of Z = 1 to 14. Then every atom of the test part is
hidden once, 30 % of them together, and one in structures displaced by noise: how often is the likeliest
element the true one, against always the commonest? Expected: 100 % one at a time, 78 % with noise of 0.1 Å,
53 % by the commonest. Writes docs/results/reliability/fig5.json and fig5.png.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import jax
import numpy as np
import tyro
from reliability_runs import RESULTS, test_part, write

import jphys
from jphys import bonds, figures
from jphys.reliability import masked_atom
from jphys.reliability.surface import perturb


@dataclasses.dataclass(frozen=True)
class Config:
    """Which model, how much, where."""

    preset: Literal["smoke", "full"] = "full"
    """smoke: 9 shifts and 4 test molecules."""
    model: str = "qm9-small"
    """Pretrained name or checkpoint, trained with masked atoms on the shipped molecules, split by seed 0."""
    shifts: int = 161
    """Places from −4 to 4 Å."""
    output: Path | None = None
    """Folder of results; where not given docs/results/reliability at full size, else runs/fig5."""

    def __post_init__(self):
        if self.shifts < 3:
            raise ValueError(f"shifts must be at least 3, got {self.shifts}")


def scans(potential, params, shifts: np.ndarray) -> dict[str, tuple]:
    """Title -> shifts and likelihoods."""
    panels = {}
    for title, smiles, atom, along in (
        ("H of CH₄, along its bond", "C", 1, 0),
        ("H of C₄NH₅, along N–H", "c1cc[nH]c1", None, 3),
        ("N of C₄NH₅, out of the ring", "c1cc[nH]c1", 3, None),
    ):
        species, positions, found = bonds.embed_smiles(smiles)
        if atom is None:  # the hydrogen of the other atom
            atom = next(int(max(row[:2])) for row in found if along in row[:2] and species[max(row[:2])] == 1)
        if along is None:
            ring = positions[:5] - positions[:5].mean(axis=0)
            axis = np.linalg.svd(ring)[2][2]
        else:
            axis = positions[atom] - positions[along]
        graph = jphys.make_graph(species, positions, bonds=found)
        panels[title] = shifts, masked_atom.scan(potential, params, graph, atom, shifts, axis=axis)
    return panels


def main(config: Config) -> None:
    """Scan, count, write, draw."""
    smoke = config.preset == "smoke"
    potential, params = jphys.load(config.model)
    shifts = np.linspace(-4.0, 4.0, 9 if smoke else config.shifts)
    panels = scans(potential, params, shifts)
    test, frequencies = test_part(0)
    test, found = (test[:4] if smoke else test), {}
    for name, rate, sigma in (
        ("one at a time", 0.0, 0.0),
        ("30 % at once", 0.3, 0.0),
        ("one at a time, σ = 0.05 Å", 0.0, 0.05),
        ("one at a time, σ = 0.1 Å", 0.0, 0.1),
    ):
        moved = perturb(test, sigma, key=jax.random.key(0))
        found[name] = one = masked_atom.accuracy(potential, params, moved, frequencies, rate=rate)
        print(
            f"{name}: top-1 {100 * one['top1']:.2f} % of {one['n']} atoms "
            f"(always the commonest: {100 * one['baseline']:.1f} %)"
        )
    record = {"model": config.model, "accuracy": found, "shifts": shifts.tolist()}
    record |= {
        "likelihoods": {
            title: np.round(p[:, : figures.SHOWN], 4).tolist() for title, (_, p) in panels.items()
        }
    }
    folder = config.output or (Path("runs/fig5") if smoke else RESULTS)
    write(folder, "fig5.json", record)
    figures.likelihoods(panels, folder / "fig5.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
