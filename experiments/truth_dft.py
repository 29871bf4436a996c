"""Does the learned surface rise as the real one does? B3LYP/6-31G(2df,p) decides.

    python experiments/truth_dft.py          # some minutes; table1_qm9.py must have run
    python experiments/truth_dft.py --surfaces ani-1x --ani-python PYTHON     # half a minute
    python experiments/truth_dft.py --judge second --surfaces qm9-small physics mmff94 gfn2-xtb

50 test molecules displaced by 0.05 and 0.1 Å, ten torsions, ten bond stretches, frequencies of ten molecules
(experiments/make_truth.py). Surfaces: the pretrained qm9-small, the default and the paper's objective, both
with and without the bound, energies only; MMFF94 and GFN2-xTB. Expected: qm9-small rises by 0.98 to
1.00 of what it should, the literal losses by 0.00 to 0.02; its frequencies are 72 cm⁻¹ off, none is
imaginary. Writes docs/results/reliability/truth.json and truth.png.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import reliability_runs as shared
import tyro
from pages import number

from jphys import figures
from jphys.data import truth as truths
from jphys.reliability import truth


@dataclasses.dataclass(frozen=True)
class Config(shared.Judged):
    """Which surfaces, by which truth, where."""

    judge: Literal["first", "second"] = "first"
    """Which of the files in the package; the second one decides nothing, its results are second*.json."""
    labels: Path | None = None
    """File of make_truth.py in their place."""

    def __post_init__(self):
        if self.labels is not None and self.judge != "first":
            raise ValueError(f"labels must not go with the {self.judge} judge, got {self.labels}")


def show(name: str, found: dict) -> None:
    """One surface, readable."""
    for row in found["displaced"]:
        print(
            f"{name:16s} σ {row['sigma']} Å: rise ratio {number(row['median_rise_ratio'], 2)}, correlation "
            f"{number(row['rise_correlation'], 2)}; forces: correlation "
            f"{number(row['force_correlation'], 3)}, slope {number(row['force_slope'], 2)}, "
            f"MAE {number(row['force_mae'], 2)} of {number(row['force_size'], 2)} eV/Å"
        )
    for kind in ("torsion", "stretch"):
        if kind in found:
            row = found[kind]
            print(
                f"{name:16s} {kind}: {row['n']} points, MAE {number(row['mae'], 2)} of "
                f"{number(row['size'], 2)} eV, correlation {number(row['correlation'], 2)}"
            )
    if "frequencies" in found:
        row = found["frequencies"]
        print(
            f"{name:16s} {row['n']} frequencies: MAE {number(row['mae'], 0)}, "
            f"bias {number(row['bias'], 0)} cm⁻¹, {row['n_imaginary']} imaginary"
        )


def main(config: Config) -> None:
    """Judge every surface, write, print."""
    first = config.judge == "first"
    truth_of_dft = truths.load(config.labels if first else truths.SECOND)
    rows, points = {}, {}
    for name, (potential, params) in shared.surfaces(config).items():
        rows[name] = truth.judge(potential, params, truth_of_dft, progress=True)
        points[name], _ = truth.rises(potential, params, truth_of_dft)
        show(name, rows[name])
    record = {"provenance": truth_of_dft.provenance, "n": len(truth_of_dft.kind), "surfaces": rows}
    whole = config.preset == "full" and config.labels is None
    folder = config.output or (shared.RESULTS if whole else config.run)
    name = "truth" if first else "second"
    shared.write(folder, f"{config.named(name)}.json", record)
    if not config.surfaces:
        figures.rises(points, truth_of_dft, folder / f"{name}.png")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, ImportError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
