"""npz files that are there whole or not at all, and are refused by name where they are something else."""

import json
import os
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np


def write_arrays(path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a compressed npz file: a temporary file, then a rename. The same arrays give the same bytes."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **arrays)  # pyright: ignore[reportArgumentType]
        os.replace(temporary, path)
    except BaseException:  # an interrupt too must leave nothing behind
        temporary.unlink(missing_ok=True)
        raise


def read_arrays(path, required: Sequence[str], *, of: str) -> dict[str, np.ndarray]:
    """All arrays of a file.

    Args:
        path: npz file.
        required: names that it must have.
        of: what it holds, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an npz file, truncated, or without one of the arrays; names the file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be an npz file of {of}, there is none")
    if not zipfile.is_zipfile(path):  # numpy would advise to trust it, or take it for a single array
        raise ValueError(f"{path} must be a complete npz file, got its beginning or something else")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except Exception as error:  # zipfile and zlib have errors of their own for damaged archives
        raise ValueError(f"{path} must be a complete npz file, got: {error}") from error
    missing = [key for key in required if key not in arrays]
    if missing:
        raise ValueError(f"{path} must hold the arrays {', '.join(required)}, misses {', '.join(missing)}")
    return arrays


def from_text(text: str) -> np.ndarray:
    """Text as bytes: npz files without pickles hold no strings of any length."""
    return np.frombuffer(text.encode("utf-8"), np.uint8)


def header_bytes(kind: str, version: int, provenance: Mapping, **more) -> np.ndarray:
    """What a file of ours begins with, as an array."""
    record = {"format": kind, "version": version, **more, "provenance": provenance}
    return from_text(json.dumps(record, ensure_ascii=False))


def read_provenance(
    path,
    header: np.ndarray,
    kind: str,
    version: int,
    required: Sequence[str],
    units: Mapping[str, str] | None = None,
) -> dict:
    """The provenance in the header of a file.

    Args:
        path: of the file, for messages.
        header: what `header_bytes` made.
        kind, version: format that the file must have.
        required: names that the provenance must have.
        units: those that the header must give; None: none.

    Raises:
        ValueError: no header, another format or version, other units, or no entry of a required name; names
            the file.
    """
    try:
        record = json.loads(to_text(header))
        found, provenance = (record["format"], record["version"]), dict(record["provenance"])
        missing = [key for key in required if key not in provenance]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path}: header must be JSON with format, version and provenance: {error}"
        ) from error
    if found != (kind, version):
        raise ValueError(f"{path}: format must be {kind!r} version {version}, got {found[0]!r} {found[1]}")
    if missing:
        raise ValueError(f"{path}: provenance must have {', '.join(required)}, misses {', '.join(missing)}")
    if units is not None and record.get("units") != units:
        raise ValueError(f"{path}: units must be {dict(units)}, got {record.get('units')}")
    return provenance


def to_text(array: np.ndarray) -> str:
    """The text of `from_text`."""
    return array.tobytes().decode("utf-8")
