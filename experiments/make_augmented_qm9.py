"""Make Augmented QM9: the first molecules of QM9 at ten scales (0.9 to 1.5), with energies of one engine.

    python experiments/make_augmented_qm9.py --source dsgdb9nsd.xyz.tar.bz2 --workers 2
    python experiments/make_augmented_qm9.py --engine pyscf --molecules 150 --output augmented_qm9_pyscf.npz
    python experiments/make_augmented_qm9.py --formula C5H7N3O --output augmented_qm9_C5H7N3O.npz

A stopped run goes on with the same command. GFN2-xTB, 10,000 molecules: about 15 minutes on two cores and no
failure; PySCF, 150 molecules: about two hours on one core. `--again` asks for points that failed once
more. `--smoke` takes the three smallest molecules of the subset in the package, in seconds. It prints the
points, those that failed, and at which of the ten scales the energy is lowest: 0.9667 or 1.0333 for every
molecule.
"""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from commands import command

from jphys.data import augmented_qm9, qm9, qm9_npz
from jphys.data.labelling import label
from jphys.data.scaled import CONVERGED, FAILED
from jphys.data.scaled_files import AUGMENTED_QM9
from jphys.data.structures import Structures
from jphys.engines import make_engine

SMOKE_FILE = Path("runs/augmented_qm9-smoke.npz")


@dataclasses.dataclass(frozen=True)
class Config:
    """What to calculate, with what, and where to write it."""

    engine: Literal["gfn2-xtb", "pyscf", "cp2k"] = "gfn2-xtb"
    """Program: tblite, PySCF (B3LYP with QM9's basis) or CP2K (PBE)."""
    molecules: int | None = None
    """How many molecules, the first by GDB9 number that passed the check of QM9's authors; None: 10,000. For
    smoke the smallest of the subset; None: 3."""
    formula: str | None = None
    """The first molecule of this formula (C and H first, then by symbol) instead."""
    source: Path | None = None
    """QM9: the official tar.bz2, a folder of dsgdb9nsd_*.xyz files or an npz; None downloads the tar."""
    workers: int = 1
    """Processes, each with one thread; 0 calculates in this process."""
    output: Path | None = None
    """npz file to write; one that is there is continued. None is the file in the package, for smoke one in
    runs/."""
    again: bool = False
    """Ask for the points that failed once more, as those of which a time ran out."""
    smoke: bool = False
    """The three smallest molecules of the subset in the package."""

    def __post_init__(self):
        if self.formula is not None and self.molecules is not None:
            raise ValueError(f"molecules must not be given with a formula, got {self.molecules}")
        if self.smoke and self.source is not None:
            raise ValueError(f"source must not be given for smoke, got {self.source}")


def chosen(config: Config) -> Structures:
    """The molecules that the flags ask for."""
    if config.formula is not None:
        records = qm9_npz.read_npz(qm9.SMALL) if config.smoke else qm9.read(config.source)
        return augmented_qm9.of_formula(records, config.formula)
    if config.smoke:
        return augmented_qm9.smallest(3 if config.molecules is None else config.molecules)
    wanted = augmented_qm9.N_MOLECULES if config.molecules is None else config.molecules
    return augmented_qm9.shapes(qm9.read(config.source), wanted)


def main(config: Config) -> None:
    """Read the molecules, calculate what the file lacks, print what there is."""
    engine = make_engine(config.engine)
    output = config.output or (SMOKE_FILE if config.smoke else augmented_qm9.FILE)
    molecules = chosen(config)
    table = label(
        molecules,
        augmented_qm9.SCALES,
        engine,
        output,
        source=augmented_qm9.source_of(molecules),
        licence=augmented_qm9.LICENCE,
        made_by=command(
            "make_augmented_qm9.py",
            engine=engine.name,
            molecules=None if config.formula else len(molecules),
            formula=config.formula,
            source=config.source,
            output=config.output,
            smoke=config.smoke,
        ),
        set_name=AUGMENTED_QM9,
        again=config.again,
        workers=config.workers,
    )
    done = (table.status == CONVERGED).all(axis=1)
    lowest = table.scales[table.energy[done].argmin(axis=1)] if done.any() else np.array([np.nan])
    print(f"{engine.name} {engine.version}")
    print(f"molecules                     {len(molecules):>8,}")
    print(f"points                        {table.status.size:>8,}")
    print(f"failed, kept as such          {int((table.status == FAILED).sum()):>8,}")
    print(f"lowest point of ten at scale  {lowest.min():>8.4f} to {lowest.max():.4f}")
    print(f"{output.name}  {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ConnectionError, ImportError, RuntimeError) as error:
        sys.exit(f"error: {error}")
