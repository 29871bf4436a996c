"""Train a potential with physical constraints and measure whether perturbed molecules relax back.

    python experiments/train.py                    # the shipped QM9 subset, 10 to 30 minutes on 2 cores
    python experiments/train.py --preset best-cpu --objective paper --seed 1
    python experiments/train.py --preset qm9-gpu --source dsgdb9nsd.xyz.tar.bz2 --stop-after-minutes 12
    python experiments/train.py --data my.extxyz

Writes a run folder: config.json, environment.json, metrics.jsonl, checkpoints/, best/ (for `jphys.load`),
summary.json, recovery.npz and figures/. A killed run goes on with --resume.
The list uncharacterized.txt lies beside the tar. Minutes, of summary.json too, are those after the start of
Python and the imports, which take some seconds more.
"""

import dataclasses
import importlib
import logging
import sys
import threading
import time
from pathlib import Path

import tyro

import jphys
from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.compiling import compile_quickly
from jphys.data import sources
from jphys.data.structures import Structures, graphs
from jphys.losses import Need
from jphys.training.config import PRESETS, TrainConfig, choose_objective, with_own_model
from jphys.training.parts import trained_on
from jphys.training.setup import Run
from jphys.training.validation import NonFiniteLoss

FLAT = (tyro.conf.AvoidSubcommands,)  # flags of the preset's kind of model, not a choice of kinds


def named(name: str, default: str) -> str:
    """The last value of a flag on the command line, read before the parse because it sets defaults."""
    found = default
    for word, following in zip(sys.argv[1:], [*sys.argv[2:], ""]):
        flag, given, value = word.partition("=")
        if flag == f"--{name}":
            found = value if given else following
    return found


def start() -> TrainConfig:
    """The preset that was asked for, with the losses and the model that its objective has for molecules.

    Raises:
        ValueError: for an unknown preset or objective.
    """
    preset, objective = named("preset", "default"), named("objective", "auto")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    molecules = {"has_forces": objective == "labels", "periodic": False}
    name, losses = choose_objective(objective, **molecules)
    return with_own_model(dataclasses.replace(PRESETS[preset], losses=losses), name)


def ask(default: TrainConfig) -> TrainConfig:
    """The command line over these defaults; ends the process with what is allowed for a flag that is not."""
    return tyro.cli(TrainConfig, default=default, description=__doc__, config=FLAT)


def parse() -> tuple[TrainConfig, Structures]:
    """Config and data: preset and objective set the defaults, every other flag overrides one of them."""
    default = start()
    asked = ask(default)  # wrong flags end here, before any data is read
    with_bonds = bool(getattr(asked.model, "bond_mask", False))
    structures = sources.load(asked.data, asked.source, with_bonds=with_bonds)
    objective, losses = choose_objective(
        asked.objective,
        has_forces=structures.forces is not None,
        periodic=bool(structures.cell.any()),
    )
    own = asked.data not in (sources.SHIPPED, sources.WHOLE)
    if own and asked.objective == "auto" and structures.forces is None:
        print(f"objective {objective}: no forces in the data: its structures are taken as stable ones")
    config = ask(with_own_model(dataclasses.replace(default, losses=losses), objective))
    stable = config.losses is not None and Need.STABLE in config.losses.needs
    if stable and structures.forces is not None:
        largest = abs(structures.forces).max()
        print(f"the losses take all structures as stable ones: labelled forces reach {largest:.2f} eV/Å")
    folder = config.run or Path("runs") / f"{default.preset}-{objective}-{config.seed}"
    return dataclasses.replace(config, objective=objective, run=folder), structures


