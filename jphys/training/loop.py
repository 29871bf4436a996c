"""The training loop: steps, metrics, checkpoints, resumption."""

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from tqdm import tqdm

from jphys import checkpoint, runs
from jphys.allocation import Gaps
from jphys.training.batches import Batch
from jphys.training.config import TrainConfig
from jphys.training.setup import Run
from jphys.training.step import StepReport, TrainState
from jphys.training.validation import NonFiniteLoss, errors, part_graphs, score


def train(run: Run, folder: Path, *, began: float | None = None) -> bool:
    """Train to the end of the plan, or to the time limit; goes on from the last checkpoint if there is one.

    Writes metrics.jsonl, checkpoints/ (the state to resume from) and best/ (the averaged parameters with
    the lowest validation error: MAE_E in eV plus MAE_F in eV/Å).

    Args:
        run: the prepared run.
        folder: of the run.
        began: when the process began by `time.monotonic`: `stop_after_minutes` counts from there. None: now.

    Returns:
        Whether the training is complete: the plan finished, or `early_stop` reached.

    Raises:
        NonFiniteLoss: in a step or a validation; the run stays at its last checkpoint.
    """
    config, started = run.config, time.monotonic()
    began = started if began is None else began
    options = ocp.CheckpointManagerOptions(max_to_keep=1, enable_async_checkpointing=False)
    with Gaps() as gaps, ocp.CheckpointManager(folder.absolute() / "checkpoints", options=options) as manager:
        state = restore(run, manager)
        done = int(state.step)
        earlier = runs.keep_metrics(folder, done)
        before = runs.seconds_so_far(folder)
        scores = [score(line["valid"]) for line in earlier if "valid" in line]
        valid = part_graphs(run.potential, run.data.valid)
        batches = run.batches.iterate(done)
        compiled: set[str] = set()  # what a metrics record holds is compiled where it first comes
        saved, finished = time.monotonic(), 0 < config.early_stop <= stale(scores)
        with tqdm(total=len(run.batches), initial=done, unit="step", desc="compiling", mininterval=2) as bar:
            while done < len(run.batches) and not finished:
                epoch = done // run.steps_per_epoch
                end = min(done + config.log_every, (epoch + 1) * run.steps_per_epoch)
                state, record = segment(run, state, batches, done, end)
                ends_epoch, done = end == (epoch + 1) * run.steps_per_epoch, end
                finished = done == len(run.batches)
                record |= {"epoch": epoch, "step": done, "seconds": before + time.monotonic() - started}
                if finished or (ends_epoch and (epoch + 1) % config.validate_every == 0):
                    average = jax.device_get(state.average)  # for one device, as `checkpoint.load` gives it
                    record["valid"] = errors(run.potential, average, run.data.valid, valid)
                    scores.append(score(record["valid"]))
                    if scores[-1] <= min(scores) and jax.process_index() == 0:
                        checkpoint.save(folder / "best", run.potential, average)
                    state = state._replace(rate=learning_rate_factor(config, scores, state.rate))
                    finished |= 0 < config.early_stop <= stale(scores)
                if not compiled >= set(record):
                    bar.set_description("training", refresh=False)
                    gaps.fill()
                    compiled |= set(record)
                runs.append_metrics(folder, record)
                bar.set_postfix(epoch=epoch, loss=f"{record['losses']['total']:.4f}", refresh=False)
                bar.update(done - bar.n)
                late, due = agreed(
                    0 < config.stop_after_minutes * 60 < time.monotonic() - began,
                    time.monotonic() - saved > config.checkpoint_seconds,
                )
                if finished or late or due:
                    manager.save(done, args=ocp.args.StandardSave(_storable(state)))
                    saved = time.monotonic()
                if late:
                    break
    return finished or done == len(run.batches)


def agreed(*decisions: bool) -> tuple[bool, ...]:
    """What the first process decides by its clock: all save, and stop, at the same step."""
    if jax.process_count() == 1:
        return decisions
    return tuple(bool(one) for one in multihost_utils.broadcast_one_to_all(np.array(decisions)))


def stale(scores: list[float]) -> int:
    """Validations since the best one.

    >>> stale([3.0, 1.0, 2.0, 1.5])
    2
    """
    return len(scores) - 1 - int(np.argmin(scores)) if scores else 0


def learning_rate_factor(config: TrainConfig, scores: list[float], factor: jax.Array) -> jax.Array:
    """The factor on the learning rate after the last validation: smaller at the end of each plateau."""
    behind = stale(scores)
    if config.schedule != "plateau" or not behind or behind % config.plateau_patience:
        return factor
    return factor * config.plateau_factor


def segment(run: Run, state: TrainState, batches: Iterator[Batch], start: int, end: int):
    """Steps start … end of the plan, with the next batches; the host waits for the device once, at the end.

    Returns:
        The new state, and the mean losses and gradient norm as a metrics record.
    """
    reports: list[StepReport] = []
    for batch in itertools.islice(batches, end - start):
        state, report = run.step(state, batch, run.key)
        reports.append(report)
    fetched = jax.device_get(reports)
    check_finite(run, fetched, start)
    means = {name: float(np.mean([r.losses[name] for r in fetched])) for name in fetched[0].losses}
    return state, {"losses": means, "gradient_norm": float(np.mean([r.gradient_norm for r in fetched]))}


def check_finite(run: Run, reports: list[StepReport], start: int) -> None:
    """Stop at the first step whose loss or gradient was not finite.

    Raises:
        NonFiniteLoss: naming step and structures.
    """
    for number, report in enumerate(reports, start):
        if np.isfinite(report.losses["total"]) and np.isfinite(report.gradient_norm):
            continue
        chosen = run.batches.members(number)
        guilty = chosen[~report.finite & (chosen >= 0)]
        suspects = np.unique(guilty if len(guilty) else chosen[chosen >= 0])
        names = ", ".join(run.data.train.structures.name[suspects])
        what = "loss" if len(guilty) else "gradient"
        raise NonFiniteLoss(
            f"{what} must be finite, got {report.losses['total']} at step {number} for {names}"
        )


def restore(run: Run, manager: ocp.CheckpointManager) -> TrainState:
    """The state of the last complete checkpoint, or the start state where there is none."""
    if manager.latest_step() is None:
        return run.state
    template = _storable(run.state)
    restored = manager.restore(manager.latest_step(), args=ocp.args.StandardRestore(template))
    return jax.tree.unflatten(jax.tree.structure(run.state), jax.tree.leaves(restored))


def _storable(state: TrainState):
    """The leaves of the state by number: independent of optax's container types."""
    return {f"{number:05d}": leaf for number, leaf in enumerate(jax.tree.leaves(state))}
