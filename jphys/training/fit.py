"""`jphys.train`: from a config to a trained potential, in a run folder that goes on where it was stopped."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jphys import checkpoint, runs
from jphys.data.structures import Structures
from jphys.models import Potential
from jphys.models.potential import Params
from jphys.training import loop
from jphys.training.config import TrainConfig
from jphys.training.parts import Data, split_data, trained_on
from jphys.training.setup import Run, prepare


@dataclasses.dataclass(frozen=True)
class Trained:
    """A training, to its end or to where it was stopped."""

    potential: Potential
    params: Params | None  # the best so far; None where it was stopped before the first validation
    run: Run
    folder: Path
    complete: bool  # whether the plan was finished, or `early_stop` reached


def train(
    config: TrainConfig,
    data: Structures | Data | None = None,
    *,
    folder: str | os.PathLike[str] | None = None,
    init: str | os.PathLike[str] | tuple[Potential, Params] | None = None,
    labels: Mapping[str, Any] | None = None,
    free: Sequence[str] = (),
    began: float | None = None,
) -> Trained:
    """Train a model; with `config.resume`, go on with the training that is in the folder.

    The folder then holds config.json, data.json, metrics.jsonl, environment.json, checkpoints/ and best/, the
    averaged parameters with the lowest validation error: `jphys.load(folder)`.

    Args:
        config: model, objective, optimiser, sizes.
        data: structures, split 80/5/15 by the seed, or the three parts; None: those that the config names.
        folder: of the run; None: `config.run`.
        init: parameters to start from: a pretrained name, a run or checkpoint folder, or a potential with its
            parameters. The model is then the one of init, whatever `config.model` says, with reference
            energies fitted anew.
        labels: what else data.json holds of the data: a run goes on with the same alone.
        free: fields of the config that may differ from those of the run that goes on.
        began: when the process began by `time.monotonic`: `stop_after_minutes` counts from there. None: now.

    Raises:
        ValueError: for a folder that no run with this config can begin or go on in; for an objective, losses
            or a model that the data cannot serve; for elements that init was not trained on.
        NonFiniteLoss: in a step or a validation; the run stays at its last checkpoint.
        ImportError: for a stream where Grain is not installed.
    """
    if folder is None and config.run is None:
        raise ValueError("folder must be given where config.run is not, got None")
    path = Path(folder if folder is not None else str(config.run))
    start = checkpoint.load(init) if isinstance(init, str | os.PathLike) else init
    if start is not None:
        model = dataclasses.replace(start[0].config, reference_energies=(), zero_point=None)
        config = dataclasses.replace(config, model=model)
    # What a run may go on without: where its batches come from changes none of them.
    stored = dataclasses.replace(config, run=None, resume=False, stop_after_minutes=0.0, stream=False)
    runs.check(path, stored, resume=config.resume, free=free)
    parts = data if isinstance(data, Data) else split_data(trained_on(config, data), config.seed)
    run = prepare(config, parts, start)
    runs.start(path, stored, resume=config.resume, free=free)
    runs.keep_data(path, {**(labels or {}), **parts.fingerprints()})
    complete = loop.train(run, path, began=began)
    best = path / "best"
    params = checkpoint.load(best)[1] if checkpoint.is_checkpoint(best) else None
    return Trained(run.potential, params, run, path, complete)
