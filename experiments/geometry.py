"""Geometry as a job: from MMFF94's minimum to that of density functional theory; and conformer energies.

    python experiments/geometry.py                       # half an hour; downloads QM9
    python experiments/geometry.py --source qm9.npz --surfaces qm9-small

Up to 100 molecules each of 2 to 7, of 8 and of 9 heavy atoms that no training with seed 0 saw, from a minimum
of MMFF94 in the conformer of QM9's geometry (RDKit embeddings, the nearest of 30), relaxed by at most 500
steps of BFGS to 0.01 eV/Å: how far are they from B3LYP/6-31G(2df,p)? Then 24 molecules with four conformers
or more, as GFN2-xTB has them: in which order does a surface put their energies? Surfaces: qm9-small, the
default size, MMFF94, whose minima are the starts, GFN2-xTB, with --ani-python ANI-1x. Seconds are per
molecule, of a second run of what compiles. Expected median heavy-atom deviation up to 7 heavy atoms: 0.04 Å
of MMFF94, 0.02 of qm9-small. Writes docs/results/reliability/geometry.json.
"""

import dataclasses
import importlib.util
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import peer_ani
import reliability_runs as shared
import tyro

from jphys.data import qm9
from jphys.data.structures import Structures, graphs, heavy_atoms, take
from jphys.reliability import conformer_energies, geometry, xtb
from jphys.reliability.surface import Learned, surface_of
from jphys.training.parts import split_data

MOLECULES, CONFORMERS = 100, 24  # that go into the docs
SURFACES = ("qm9-small", "physics", "MMFF94", "GFN2-xTB")


@dataclasses.dataclass(frozen=True)
class Config(shared.Judged):
    """Which surfaces, how many molecules, where."""

    preset: Literal["smoke", "full"] = "full"
    """smoke: qm9-small, two molecules of the shipped set."""
    surfaces: tuple[str, ...] = ()
    """Only these, into a file of their own. Without it: qm9-small, physics, MMFF94, where tblite is installed
    GFN2-xTB, with --ani-python ANI-1x."""
    source: Path | None = None
    """QM9 as a tar, folder or npz (see train.py); downloaded where not given. Smoke takes the shipped set."""
    molecules: int = MOLECULES
    """Of each size."""
    conformers: int = CONFORMERS
    """Molecules whose conformers are put in order; 0 for none."""

    def __post_init__(self):
        for name, least in (("molecules", 1), ("conformers", 0)):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, got {getattr(self, name)}")

    @property
    def kept(self) -> Path:
        """Where the results go."""
        whole = self.preset == "full" and self.molecules >= MOLECULES and self.conformers >= CONFORMERS
        return self.output or (shared.RESULTS if whole else self.run)


def candidates(config: Config) -> tuple[Structures, np.ndarray]:
    """Molecules, and in random order which of them may be asked."""
    if config.preset == "full":
        return shared.unseen(config.source)
    test = split_data(qm9.load_small(), 0).test.structures
    return test, np.random.default_rng(0).permutation(len(test))


def begin(
    config: Config, test: Structures, order: np.ndarray
) -> tuple[geometry.Starts, list[dict[str, Any]]]:
    """As many molecules of each size as wanted that have a start, and for each size why others have none."""
    heavy = heavy_atoms(test.n_atoms, test.species)[order]
    n = 2 if config.preset == "smoke" else config.molecules
    parts, asked = [], []
    for low, high in geometry.SIZES:
        chosen = order[(heavy >= low) & (heavy <= high)].tolist()
        part = geometry.starts((graphs(take(test, [index]))[0] for index in chosen), most=n)
        print(f"{low} to {high} heavy atoms: {len(part.starts)}, passed over {part.without.total()}")
        parts.append(part)
        asked.append({"heavy_atoms": [low, high], "n": len(part.starts), "without": part.without})
    references, starts = (
        [g for part in parts for g in getattr(part, name)] for name in ("references", "starts")
    )
    return geometry.Starts(references, starts, sum((part.without for part in parts), Counter())), asked


