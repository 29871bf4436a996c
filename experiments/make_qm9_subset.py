"""Make the subset of QM9 that the package ships: molecules with few heavy atoms, with their bonds.

    python experiments/make_qm9_subset.py --source dsgdb9nsd.xyz.tar.bz2

Without --source the official distribution is downloaded (86 MB). From the tar it takes minutes on one core.
"""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import tyro

from jphys.data import qm9, qm9_bonds, qm9_npz
from jphys.data.structures import heavy_atoms


@dataclasses.dataclass(frozen=True)
class Config:
    """What to take from QM9 and where to write it."""

    source: Path | None = None
    """QM9: the official tar.bz2, a folder of dsgdb9nsd_*.xyz files or an npz; None downloads the tar."""
    uncharacterized: Path | None = None
    """The official uncharacterized.txt; None looks for it beside the source."""
    output: Path = qm9.SMALL
    """npz file to write."""
    max_heavy_atoms: int = 7
    """Largest number of atoms other than hydrogen."""


def main(config: Config) -> None:
    """Read QM9, choose the small molecules, perceive their bonds, write and print the counts."""
    everything = qm9.read(config.source, uncharacterized=config.uncharacterized)
    n_heavy = heavy_atoms(everything.n_atoms, everything.species)
    small = qm9_bonds.with_bonds(qm9_npz.take(everything, np.flatnonzero(n_heavy <= config.max_heavy_atoms)))
    # nobody reads the SMILES once the bonds are known
    qm9_npz.write_npz(config.output, dataclasses.replace(small, smiles=("",) * len(small)))
    print(f"molecules read                {len(everything):>8,}")
    dropped = everything.n_uncharacterized
    print(f"uncharacterised, dropped      {'unknown' if dropped is None else f'{dropped:,}':>8}")
    print(f"<= {config.max_heavy_atoms} heavy atoms, written     {len(small):>8,}")
    print(f"bond perception failed        {small.n_single_bonded:>8,}  (kept, all bonds of order 1)")
    print(f"{config.output.name}  {config.output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, OSError) as error:  # no such file, no network
        sys.exit(f"error: {error}")
