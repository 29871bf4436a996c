"""Put the best parameters of a finished run into the package as a pretrained model, with its card.

    python experiments/publish.py --run runs/best-cpu-physics-0 --name qm9-small
    python experiments/publish.py --run runs/vimpnn/augmented-qm9-fast/VIMPNN-smooth-0 --name vimpnn-qm9

Writes jphys/pretrained/<name>/ and, of a run of train.py, docs/results/<name>.json; every number of the card
comes from the run's summary.json. Afterwards: experiments/render_results.py.
"""

import dataclasses
import json
import shutil
import string
import sys
from pathlib import Path

import tyro

from jphys import checkpoint, make_potential

ROOT = Path(__file__).parents[1]

CARD = """# {name}

Energy of neutral closed-shell molecules of H, C, N, O, F near their stable structures, B3LYP/6-31G(2df,p)
with zero-point energy, relative to fitted energies per element (`jphys.reference_energy` gives their sum).

- **Data**: {data[name]}, {data[n_train]} molecules to train, {data[n_valid]} to choose the epoch,
  {data[n_test]} to test, split by seed {seed}. QM9, Ramakrishnan et al. 2014
  (doi:10.1038/sdata.2014.22), CC0. Stable structures only: no force, no displaced structure and no other
  engine gave a label.
- **Objective**: `{objective}`, preset `{preset}`, {epochs} epochs,
  {minutes:.0f} minutes (JAX devices: {device}).
- **Model**: physics-driven Transformer with parametric energies of {terms}, {n_parameters} parameters.

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

RECOVERY_ROW = (
    "| ΔP, σ = {sigma} Å, fmax {fmax} eV/Å | mean {distance[mean]:.3f} Å, median {distance[median]:.3f} Å, "
    "{percent:.0f} % below 0.1 Å |\n"
)
XTB_ROW = (
    "| against GFN2-xTB, σ = {sigma} Å | median rise ratio {median_rise_ratio:.2f}, "
    "force correlation {force_correlation:.3f}, slope {force_slope:.2f} |\n"
)

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


class Card(string.Formatter):
    """Fills a card in; a statistic that is undefined is a dash.

    >>> Card().format("{mean:.1f} {median:.1f}", mean=1.23, median=None)
    '1.2 –'
    """

    def format_field(self, value, format_spec):
        return "–" if value is None else super().format_field(value, format_spec)


def measured_rows(summary: dict) -> str:
    """Recovery and the comparison with GFN2-xTB as rows of the card's table."""
    recovered, judged = summary["recovery"]["rows"], (summary["xtb"] or {"sigmas": []})["sigmas"]
    rows = [Card().format(RECOVERY_ROW, percent=100 * row["recovered"], **row) for row in recovered]
    return "".join(rows + [Card().format(XTB_ROW, **row) for row in judged])


def card(name: str, summary: dict) -> str:
    """The card of a run of train.py, or of one with scaled structures."""
    if "style" in summary:
        return Card().format(SCALED_CARD, name=name, **summary)
    minutes, rows = summary["seconds"]["train"] / 60, measured_rows(summary)
    terms = summary["settings"]["fields"]["model"]["fields"].get("terms", [])
    terms = " and ".join(f"{term}s" for term in ("pair", *terms))
    return Card().format(CARD, name=name, minutes=minutes, rows=rows, terms=terms, **summary)


def main(config: Config) -> None:
    path = config.run / "summary.json"
    if not path.exists():
        raise ValueError(f"run must be a finished run folder with summary.json, got {config.run}")
    summary = json.loads(path.read_text(encoding="utf-8"))
    potential, params = checkpoint.load(config.run / "best")
    # As the cards say: QM9's own energies hold the zero-point energy, those of GFN2-xTB do not.
    potential = make_potential(dataclasses.replace(potential.config, zero_point="style" not in summary))
    target = ROOT / "jphys" / "pretrained" / config.name
    print(checkpoint.save(target, potential, params, card=card(config.name, summary)))
    if "style" in summary:
        return
    results = ROOT / "docs" / "results"
    results.mkdir(parents=True, exist_ok=True)
    print(shutil.copy(path, results / f"{config.name}.json"))


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