def report(run: Run, folder: Path, began: float) -> tuple[dict, str]:
    """Summary and table of the best parameters, after summary.json, recovery.npz and figures are written."""
    # Slow imports (jax-md, matplotlib), done by `import_meanwhile` unless the run was quicker.
    from jphys import figures
    from jphys.reliability.recovery import table
    from jphys.reliability.report import summarise

    summary, found, chosen, params = summarise(run, folder, began=began)
    shown = folder / "figures"
    shown.mkdir(exist_ok=True)
    figures.learning_curves(folder / "metrics.jsonl", shown / "learning_curves.png")
    figures.recovery_histogram(found, shown / "recovery.png", fmax=min(found.fmaxes))
    sigma = min(found.sigmas, key=lambda one: abs(one - 0.1))
    figures.overlays(found, chosen, shown / "overlays.png", sigma=sigma, fmax=min(found.fmaxes))
    if "pair_parameters" in run.potential.heads:
        # Not the molecules that were relaxed: half of them are the smallest.
        test = graphs(run.data.test.structures, cutoff=run.potential.cutoff)
        try:
            figures.pair_curves(run.potential, params, test, shown / "pair_energies.png")
        except ValueError as error:  # single atoms, noble gases
            print(f"no pair_energies.png: {error}")
    lines = table(found)
    if run.data.test.structures.forces is not None:
        lines += (
            "\nthe structures have labelled forces: where these are not 0, ΔP includes the way to a minimum"
        )
    return summary, lines


def main() -> None:
    began = time.monotonic()
    keep_freed_memory()
    logging.basicConfig(format="%(message)s")
    logging.getLogger("jphys.data").setLevel(logging.INFO)  # how many molecules were left out
    config, structures = parse()
    if config.preset == "smoke":  # compiling is most of what it does
        compile_quickly()
    folder = config.run or Path("runs")
    if config.resume and not folder.exists():
        print(f"nothing to resume in {folder}: a new run begins")
    structures = trained_on(config, structures)
    count = f"{config.data}: {len(structures)} structures"
    print(f"{count}, objective {config.objective}, run folder {folder}")
    import_meanwhile("jphys.figures")
    earlier = runs.seconds_so_far(folder)  # of the processes before this one
    # A report can be had again, with other sizes.
    trained = jphys.train(config, structures, folder=folder, free=("report",), began=began)
    if not trained.complete:
        print(
            f"stopped after {config.stop_after_minutes} minutes; continue with the same command and --resume"
        )
        return
    print_report(*report(trained.run, folder, began - earlier), trained.run, folder)


def import_meanwhile(module: str) -> None:
    """Import a module in the background: XLA compiles the step meanwhile, and holds no lock of Python."""
    threading.Thread(target=importlib.import_module, args=(module,)).start()


def known(value: float | None, digits: int = 2) -> str:
    """A number of the report, or a dash where one molecule or a single atom left it undefined."""
    return "–" if value is None else f"{value:.{digits}f}"


def why_not_compared(run: Run) -> str:
    """What kept the report from comparing the surface with GFN2-xTB."""
    if not run.config.report.xtb_molecules:
        return "report.xtb_molecules is 0"
    if run.data.test.structures.cell.any():
        return "needs free molecules, got crystals"
    return "needs tblite: pip install -e '.[engines]'"


def print_report(summary: dict, table: str, run: Run, folder: Path) -> None:
    """The numbers of the run, readable."""
    test, seconds = summary["test"], summary["seconds"]
    energy, force = test["mae_energy_mev"], test["mae_force_ev_per_angstrom"]
    print(f"\nMAE_E {energy:.1f} meV   MAE_F {force:.4f} eV/Å   (test)")
    print(table)
    if summary["xtb"] is None:
        print(f"GFN2-xTB comparison: not made ({why_not_compared(run)})")
    else:
        for row in summary["xtb"]["sigmas"]:
            print(
                f"against GFN2-xTB at σ = {row['sigma']} Å: rise ratio {known(row['median_rise_ratio'])}, "
                f"correlation {known(row['rise_correlation'])}, "
                f"of the forces {known(row['force_correlation'], 3)}"
            )
        bands = summary["xtb"]["curvature"]["bands"]
        shown = (f"{row['median_ratio']:.2f} ({row['to']:g})" for row in bands if row["n"])
        print(f"curvature at rest / GFN2-xTB, up to so many eV/Å²: {', '.join(shown)}")
    print(f"{seconds['total'] / 60:.1f} minutes after the imports, summary and figures in {folder}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, ImportError, NonFiniteLoss) as error:
        sys.exit(f"error: {error}")
