"""Potentials on disk: parameters by orbax beside a readable `config.json`.

A checkpoint is a folder with `config.json` (config class and fields, units, versions, a digest of the
parameters), `params/` (orbax) and, where given, `card.md` (data, objective, numbers, limits).
"""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp

from jphys import config
from jphys.models import CONFIGS, make_potential
from jphys.models.potential import Params, Potential
from jphys.version import VERSION

__all__ = ["is_checkpoint", "load", "pretrained_names", "save"]

FORMAT = "jphys checkpoint 1"
UNITS = {"energy": "eV", "length": "Å"}
PRETRAINED = Path(__file__).parent / "pretrained"
LEFT_OVER = 3600.0  # seconds without a change, longer than any save takes


def save(path, potential: Potential, params: Params, *, card: str | None = None) -> Path:
    """Write a potential to the folder `path`: complete or not at all.

    A checkpoint already there is replaced. What killed saves to `path` left behind is removed after an hour.

    Args:
        path: the folder; its parents are made.
        potential: made by `jphys.make_potential`.
        params: nested dict of arrays, on any device and however they are sharded.
        card: markdown that says what the parameters were trained on and how good they are.

    Returns:
        The folder.

    Raises:
        ValueError: if something that is no jphys checkpoint is at `path`, or the config is not one of jphys.
    """
    path = Path(path).absolute()
    if path.exists() and not is_checkpoint(path):
        raise ValueError(f"path must be new or a jphys checkpoint to replace, got {path}")
    if CONFIGS.get(type(potential.config).__name__) is not type(potential.config):
        name = type(potential.config).__name__
        raise ValueError(f"potential.config must be one of {', '.join(CONFIGS)}, got {name}")
    params = jax.tree.map(np.asarray, params)
    record = {
        "format": FORMAT,
        "config": config.encode(potential.config),
        "units": UNITS,
        "versions": {"jphys": VERSION} | {name: importlib.metadata.version(name) for name in ("jax", "flax")},
        "sha256": _digest(params),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new-{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        fresh.mkdir()
        with _checkpointer() as checkpointer:
            checkpointer.save(fresh / "params", params)
        marker = fresh / "params" / "commit_success.txt"  # orbax writes the path of this machine into it
        if marker.exists():
            marker.write_text("complete\n", "utf-8")
        (fresh / "config.json").write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", "utf-8")
        if card is not None:
            (fresh / "card.md").write_text(card, "utf-8")
        _put_in_place(fresh, path)
        _remove_left_over(path)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return path


def load(name_or_path) -> tuple[Potential, Params]:
    """A saved potential and its parameters, on the default device.

    Args:
        name_or_path: a name of `pretrained_names()`, the folder of a checkpoint, or that of a run, whose
            `best` is loaded. A plain word that is a name means the pretrained model; write `./word` for
            the folder.

    Raises:
        ValueError: unknown name, missing or damaged file, config of another version; naming it.
    """
    folder = _find(name_or_path)
    record = _read_record(folder / "config.json")
    potential = make_potential(config.decode(record["config"], CONFIGS, source=folder / "config.json"))
    params = _read_params(folder / "params", record["sha256"])
    return potential, jax.tree.map(jnp.asarray, params)


def pretrained_names() -> list[str]:
    """Names of the models that the package ships."""
    return sorted(path.parent.name for path in PRETRAINED.glob("*/config.json"))


def is_checkpoint(path) -> bool:
    """Whether the folder at `path` was written by `save`."""
    try:
        record = json.loads((Path(path) / "config.json").read_text("utf-8"))
        return record["format"].startswith("jphys checkpoint")
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return False


def _find(name_or_path) -> Path:
    if str(name_or_path) in pretrained_names():
        return PRETRAINED / str(name_or_path)
    folder = Path(name_or_path).absolute()
    if not folder.is_dir():
        names = ", ".join(pretrained_names()) or "none"
        raise ValueError(
            f"name_or_path must be the folder of a checkpoint or a pretrained name ({names}), "
            f"got {str(name_or_path)!r}"
        )
    return folder / "best" if is_checkpoint(folder / "best") and not is_checkpoint(folder) else folder


def _read_record(file: Path) -> dict[str, Any]:
    if not file.is_file():
        raise ValueError(f"{file} must exist in a checkpoint, got no such file")
    try:
        record = json.loads(file.read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{file} must be JSON, got a damaged file: {error}") from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else record
        raise ValueError(f"{file}: format must be {FORMAT!r}, got {found!r}")
    missing = sorted({"config", "sha256", "units"} - set(record))
    if missing:
        raise ValueError(f"{file} must have the entries config, sha256 and units, got none of {missing}")
    if record["units"] != UNITS:
        raise ValueError(f"{file}: units must be {UNITS}, got {record['units']}")
    return record


def _read_params(folder: Path, digest: str) -> Params:
    if not folder.is_dir():
        raise ValueError(f"{folder} must exist in a checkpoint, got no such folder")
    try:
        with ocp.PyTreeCheckpointer() as checkpointer:
            tree = checkpointer.metadata(folder).item_metadata.tree
            # As numpy arrays, so that the devices that wrote them need not be here.
            how = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), tree)
            params = checkpointer.restore(folder, restore_args=how)
    except Exception as error:  # orbax and tensorstore raise many kinds
        raise ValueError(f"{folder} must hold readable parameters, got: {error}") from error
    if _digest(params) != digest:  # orbax itself does not notice a flipped byte
        raise ValueError(f"{folder} must match the sha256 of config.json, got other or damaged parameters")
    return params


def _digest(params: Params) -> str:
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.dtype} {np.shape(leaf)}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def _put_in_place(fresh: Path, path: Path) -> None:
    """Rename `fresh` to `path`; what was there is moved aside first and removed last."""
    old = path.with_name(f".{path.name}.old-{os.getpid()}")
    if path.exists():
        path.rename(old)
    try:
        fresh.rename(path)
    except OSError:
        if old.exists():
            old.rename(path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _checkpointer() -> ocp.Checkpointer:
    """One that this process uses alone, without waiting for others of a run on several hosts."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process-{me}"
    )
    handler = ocp.PyTreeCheckpointHandler(multiprocessing_options=alone)
    return ocp.Checkpointer(handler, multiprocessing_options=alone)


def _remove_left_over(path: Path) -> None:
    """Remove the temporary folders of saves to `path` that a kill ended, on whatever machine."""
    ours = re.compile(re.escape(f".{path.name}.") + r"(new|old)-\d+")
    for folder in path.parent.glob(".*"):
        if not ours.fullmatch(folder.name):
            continue
        try:
            age = time.time() - folder.stat().st_mtime
        except FileNotFoundError:  # another save has just removed its own
            continue
        if age > LEFT_OVER:
            shutil.rmtree(folder, ignore_errors=True)
