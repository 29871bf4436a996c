"""Put the best parameters of a finished run into the package as a pretrained model, with its card.

    python experiments/publish.py --run runs/best-cpu-physics-0 --name qm9-small
    python experiments/publish.py --run runs/vimpnn/augmented-qm9-fast/VIMPNN-smooth-0 --name vimpnn-qm9

Writes jphys/pretrained/<name>/ and, of a run of train.py, docs/results/<name>.json; every number of the card
comes from the run's summary.json. Afterwards: experiments/render_results.py.
"""

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import tyro

from jphys import checkpoint

ROOT = Path(__file__).parents[1]

CARD = """# {name}

Energy of neutral closed-shell molecules of H, C, N, O, F near their stable structures, B3LYP/6-31G(2df,p)
with zero-point energy, relative to fitted energies per element (`jphys.reference_energy` gives their sum).

- **Data**: {data[name]}, {data[n_train]} molecules to train, {data[n_valid]} to choose the epoch,
  {data[n_test]} to test, split by seed {seed}. QM9, Ramakrishnan et al. 2014
  (doi:10.1038/sdata.2014.22), CC0. Stable structures only: no force, no displaced structure and no other
  engine gave a label.
- **Objective**: `{objective}`, preset `{preset}`, {epochs} epochs, {minutes:.0f} minutes on {device}.
- **Model**: physics-driven Transformer with parametric pair energies, {n_parameters} parameters.

| measured on the test part | |
|---|---|
| MAE_E | {test[mae_energy_mev]:.1f} meV per molecule |
| MAE_F at stable structures | {test[mae_force_ev_per_angstrom]:.4f} eV/Å per component |
{rows}
## Limits

- Only the five elements; others give NaN and are refused by name where a function runs on the host.
- Trained up to 7 heavy atoms and near stable structures: reactions, ions, radicals, excited states and
  molecular complexes are outside.
- Displaced structures follow a classical prior (`jphys.prior`): bonds do not break as they should, and one
  conformer knows little about another.
- Energies contain the zero-point energy, as QM9's U0 does.
"""

SCALED_CARD = """# {name}

Energy of neutral closed-shell molecules of H, C, N, O, F whose distances are all scaled by one factor from
0.9 to 1.5, by GFN2-xTB, relative to fitted energies per element (`jphys.reference_energy` gives their sum).

- **Data**: {data}, {n_train} points to train, {n_test} to test, split by molecule with seed {seed}. Molecules
  of QM9, Ramakrishnan et al. 2014 (doi:10.1038/sdata.2014.22), CC0; labels by tblite.
- **Model**: `{model}`; {epochs} epochs, {minutes:.0f} minutes.

| measured on the test part | |
|---|---|
| MAE | {test[mae][mean]:.3f} eV per molecule |
| relative error | {test[re][mean]:.5f} |
| error of the stable distance | {test[dsc][mean]:.4f} Å |
| MAE with two more points between any two scales | {between[mae][mean]:.3f} eV |
| error of the stable distance there | {between[dsc][mean]:.4f} Å |

## Limits

- Needs bonds: atoms that are not bonded do not feel each other.
- Knows molecules that are scaled as a whole. Forces on single atoms, torsions, reactions and anything that
  moves freely are outside: for relaxation and dynamics take `qm9-small`.
"""


@dataclasses.dataclass(frozen=True)
class Config:
    """What to publish."""

    run: Path
    """Run folder with best/ and summary.json."""
    name: str
    """Name for `jphys.load`."""


def measured_rows(summary: dict) -> str:
    """Recovery and the comparison with GFN2-xTB as rows of the card's table."""
    rows = [
        f"| ΔP, σ = {row['sigma']} Å, fmax {row['fmax']} eV/Å | mean {row['distance']['mean']:.3f} Å, median "
        f"{row['distance']['median']:.3f} Å, {100 * row['recovered']:.0f} % below 0.1 Å |"
        for row in summary["recovery"]["rows"]
    ]
    for row in (summary["xtb"] or {"sigmas": []})["sigmas"]:
        rows.append(
            f"| against GFN2-xTB, σ = {row['sigma']} Å | median rise ratio {row['median_rise_ratio']:.2f}, "
            f"force correlation {row['force_correlation']:.3f}, slope {row['force_slope']:.2f} |"
        )
    return "".join(row + "\n" for row in rows)


def main(config: Config) -> None:
    path = config.run / "summary.json"
    if not path.exists():
        raise ValueError(f"run must be a finished run folder with summary.json, got {config.run}")
    summary = json.loads(path.read_text(encoding="utf-8"))
    potential, params = checkpoint.load(config.run / "best")
    target = ROOT / "jphys" / "pretrained" / config.name
    if "style" in summary:
        card = SCALED_CARD.format(name=config.name, **summary)
        print(checkpoint.save(target, potential, params, card=card))
        return
    minutes = summary["seconds"]["train"] / 60
    card = CARD.format(name=config.name, minutes=minutes, rows=measured_rows(summary), **summary)
    print(checkpoint.save(target, potential, params, card=card))
    results = ROOT / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    print(shutil.copy(path, results / f"{config.name}.json"))


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
