"""Make the Infinite Crystal set: fcc Al and Cu at 481 scales (0.9 to 1.5), energies of one engine.

    python experiments/make_infinite_crystal.py --engine gpaw
    python experiments/make_infinite_crystal.py --engine cp2k --output infinite_crystal_cp2k.npz

A stopped run goes on with the same command. GPAW: about 50 minutes on one core, no failure. It prints the
lattice constants at the minimum of each curve: with PBE 4.03 to 4.04 Å for Al and 3.64 to 3.65 Å for Cu.
`--smoke` takes effective medium theory at 25 scales, in seconds, and finds 3.99 and 3.59 Å.
`--again` asks for points that failed once more.
"""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from commands import command

from jphys.data import crystals
from jphys.data.labelling import label
from jphys.data.scaled import CONVERGED, FAILED, ScaledTable
from jphys.data.scaled_files import INFINITE_CRYSTAL
from jphys.engines import make_engine

SMOKE_FILE = Path("runs/infinite_crystal-smoke.npz")


@dataclasses.dataclass(frozen=True)
class Config:
    """What to calculate, with what, and where to write it."""

    engine: Literal["gpaw", "cp2k", "emt"] | None = None
    """Program: GPAW or CP2K (PBE), or effective medium theory in ASE. None: GPAW, for smoke the last."""
    workers: int = 1
    """Processes, each with one thread; 0 calculates in this process."""
    output: Path | None = None
    """npz file to write; one that is there is continued. None is the file in the package, for smoke one in
    runs/."""
    again: bool = False
    """Ask for the points that failed once more, as those of which a time ran out."""
    smoke: bool = False
    """25 scales, by effective medium theory where no other engine is asked for."""


def lattice_constant(table: ScaledTable, shape: int) -> float:
    """Å at the minimum of a quartic through the converged points within 5 % of the lowest one."""
    good = table.status[shape] == CONVERGED
    scales, energy = table.scales[good], table.energy[shape][good]
    near = np.abs(scales - scales[energy.argmin()]) <= 0.05 + 1e-9
    fit = np.polynomial.Polynomial.fit(scales[near], energy[near], 4)
    fine = np.linspace(scales[near].min(), scales[near].max(), 10_001)
    return float(fine[fit(fine).argmin()]) * 2 * table.shapes.cell[shape].max()


def main(config: Config) -> None:
    """Calculate what the file lacks, print what there is."""
    engine = make_engine(config.engine or ("emt" if config.smoke else "gpaw"))
    output = config.output or (SMOKE_FILE if config.smoke else crystals.FILE)
    scales = np.linspace(0.9, 1.5, 25) if config.smoke else crystals.SCALES
    table = label(
        crystals.shapes(crystals.LATTICE_CONSTANTS[engine.name]),
        scales,
        engine,
        output,
        source=crystals.SOURCE,
        licence=crystals.LICENCE,
        made_by=command(
            "make_infinite_crystal.py", engine=engine.name, output=config.output, smoke=config.smoke
        ),
        set_name=INFINITE_CRYSTAL,
        again=config.again,
        workers=config.workers,
    )
    print(f"{engine.name} {engine.version}")
    print(f"points                  {table.status.size:>8,}")
    print(f"failed, kept as such    {int((table.status == FAILED).sum()):>8,}")
    for shape, name in enumerate(table.shapes.name):
        print(f"{name}, lattice constant {lattice_constant(table, shape):>8.4f} Å")
    print(f"{output.name}  {output.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ImportError, RuntimeError) as error:
        sys.exit(f"error: {error}")
