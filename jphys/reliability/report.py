"""The report at the end of a run: errors, recovery, and the comparison with GFN2-xTB."""

import dataclasses
import importlib.util
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jphys import checkpoint, runs
from jphys import config as configs
from jphys.data.structures import graphs
from jphys.graph import Graph
from jphys.losses.displacements import MARGIN
from jphys.reliability import recovery as recoveries
from jphys.reliability import xtb
from jphys.training.config import ReportConfig
from jphys.training.setup import Run
from jphys.training.validation import errors

__all__ = ["report", "summarise"]

AT_REST = 10  # molecules whose curvature is compared; each costs six evaluations per atom


def report(potential, params, test: Sequence[Graph], config: ReportConfig, *, key, progress: bool = True):
    """Relax perturbed test molecules and compare the surface with GFN2-xTB where tblite is installed.

    Args:
        potential: a Potential, or any function (params, graph) -> (n_graph,) eV.
        params: its parameters.
        test: the test part; `select` takes the molecules to relax from it.
        config: how many, how far, how long.
        key: PRNG key of the noise.
        progress: show a progress bar.

    Returns:
        Recovery, the relaxed graphs' originals, and {"recovery": …, "xtb": … or None} for summary.json.
    """
    sizes = [len(graph.nodes.species) for graph in test]
    chosen = [test[i] for i in recoveries.select(sizes, n=config.molecules, seed=0)]
    found = recoveries.recovery(
        potential,
        params,
        chosen,
        sigmas=config.sigmas,
        fmaxes=config.fmaxes,
        max_steps=config.max_steps,
        key=key,
        progress=progress,
    )
    record: dict[str, Any] = {"recovery": recoveries.summary(found), "xtb": None}
    molecules = not any(graph.globals.cell.any() for graph in test)
    if config.xtb_molecules and molecules and importlib.util.find_spec("tblite"):
        judge_key = jax.random.fold_in(key, 1)
        record["xtb"] = xtb.compare(
            potential, params, test, n_molecules=config.xtb_molecules, key=judge_key, progress=progress
        )
        at_rest = {"n_molecules": min(config.xtb_molecules, AT_REST), "key": judge_key}
        record["xtb"]["curvature"] = xtb.compare_at_rest(potential, params, test, **at_rest)
    return found, chosen, record


def summarise(run: Run, folder: Path, *, began: float):
    """The report of a trained run's best parameters, written to summary.json and recovery.npz in its folder.

    Args:
        run: the run, trained; its config says how much is measured.
        folder: of the run, begun by `runs.start`.
        began: when it began by `time.monotonic`, less the time of the processes before this one;
            `seconds.total` counts from there.

    Returns:
        The summary, with the settings of the run and the environment it began in; the recovery, the molecules
        that were relaxed, and the parameters.
    """
    config, started = run.config, time.monotonic()
    # The potential of the run, not the equal one of the checkpoint: what it compiled serves here, too.
    potential, params = run.potential, checkpoint.load(folder / "best")[1]
    # Pairs of crystals that come within the cutoff when they are perturbed.
    reach = potential.cutoff + MARGIN * max(config.report.sigmas)
    test = graphs(run.data.test.structures, cutoff=reach)
    tested = errors(potential, params, run.data.test, test)
    found, chosen, judged = report(potential, params, test, config.report, key=jax.random.key(config.seed))
    ended = time.monotonic()
    # Of the start: the checkout may have another revision by now.
    environment = json.loads((folder / "environment.json").read_text("utf-8"))
    # Without what belongs to this machine and call.
    settings = dataclasses.replace(config, run=None, source=None, resume=False, stop_after_minutes=0.0)
    parts = {f"n_{part}": len(getattr(run.data, part).structures) for part in ("train", "valid", "test")}
    summary = {
        "preset": config.preset,
        "objective": config.objective,
        "seed": config.seed,
        "n_parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "device": environment["device"],
        "seconds": {
            "train": runs.seconds_so_far(folder),
            "report": ended - started,
            "total": ended - began,
        },
        "compilations": run.n_compilations,
        "epochs": config.epochs,
        "data": {"name": config.data, **parts},
        "test": tested,
        **judged,
        "settings": configs.encode(settings),
        "environment": environment,
    }
    runs.write_json(folder / "summary.json", summary)
    recoveries.save_recovery(found, folder / "recovery.npz")
    return summary, found, chosen, params