def several(config: Config, test: Structures, order: np.ndarray) -> list[conformer_energies.Conformers]:
    """The first molecules that have four conformers or more on GFN2-xTB."""
    n = min(1, config.conformers) if config.preset == "smoke" else config.conformers
    if n and not importlib.util.find_spec("tblite"):
        print("no conformers: GFN2-xTB, their judge, needs tblite", file=sys.stderr)
        return []
    judge, chosen = xtb.surface() if n else None, []
    for index in order:
        if len(chosen) == n:
            break
        (graph,) = graphs(take(test, [index]))
        try:
            one = conformer_energies.conformers(judge, None, graph)
        except ValueError as error:
            print(f"{test.name[index]}: {error}", file=sys.stderr)
            continue
        chosen += [one] if len(one.graphs) >= 4 else []
    return chosen


def judge(
    name: str, potential: Any, params: Any, begun: geometry.Starts, several: Sequence
) -> dict[str, Any]:
    """Geometries and seconds per molecule, conformer energies. MMFF94 is at rest at the starts."""
    learned, still = isinstance(surface_of(potential, params), Learned), name == "MMFF94"
    if learned:
        geometry.geometries(potential, params, begun)  # compiles
    result = geometry.geometries(None if still else potential, params, begun, progress=True)
    row = {"sizes": geometry.summary(result), "seconds": None if still else result.seconds}
    if several and name != "GFN2-xTB":  # which has them as they are judged
        row["conformers"] = conformer_energies.order(potential, params, several, progress=True)
    return row


def show(name: str, row: dict[str, Any]) -> None:
    """One surface, readable."""
    for one in row["sizes"]:
        heavy, every = (f"{one[kind]['median']:.3f} ({one[kind]['mean']:.3f})" for kind in ("heavy", "every"))
        print(
            f"{name:16s} {one['heavy_atoms']:>4s} heavy atoms, {one['n']} molecules: median (mean) deviation "
            f"of heavy atoms {heavy} Å, of all {every}; {100 * one['other']:.0f} % in another conformer"
        )
    if row["seconds"]:
        print(f"{name:16s} {row['seconds']:.3f} s per molecule")
    ranks = [one["rank"] for one in row.get("conformers", ()) if one["rank"] is not None]
    if ranks:
        mae, size = (
            np.mean([one[key] for one in row["conformers"] if one["mae"] is not None])
            for key in ("mae", "size")
        )
        print(
            f"{name:16s} conformers of {len(ranks)} molecules: rank correlation {np.mean(ranks):.2f}, median "
            f"{np.median(ranks):.2f}; MAE {1000 * mae:.0f} of {1000 * size:.0f} meV"
        )


def main(config: Config) -> None:
    """Find starts and conformers, relax on every surface, write, print."""
    here = SURFACES if importlib.util.find_spec("tblite") else SURFACES[:-1]
    chosen = config.surfaces or (SURFACES[:1] if config.preset == "smoke" else here)
    chosen += (peer_ani.NAME,) if config.ani_python and not config.surfaces else ()
    surfaces = shared.surfaces(dataclasses.replace(config, surfaces=chosen))
    test, order = candidates(config)
    (begun, asked), conformers = begin(config, test, order), several(config, test, order)
    record: dict[str, Any] = {"surfaces": {}, "asked": asked}
    record["conformers"] = [len(one.graphs) for one in conformers]
    for name, (potential, params) in surfaces.items():
        row = record["surfaces"][name] = judge(name, potential, params, begun, conformers)
        show(name, row)
        # One surface may take as long as all others: a run that is stopped loses none before it.
        shared.write(config.kept, f"{config.named('geometry')}.json", record)


if __name__ == "__main__":
    try:
        main(tyro.cli(Config, description=__doc__))
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"error: {error}")
