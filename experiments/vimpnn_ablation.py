"""Tables 1, 3, 4 and 5 of VIMPNN: what each strategy gives, on molecules stretched from 0.9 to 1.5.

    python experiments/vimpnn_ablation.py --table 1     # strategies alone
    python experiments/vimpnn_ablation.py --table 3     # the five kinds of channels
    python experiments/vimpnn_ablation.py --table 4     # channels with one auxiliary estimate each
    python experiments/vimpnn_ablation.py --table 5     # 1, 3 and 8 rounds of messages

2,000 molecules of Augmented QM9 (GFN2-xTB), ten scales each, 80/10/10 by molecule, three seeds. A model that
stands in two tables is trained once. A stopped table goes on with the same command. Writes
runs/vimpnn/<data>/<model>-<seed>/ and the table as docs/results/vimpnn/table<n>.json.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Any, Literal

import tyro
import vimpnn_runs as vimpnn
import vimpnn_tables as tables

from jphys.data import augmented_qm9

MOLECULES, SEEDS = 2000, 3  # of the tables that the page shows
ONE = {name: {"strategy": "distance", "auxiliary": (name,)} for name in vimpnn.ALL}
TABLES: dict[int, dict[str, dict[str, Any]]] = {
    1: {
        "no bond type": {"strategy": "distance"},
        "MPNN": vimpnn.MPNN,
        "a.ii": {"strategy": "a.ii"},
        "a.ii + MPNN (ours)": {"strategy": "a.ii", "bond_feature": True},
        "# atoms": ONE["atoms"],
        "# orbitals": ONE["orbitals"],
        "scale": ONE["scale"],
    },
    3: {
        **{name: {"strategy": name} for name in ("a.i", "a.ii", "b.i", "b.ii", "c")},
        "MPNN, 219 (ours)": vimpnn.MPNN | {"channels": 219},  # a state as long as that of b.i and b.ii
    },
    4: {f"a.ii + {name}": {"strategy": "a.ii", "auxiliary": (name,)} for name in vimpnn.ALL},
    5: {
        f"{name}, T = {steps}": {**model, "steps": steps}
        for name, model in (("VIMPNN", vimpnn.VIMPNN), ("MPNN", vimpnn.MPNN))
        for steps in (1, 3, 8)
    },
}


@dataclasses.dataclass(frozen=True)
class Config:
    """Which table, how large, where."""

    table: Literal[1, 3, 4, 5] = 1
    """Number in the paper."""
    preset: Literal["smoke", "full"] = "full"
    """smoke: 60 molecules, a small model, two epochs, one seed."""
    style: Literal["fast", "paper"] | None = None
    """How the full preset trains; fast where not given."""
    molecules: int | None = None
    """Random molecules of the set; 2,000 where not given, for smoke 60."""
    seeds: int | None = None
    """Trainings per model, 3 where not given, for smoke 1; the seed also splits the data."""
    labels: Path | None = None
    """File of make_augmented_qm9.py; the one in the package where not given."""
    run: Path = Path("runs/vimpnn")
    """Folder of the trainings."""
    output: Path | None = None
    """Folder of the table; where not given docs/results/vimpnn for the table that stands there, of three
    seeds or more, for others the folder of the trainings."""

    def __post_init__(self):
        tables.style_of(self.preset, self.style)
        for name in ("molecules", "seeds"):
            given = getattr(self, name)
            if given is not None and given < 1:
                raise ValueError(f"{name} must be at least 1, got {given}")


def folder_of(model: dict[str, Any], seed: int) -> str:
    """Name of a training: what differs from the model of the paper's text."""
    auxiliary = "+".join(model.get("auxiliary", ())) or "none"
    strategy = model["strategy"] + ("+edge" if model.get("bond_feature") else "")
    size = f"-{model['channels']}" if "channels" in model else ""
    return f"{strategy}-{auxiliary}-T{model.get('steps', 3)}{size}-{seed}"


def main(config: Config) -> None:
    """Train what is missing, write the table, print it."""
    vimpnn.begin(config.preset)
    molecules = tables.size_of(config.preset, config.molecules, full=MOLECULES, smoke=60)
    seeds = tables.size_of(config.preset, config.seeds, full=SEEDS, smoke=1)
    style: Any = tables.style_of(config.preset, config.style)
    points, rows = augmented_qm9.load(config.labels), {}
    base = config.run / f"augmented-qm9-{molecules}-{style}"
    for name, model in TABLES[config.table].items():
        found = []
        for seed in range(seeds):
            parts = vimpnn.parts_of("augmented-qm9", points, (0.8, 0.1, 0.1), seed, molecules)
            found.append(vimpnn.trained(base / folder_of(model, seed), parts, style, model, seed)[0])
        rows[name] = tables.over_seeds(found)
        print(tables.line(name, rows[name]))
    record = {
        "table": config.table,
        "data": {"molecules": molecules, "provenance": points.provenance},
        "style": style,
        "rows": rows,
    }
    whole = style == "fast" and molecules == MOLECULES and seeds >= SEEDS and config.labels is None
    tables.write(tables.folder_of(config.output, base, whole=whole), f"table{config.table}.json", record)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError) as error:
        sys.exit(f"error: {error}")
