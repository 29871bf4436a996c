"""Make the truth by which surfaces are judged: B3LYP/6-31G(2df,p) around test molecules, by PySCF.

    python experiments/make_truth.py                                      # two hours on one core
    python experiments/make_truth.py --judge second --workers 2           # a night on two; downloads QM9

Energies and forces of the molecules as they are and displaced by σ = 0.05 and 0.1 Å, along rigid torsions
and bond stretches; second derivatives of the smallest. The first judge has 50 molecules of the shipped set's
test part (seed 0), ten scans of each kind and ten matrices; it was looked at while losses were chosen. The
second has 40 others of 7 to 9 heavy atoms, from the test parts (seed 0) of the shipped and of the whole set,
twelve scans of each kind and twelve matrices: for final tables alone, of trainings with seed 0. A stopped run
goes on with the same command. Scans whose atoms run into each other are not asked. `--engine gfn2-xtb` is for
trials: seconds, without second derivatives. PySCF's wheel brings a BLAS of 2018 that does not know newer AMD
cores: with OPENBLAS_CORETYPE=Haswell in the environment a point takes two thirds of the time there.
"""

import dataclasses
import multiprocessing
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np
import reliability_runs as shared
import tyro
from tqdm import tqdm

from jphys.data import qm9, truth
from jphys.data.labelling import end_with_parent, one_thread
from jphys.data.structures import Structures, heavy_atoms, take
from jphys.engines import make_engine
from jphys.engines.gfn2_xtb import xtb_energy_forces
from jphys.engines.pyscf_b3lyp import energy_and_forces, hessian
from jphys.training.parts import split_data

CONTACT = 0.6  # of the covalent radii; closer atoms are not asked
HEAVY = (7, 8, 9)  # heavy atoms of the second judge's molecules, nearly as many of each
ASK = {"pyscf": energy_and_forces, "gfn2-xtb": xtb_energy_forces}
SIZES = {"first": (50, 10, 10), "second": (40, 12, 12)}  # molecules, scans, hessians
FILES = {"first": truth.FILE, "second": truth.SECOND}


