"""Make the truth by which surfaces are judged: B3LYP/6-31G(2df,p) around test molecules, by PySCF.

    python experiments/make_truth.py

50 molecules of the test part (seed 0) as they are and displaced by σ = 0.05 and 0.1 Å, ten torsions and ten
bond stretches: about 350 energies with forces; second derivatives of the ten smallest. About two hours on one
core. A stopped run goes on with the same command. Scans whose atoms run into each other are not asked.
`--engine gfn2-xtb` is for trials: seconds, without second derivatives.
"""

import dataclasses
import sys
from pathlib import Path
from typing import Literal

import numpy as np
import tyro
from tqdm import tqdm

from jphys.data import truth
from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.engines import gfn2_xtb, make_engine, pyscf_b3lyp
from jphys.training.parts import split_data

CONTACT = 0.6  # of the covalent radii; closer atoms are not asked


@dataclasses.dataclass(frozen=True)
class Config:
    """What to calculate, with what, and where to write it."""

    engine: Literal["pyscf", "gfn2-xtb"] = "pyscf"
    """Program."""
    molecules: int = 50
    """Random molecules of the test part."""
    scans: int = 10
    """Torsions, and as many stretches."""
    hessians: int = 10
    """Molecules, the smallest, whose second derivatives are calculated; PySCF only."""
    output: Path = truth.FILE
    """npz file to write; one that is there is continued."""

    def __post_init__(self):
        for name, least in (("molecules", 1), ("scans", 0), ("hessians", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")


def begin(config: Config) -> truth.Truth:
    """The cases, with what a file of the same cases already knows."""
    test = split_data(load_small(), 0).test.structures
    chosen = np.sort(np.random.default_rng(0).permutation(len(test))[: config.molecules])
    engine = make_engine(config.engine)
    provenance = {"engine": engine.name, "version": engine.version, "settings": engine.settings}
    provenance |= {"source": "QM9 (doi:10.1038/sdata.2014.22)", "licence": "CC0"}
    provenance |= {"made_by": f"python experiments/make_truth.py --engine {engine.name}"}
    fresh = dataclasses.replace(truth.cases(take(test, chosen), n_scans=config.scans), provenance=provenance)
    if not config.output.exists():
        return fresh
    before = truth.load(config.output)
    same = np.array_equal(before.structures.name, fresh.structures.name)
    if not same or before.provenance["settings"] != engine.settings:
        raise ValueError(f"output must be a file of the same cases and engine to go on, got {config.output}")
    return before


def main(config: Config) -> None:
    """Ask what is missing; the file is written after every answer."""
    found = begin(config)
    ask = pyscf_b3lyp.energy_and_forces if config.engine == "pyscf" else gfn2_xtb.xtb_energy_forces
    ends, structures = np.cumsum(found.structures.n_atoms), found.structures
    forces = (
        structures.forces if structures.forces is not None else np.full_like(structures.positions, np.nan)
    )
    n_crashed = n_failed = 0
    for row, species, positions in tqdm(list(truth.points(found)), desc=config.engine):
        if truth.closest_contact(species, positions) < CONTACT:
            n_crashed += 1
        elif not found.asked[row]:
            try:
                structures.energy[row], answer = ask(species, positions)
                forces[ends[row] - len(species) : ends[row]] = answer
            except RuntimeError:
                pass
            found.asked[row] = True
            truth.save(config.output, found)
        n_failed += bool(found.asked[row] and not np.isfinite(structures.energy[row]))
    if config.engine == "pyscf":
        smallest = np.argsort(structures.n_atoms[found.kind == 0], kind="stable")[: config.hessians]
        for row, species, positions in tqdm(list(truth.points(found)), desc="second derivatives"):
            if row in smallest and row not in found.hessians:
                found.hessians[row] = pyscf_b3lyp.hessian(species, positions)
                truth.save(config.output, found)
    truth.save(config.output, found)
    print(f"points {len(found.kind)}, not asked because atoms meet {n_crashed}, failed {n_failed}")
    print(f"{config.output}  {config.output.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, ImportError) as error:
        sys.exit(f"error: {error}")
