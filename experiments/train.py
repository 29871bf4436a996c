"""Train a potential with physical constraints and measure whether perturbed molecules relax back.

    python experiments/train.py                    # the shipped QM9 subset, about 12 minutes on 2 cores
    python experiments/train.py --preset best-cpu --objective paper --seed 1
    python experiments/train.py --preset qm9-gpu --source dsgdb9nsd.xyz.tar.bz2 --stop-after-minutes 9
    python experiments/train.py --data my.extxyz

Writes a run folder: config.json, environment.json, metrics.jsonl, checkpoints/, best/ (for `jphys.load`),
summary.json, recovery.npz and figures/. A killed run goes on with --resume.
"""

import dataclasses
import importlib
import sys
import threading
import time
from pathlib import Path

import tyro

from jphys import runs
from jphys.allocation import keep_freed_memory
from jphys.compiling import compile_quickly
from jphys.data import sources
from jphys.data.structures import Structures, fingerprint, graphs
from jphys.training.config import PRESETS, TrainConfig, choose_objective
from jphys.training.loop import NonFiniteLoss, train
from jphys.training.setup import Run, prepare

FLAT = (tyro.conf.AvoidSubcommands,)  # flags of the preset's kind of model, not a choice of kinds


def peek(name: str, default: str) -> str:
    """Value of --name on the command line, read before the full parse because it sets the defaults."""
    flags = {f"--{name}"}
    for position, word in enumerate(sys.argv[1:], 1):
        flag, _, value = word.partition("=")
        if flag in flags:
            return value or (sys.argv[position + 1] if position + 1 < len(sys.argv) else default)
    return default


def parse() -> tuple[TrainConfig, Structures]:
    """Config and data: preset and objective set the defaults, every other flag overrides one of them."""
    preset = peek("preset", "default")
    if preset not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
    wants_help = {"--help", "-h"} & set(sys.argv[1:])
    if wants_help:
        tyro.cli(TrainConfig, default=PRESETS[preset], description=__doc__, config=FLAT)
    source = peek("source", "")
    structures = sources.load(peek("data", PRESETS[preset].data), Path(source) if source else None)
    objective, losses = choose_objective(
        peek("objective", "auto"),
        preset=preset,
        has_forces=structures.forces is not None,
        periodic=bool(structures.cell.any()),
    )
    start = dataclasses.replace(PRESETS[preset], losses=losses)
    config = tyro.cli(TrainConfig, default=start, description=__doc__, config=FLAT)
    folder = config.run or Path("runs") / f"{preset}-{objective}-{config.seed}"
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
    figures.recovery_histogram(found, shown / "recovery.png")
    sigma = min(found.sigmas, key=lambda one: abs(one - 0.1))
    figures.overlays(found, chosen, shown / "overlays.png", sigma=sigma, fmax=min(found.fmaxes))
    if run.potential.pair_parameters is not None:
        # Not the molecules that were relaxed: half of them are the smallest.
        test = graphs(run.data.test.structures, cutoff=run.potential.cutoff)
        figures.pair_curves(run.potential, params, test, shown / "pair_energies.png")
    return summary, table(found)


def main() -> None:
    began = time.monotonic()
    keep_freed_memory()
    config, structures = parse()
    if config.preset == "smoke":  # compiling is most of what it does
        compile_quickly()
    folder = config.run or Path("runs")
    stored = dataclasses.replace(config, run=None, resume=False, stop_after_minutes=0.0)
    runs.start(folder, stored, resume=config.resume)
    began -= runs.seconds_so_far(folder)  # of the processes before this one
    import_meanwhile("jphys.figures")
    run = prepare(config, structures)
    runs.keep_data(folder, {"sha256": fingerprint(run.data.train.structures)})
    parts = (run.data.train, run.data.valid, run.data.test)
    count = sum(len(part.structures) for part in parts)
    print(f"{config.data}: {count} structures, objective {config.objective}, run folder {folder}")
    if not train(run, folder):
        print(
            f"stopped after {config.stop_after_minutes} minutes; continue with the same command and --resume"
        )
        return
    print_report(*report(run, folder, began), folder)


def import_meanwhile(module: str) -> None:
    """Import a module in the background: XLA compiles the step meanwhile, and holds no lock of Python."""
    threading.Thread(target=importlib.import_module, args=(module,)).start()


def print_report(summary: dict, table: str, folder: Path) -> None:
    """The numbers of the run, readable."""
    test, seconds = summary["test"], summary["seconds"]
    energy, force = test["mae_energy_mev"], test["mae_force_ev_per_angstrom"]
    print(f"\nMAE_E {energy:.1f} meV   MAE_F {force:.4f} eV/Å   (test)")
    print(table)
    if summary["xtb"] is None:
        print("GFN2-xTB comparison: not made (needs tblite: pip install -e '.[engines]', and free molecules)")
    else:
        for row in summary["xtb"]["sigmas"]:
            print(
                f"against GFN2-xTB at σ = {row['sigma']} Å: rise ratio {row['median_rise_ratio']:.2f}, "
                f"correlation {row['rise_correlation']:.2f}, of the forces {row['force_correlation']:.3f}"
            )
        bands = summary["xtb"]["curvature"]["bands"]
        shown = (f"{row['median_ratio']:.2f} ({row['to']:g})" for row in bands if row["n"])
        print(f"curvature at rest / GFN2-xTB, up to so many eV/Å²: {', '.join(shown)}")
    print(f"{seconds['total'] / 60:.1f} minutes, summary and figures in {folder}")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, FileNotFoundError, ConnectionError, NonFiniteLoss) as error:
        sys.exit(f"error: {error}")