@dataclasses.dataclass(frozen=True)
class Config:
    """What to calculate, with what, and where to write it."""

    judge: Literal["first", "second"] = "first"
    """Whose molecules."""
    source: Path | None = None
    """For the second: QM9 as a tar, folder or npz (see train.py); downloaded where not given."""
    engine: Literal["pyscf", "gfn2-xtb"] = "pyscf"
    """Program."""
    molecules: int | None = None
    """Random molecules; the judge's own number where not given, as for the next two."""
    scans: int | None = None
    """Torsions, and as many stretches."""
    hessians: int | None = None
    """Molecules, the smallest, whose second derivatives are calculated; PySCF only."""
    workers: int = 1
    """Processes, each with one thread."""
    output: Path | None = None
    """npz file to write, that of the package where not given; one that is there is continued."""

    def __post_init__(self):
        for name, least in (("molecules", 1), ("scans", 0), ("hessians", 0), ("workers", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, got {value}")
        if self.source is not None and self.judge == "first":
            raise ValueError(f"source must go with the second judge, got {self.source}")

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Molecules, scans, Hessians."""
        asked, own = (self.molecules, self.scans, self.hessians), SIZES[self.judge]
        molecules, scans, hessians = (b if a is None else a for a, b in zip(asked, own))
        return molecules, scans, hessians

    @property
    def file(self) -> Path:
        """Where it is written."""
        return FILES[self.judge] if self.output is None else self.output


def first_molecules(n: int) -> Structures:
    """Random molecules of the shipped set's test part."""
    test = split_data(qm9.load_small(), 0).test.structures
    return take(test, np.sort(np.random.default_rng(0).permutation(len(test))[:n]))


def second_molecules(n: int, source: Path | None) -> Structures:
    """Random ones of 7, 8 and 9 heavy atoms that no training with seed 0 saw, nor the first judge."""
    test, order = shared.unseen(source)
    heavy = heavy_atoms(test.n_atoms, test.species)
    order = order[~np.isin(test.name[order], first_molecules(SIZES["first"][0]).name)]
    shares = np.array_split(np.arange(n), len(HEAVY))
    chosen = [order[heavy[order] == size][: len(share)] for size, share in zip(HEAVY, shares)]
    for size, share, found in zip(HEAVY, shares, chosen):
        if len(found) < len(share):
            raise ValueError(
                f"source must hold {len(share)} molecules of {size} heavy atoms in its test part, "
                f"got {len(found)}"
            )
    return take(test, np.concatenate(chosen))


def begin(config: Config) -> truth.Truth:
    """The cases, with what a file of the same cases already knows."""
    n, n_scans, _ = config.sizes
    molecules = first_molecules(n) if config.judge == "first" else second_molecules(n, config.source)
    engine = make_engine(config.engine)
    provenance = {"engine": engine.name, "version": engine.version, "settings": engine.settings}
    provenance |= {"source": "QM9 (doi:10.1038/sdata.2014.22)", "licence": "CC0"}
    command = f"python experiments/make_truth.py --judge {config.judge} --engine {engine.name}"
    fresh = truth.cases(molecules, n_scans=n_scans)
    fresh = dataclasses.replace(fresh, provenance=provenance | {"made_by": command})
    if not config.file.exists():
        return fresh
    before = truth.load(config.file)
    same = np.array_equal(before.structures.name, fresh.structures.name)
    if not same or before.provenance["settings"] != engine.settings:
        raise ValueError(f"output must be a file of the same cases and engine to go on, got {config.file}")
    return before


def ask(task: tuple[str, str, int, np.ndarray, np.ndarray]) -> tuple[str, int, Any]:
    """What is asked, of which row, and the answer; None where the method does not converge."""
    what, engine, row, species, positions = task
    try:
        found = hessian if what == "hessian" else ASK[engine]
        return what, row, found(species, positions)
    except RuntimeError:
        return what, row, None


def missing(config: Config, found: truth.Truth) -> Iterator[tuple[str, str, int, np.ndarray, np.ndarray]]:
    """What is not known yet: every point, and the second derivatives of the smallest molecules."""
    later, n_hessians = [], config.sizes[2] if config.engine == "pyscf" else 0
    smallest = np.argsort(found.structures.n_atoms[found.kind == 0], kind="stable")[:n_hessians]
    for row, species, positions in truth.points(found):
        if not found.asked[row] and truth.closest_contact(species, positions) >= CONTACT:
            yield "point", config.engine, row, species, positions
        if row in smallest and row not in found.hessians:
            later.append(("hessian", config.engine, row, species, positions))
    yield from later


def note(found: truth.Truth, what: str, row: int, answer: Any) -> None:
    """Write an answer into the truth."""
    if what == "hessian":
        if answer is not None:
            found.hessians[row] = answer
        return
    found.asked[row] = True
    if answer is not None:
        structures = found.structures
        end = int(structures.n_atoms[: row + 1].sum())
        structures.energy[row], forces = answer
        assert structures.forces is not None  # `cases` and `load` make them
        structures.forces[end - structures.n_atoms[row] : end] = forces


def main(config: Config) -> None:
    """Ask what is missing; the file is written after every answer."""
    found = begin(config)
    tasks = list(missing(config, found))
    # new processes, not copies of this one: a copy of running threads may hang
    context = multiprocessing.get_context("spawn")
    with one_thread(), ProcessPoolExecutor(config.workers, context, initializer=end_with_parent) as pool:
        for what, row, answer in tqdm(pool.map(ask, tasks), config.engine, total=len(tasks)):
            note(found, what, row, answer)
            truth.save(config.file, found)
    truth.save(config.file, found)
    lost = sum(what == "hessian" and row not in found.hessians for what, _, row, *_ in tasks)
    crashed, failed = ~found.asked, found.asked & ~np.isfinite(found.structures.energy)
    print(f"points {len(found.kind)}, not asked because atoms meet {crashed.sum()}, failed {failed.sum()}")
    print(f"second derivatives of {len(found.hessians)} molecules, failed {lost}")
    print(f"{config.file}  {config.file.stat().st_size / 1e6:.3f} MB")


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, ImportError, OSError, RuntimeError) as error:
        sys.exit(f"error: {error}")
