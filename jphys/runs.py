"""A run folder: config.json, environment.json, metrics.jsonl, summary.json, checkpoints, figures."""

import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax

from jphys import config as configs

__all__ = [
    "append_metrics",
    "check",
    "environment",
    "keep_data",
    "read_metrics",
    "seconds_so_far",
    "start",
    "write_json",
]

PACKAGES = (
    "jphys",
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "jraph",
    "jax-md",
    "orbax-checkpoint",
    "rdkit",
    "numpy",
)


def write_json(path: Path, record: Any) -> None:
    """Write JSON so that a reader sees the old file or the new one, never half of it.

    Of several processes of a run the first writes, here and in `append_metrics`.
    """
    if jax.process_index():
        return
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    os.replace(temporary, path)


def cpu_count() -> int:
    """Cores that this process may use, which `taskset` makes fewer than the machine has."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not Linux
        return os.cpu_count() or 1


def environment() -> dict[str, Any]:
    """Versions, device and git revision of this run."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        "packages": versions,
        "device": f"{len(jax.devices())} x {device.device_kind}",
        "cpu_count": cpu_count(),
        "git_revision": _git_revision(),
    }


def _git_revision() -> str:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return "not a git checkout"
    return done.stdout.strip()


def check(folder: Path, config, *, resume: bool, free: Sequence[str] = ()) -> None:
    """Refuse a folder that no run with this config can begin or go on in. Writes nothing.

    Args:
        folder: of the run.
        config: a dataclass.
        resume: whether to go on with the run that is there.
        free: fields that may differ from those of the run.

    Raises:
        ValueError: if the folder is a file, holds a run and `resume` is false, one of another config, or
            other files.
    """
    path = folder / "config.json"
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"run must be a folder, got the file {folder}")
    if path.exists() and not resume:
        raise ValueError(f"run must be a new folder, or give --resume to continue it, got {folder}")
    if not path.exists() and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"run must be a new folder or hold a run, got {folder.absolute()} with other files")
    if path.exists():
        before = _read(path)
        changed = _changed(before, json.loads(json.dumps(configs.encode(config))))
        changed = [name for name in changed if name.split(".")[0] not in free]
        if changed:
            raise ValueError(
                f"resume must keep the config of {folder}, got other values for {', '.join(changed)}"
            )


def start(folder: Path, config, *, resume: bool, free: Sequence[str] = ()) -> None:
    """Make the run folder, or go on in the one that was started with the same config: see `check`."""
    check(folder, config, resume=resume, free=free)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"run must be a folder that can be made, got {folder}: {error.strerror}") from error
    write_json(folder / "config.json", configs.encode(config))
    write_json(folder / "environment.json", environment())


def keep_data(folder: Path, data: dict[str, Any]) -> None:
    """Write data.json, what is known of the data beyond the config; a run goes on with the same data.

    What an older jphys did not write down is not compared.

    Raises:
        ValueError: if the folder's run has other data.
    """
    path = folder / "data.json"
    if path.exists():
        before, now = _read(path), json.loads(json.dumps(data))
        changed = _changed(before, {name: value for name, value in now.items() if name in before})
        if changed:
            raise ValueError(f"resume must keep the data of {folder}, got others: {', '.join(changed)}")
    write_json(path, data)


def _read(path: Path) -> dict[str, Any]:
    """A JSON object of the run folder.

    Raises:
        ValueError: naming the file, for anything else.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} must be JSON, it is not: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must be a JSON object, got {type(found).__name__}")
    return found


def _changed(before, now, where: str = "") -> list[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        keys = sorted(set(before) | set(now))
        return [
            n
            for k in keys
            for n in _changed(
                before.get(k), now.get(k), where if k in ("class", "fields") else f"{where}.{k}".strip(".")
            )
        ]
    return [] if before == now else [where]


def append_metrics(folder: Path, record: dict[str, Any]) -> None:
    """Add one line to metrics.jsonl and see it to the disk."""
    if jax.process_index():
        return
    with open(folder / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The complete lines of metrics.jsonl; a last line that a kill cut short is left out.

    Raises:
        ValueError: for a complete line that is not JSON, naming file and line.
    """
    path = folder / "metrics.jsonl"
    if not path.exists():
        return []
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(keepends=True), 1):
        if not line.endswith("\n"):
            continue
        try:
            found.append(json.loads(line))
        except ValueError as error:
            raise ValueError(f"line {number} of {path} must be JSON, it is not: {error}") from error
    return found


def seconds_so_far(folder: Path) -> float:
    """How long the processes of a run have trained."""
    lines = read_metrics(folder)
    return float(lines[-1]["seconds"]) if lines else 0.0


def keep_metrics(folder: Path, last_step: int) -> list[dict[str, Any]]:
    """Drop the lines after `last_step`, which a resumed run writes again; returns the kept ones."""
    kept = [record for record in read_metrics(folder) if record["step"] <= last_step]
    if jax.process_index():
        return kept
    path = folder / "metrics.jsonl"
    temporary = path.with_name(path.name + ".part")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
    os.replace(temporary, path)
    return kept
