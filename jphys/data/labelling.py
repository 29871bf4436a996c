"""Energies of scaled shapes by an engine, point by point, so that a stopped run goes on where it was."""

import contextlib
import dataclasses
import logging
import multiprocessing
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from jphys.data import structures as structures_module
from jphys.data.scaled import CONVERGED, FAILED, NOT_ASKED, ScaledTable, scale_structures
from jphys.data.scaled_files import ENERGY_DIGITS, POSITION_SCALE, read_table, save
from jphys.data.structures import Structures
from jphys.engines import Engine, Result

__all__ = ["end_with_parent", "label", "one_thread"]

CHECKPOINT_SECONDS = 30.0
_SAME = ("engine", "version", "settings", "source", "set")  # what a file that goes on must agree in
_log = logging.getLogger(__name__)


class _Point(NamedTuple):
    shape: int
    column: int
    species: np.ndarray
    positions: np.ndarray
    cell: np.ndarray | None


def label(
    shapes: Structures,
    scales,
    engine: Engine,
    file,
    *,
    source: str,
    licence: str,
    made_by: str,
    set_name: str | None = None,
    again: bool = False,
    workers: int = 0,
    checkpoint_seconds: float = CHECKPOINT_SECONDS,
    progress: bool = True,
) -> ScaledTable:
    """Energies of every shape at every scale, in `file`, which is written anew every half a minute.

    If the file is there already, only the points that it lacks are calculated; failed ones are tried again
    on demand. The finished file does not depend on how often the run was stopped, nor on the workers.

    Args:
        shapes: n structures at scale 1; positions are rounded to 1e-5 Å, energies are not used.
        scales: (k,) ascending factors.
        engine: whose energies.
        file: npz of `jphys.data.scaled_files`.
        source: what the shapes are, and where from.
        licence: of the shapes.
        made_by: the command that makes the file.
        set_name: which set it is, as `jphys.data.scaled_files.load` asks for it.
        again: whether to ask for the points that failed once more, as those of which a time ran out.
        workers: processes, each with one thread; 0 calculates in this process.
        checkpoint_seconds: time between two writes.
        progress: whether to show a progress bar.

    Returns:
        The whole table. Points that did not converge have status FAILED and are logged.

    Raises:
        ValueError: if the file is of another engine, version, settings, source, set, shapes or scales; or
            if there are no shapes, scales that are not ascending, or a negative number of workers.
    """
    if workers < 0:
        raise ValueError(f"workers must not be negative, got {workers}")
    provenance = {"engine": engine.name, "version": engine.version, "settings": engine.settings}
    provenance |= {"source": source, "licence": licence, "made_by": made_by}
    if set_name is not None:
        provenance["set"] = set_name
    table = _begin(_stored(shapes), np.asarray(scales, np.float64), provenance, Path(file))
    missing = np.argwhere((table.status == NOT_ASKED) | (again & (table.status == FAILED)))
    if not len(missing):
        return table
    written = time.monotonic()
    n, results = table.status.size, _results(engine, _points(table, missing), workers)
    bar = tqdm(results, engine.name, total=n, initial=n - len(missing), disable=not progress)
    try:
        for point_result in bar:
            _record(table, *point_result)
            if time.monotonic() - written > checkpoint_seconds:
                save(file, table)
                written = time.monotonic()
    finally:  # an interrupt too keeps what is there
        save(file, table)
    n_failed = int((table.status == FAILED).sum())
    _log.info("%s: %d points, %d of them failed", file, n, n_failed)
    return table


def _stored(shapes: Structures) -> Structures:
    positions = np.rint(shapes.positions / POSITION_SCALE) * POSITION_SCALE
    return dataclasses.replace(shapes, positions=positions, energy=np.full(len(shapes), np.nan), forces=None)


def _begin(shapes: Structures, scales: np.ndarray, provenance: dict, file: Path) -> ScaledTable:
    if not len(shapes) or scales.ndim != 1 or not len(scales) or not (np.diff(scales) > 0).all():
        raise ValueError(
            f"shapes and scales must not be empty, scales ascending, got {len(shapes)} shapes, {scales}"
        )
    empty = np.full((len(shapes), len(scales)), np.nan)
    table = ScaledTable(shapes, scales, empty, np.zeros(empty.shape, np.uint8), provenance)
    if not file.exists():
        return table
    before = read_table(file)
    for key in _SAME:
        now = provenance.get(key)  # files made before the sets had names go on as any
        if before.provenance.get(key, now) != now:
            raise ValueError(
                f"{file}: {key} must stay the same to go on, got {now!r} for a file of "
                f"{before.provenance[key]!r}"
            )
    _check_same_points(before, table, file)
    return before


def _check_same_points(before: ScaledTable, now: ScaledTable, file: Path) -> None:
    if before.status.shape != now.status.shape or not np.array_equal(before.scales, now.scales):
        raise ValueError(
            f"{file}: shapes and scales must stay the same to go on, got {now.status.shape} points "
            f"for a file of {before.status.shape}, or other scales"
        )
    for field in ("name", "n_atoms", "species", "positions", "cell", "n_bonds", "bonds"):
        if not np.array_equal(getattr(before.shapes, field), getattr(now.shapes, field)):
            raise ValueError(f"{file}: shapes must stay the same to go on, got other {field}")


def _points(table: ScaledTable, missing: np.ndarray) -> Iterator[_Point]:
    points = structures_module.take(table.shapes, missing[:, 0])
    points = scale_structures(points, table.scales[missing[:, 1]])
    ends = np.cumsum(points.n_atoms)
    for i, (shape, column) in enumerate(missing.tolist()):
        atoms = slice(ends[i] - points.n_atoms[i], ends[i])
        cell = points.cell[i] if points.cell[i].any() else None
        yield _Point(shape, column, points.species[atoms], points.positions[atoms], cell)


def _results(engine: Engine, points: Iterator[_Point], workers: int) -> Iterator[tuple[int, int, Result]]:
    if workers == 0:
        yield from (_calculate(point, engine) for point in points)
        return
    # new processes, not copies of this one: a copy of running threads may hang
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, initializer=_keep, initargs=(engine,)) as pool:
        with one_thread():
            results = pool.map(_calculate, points)
        yield from results


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Processes that are started meanwhile have one thread each: their libraries read this as they load."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ[name] for name in names if name in os.environ}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name in names:
            del os.environ[name]
        os.environ.update(before)


_kept: list[Engine] = []  # of a worker


def _keep(engine: Engine) -> None:
    _kept[:] = [engine]
    end_with_parent()


def end_with_parent() -> None:
    """Let this worker end with its parent: a killed one does not tell, and they would wait for ever."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _calculate(point: _Point, engine: Engine | None = None) -> tuple[int, int, Result]:
    engine = engine or _kept[0]
    return point.shape, point.column, engine.energy(point.species, point.positions, point.cell)


def _record(table: ScaledTable, shape: int, column: int, result: Result) -> None:
    converged = result.converged and np.isfinite(result.energy)
    table.status[shape, column] = CONVERGED if converged else FAILED
    table.energy[shape, column] = round(result.energy, ENERGY_DIGITS) if converged else np.nan
