"""Make the Crystal Growth sets: fcc clusters of Al and Cu that grow from 14 atoms, energies of one engine.

    python experiments/make_crystal_growth.py --subset stable --workers 2
    python experiments/make_crystal_growth.py --subset unstable --workers 2
    python experiments/make_crystal_growth.py --subset unstable --engine gpaw-lcao --growths 2 \\
        --max-size 20 --output crystal_growth_unstable_gpaw.npz

A stopped run goes on with the same command. Effective medium theory: the stable set (20 growths, 15 to 114
atoms, 4,000 points) takes about a minute, the unstable one (5 growths at ten scales, 10,000 points) about
two; no point fails. GPAW, 240 points: an hour with two workers (CP2K: five on one core). `--smoke` takes one
growth of 15 to 18 atoms, in seconds. `--again` asks for points that failed once more.
"""

import dataclasses
import logging
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from commands import command

from jphys.data import crystals, growth
from jphys.data.labelling import label
from jphys.data.scaled import FAILED, SCALES
from jphys.data.scaled_files import STABLE_GROWTH, UNSTABLE_GROWTH
from jphys.engines import make_engine


@dataclasses.dataclass(frozen=True)
class Config:
    """What to calculate, with what, and where to write it."""

    subset: Literal["stable", "unstable"] = "stable"
    """stable: every cluster at scale 1; unstable: at ten scales."""
    engine: Literal["emt", "gpaw-lcao", "cp2k"] = "emt"
    """Effective medium theory in ASE, GPAW or CP2K (PBE). The lattice constants are the engine's own."""
    growths: int | None = None
    """Growths per element; None: 20 for stable, 5 for unstable, 1 for smoke."""
    min_size: int = growth.SIZES.start
    """Atoms of the smallest cluster."""
    max_size: int | None = None
    """Atoms of the largest cluster; all sizes between are taken. None: 114, for smoke 18."""
    workers: int = 1
    """Processes, each with one thread; 0 calculates in this process."""
    output: Path | None = None
    """npz file to write; one that is there is continued. None is the file in the package, for smoke one in
    runs/."""
    again: bool = False
    """Ask for the points that failed once more, as those of which a time ran out."""
    smoke: bool = False
    """One growth of 15 to 18 atoms per element, where nothing else is asked for."""

    def __post_init__(self):
        if self.sizes.stop - 1 < self.min_size:
            raise ValueError(f"max_size must be at least min_size {self.min_size}, got {self.sizes.stop - 1}")

    @property
    def sizes(self) -> range:
        """Numbers of atoms."""
        largest = 18 if self.smoke else growth.SIZES.stop - 1
        return range(self.min_size, (largest if self.max_size is None else self.max_size) + 1)

    @property
    def n_growths(self) -> int:
        """Growths per element."""
        if self.growths is not None:
            return self.growths
        return 1 if self.smoke else growth.N_STABLE if self.subset == "stable" else growth.N_UNSTABLE


def file_of(config: Config) -> Path:
    """Where the set goes."""
    if config.output is not None:
        return config.output
    if config.smoke:
        return Path(f"runs/crystal_growth_{config.subset}-smoke.npz")
    return growth.STABLE_FILE if config.subset == "stable" else growth.UNSTABLE_FILE


def main(config: Config) -> None:
    """Grow the clusters, calculate what the file lacks, print what there is."""
    stable, sizes = config.subset == "stable", config.sizes
    output = file_of(config)
    engine = make_engine(config.engine)
    constants = crystals.LATTICE_CONSTANTS[engine.name]
    clusters = growth.shapes(constants, n_growths=config.n_growths, sizes=sizes)
    table = label(
        clusters,
        np.ones(1) if stable else SCALES,
        engine,
        output,
        source=growth.source_of(clusters),
        licence=growth.LICENCE,
        made_by=command(
            "make_crystal_growth.py",
            subset=config.subset,
            engine=engine.name,
            growths=config.n_growths,
            min_size=sizes.start,
            max_size=sizes.stop - 1,
            output=config.output,
            smoke=config.smoke,
        ),
        set_name=STABLE_GROWTH if stable else UNSTABLE_GROWTH,
        again=config.again,
        workers=config.workers,
    )
    per_atom = table.energy / clusters.n_atoms[:, None]
    print(f"{engine.name} {engine.version}")
    print(f"clusters                {len(clusters):>8,}")
    print(f"points                  {table.status.size:>8,}")
    print(f"failed, kept as such    {int((table.status == FAILED).sum()):>8,}")
    print(f"energy                  {np.nanmin(per_atom):>8.3f} to {np.nanmax(per_atom):.3f} eV/atom")
    print(f"{output.name}  {output.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, FileNotFoundError, ImportError, RuntimeError) as error:
        sys.exit(f"error: {error}")
