"""Frozen dataclasses as JSON and back: how a config gets into a run folder or a checkpoint."""

import dataclasses
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np


def encode(config, where: str = "config") -> dict[str, Any]:
    """A dataclass as JSON values: {"class": its name, "fields": {…}}, nested ones likewise.

    Raises:
        ValueError: for a field that JSON cannot give back as it was.
    """
    names = [field.name for field in dataclasses.fields(config)]
    fields = {name: _encode_value(getattr(config, name), f"{where}.{name}") for name in names}
    return {"class": type(config).__name__, "fields": fields}


def _encode_value(value, where: str):
    if dataclasses.is_dataclass(value):
        return encode(value, where)
    if isinstance(value, tuple):
        return [_encode_value(item, where) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, Path):
        value = str(value)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise ValueError(
        f"{where} must be a number, string, path, tuple or dataclass, got {type(value).__name__}"
    )


def decode(record: dict[str, Any], classes: Mapping[str, type], *, source: object = "config") -> Any:
    """The dataclass that `encode` was given; lists become tuples, missing fields take their defaults.

    Args:
        record: the JSON values.
        classes: the classes that the record may name; nested ones are known from their field's type, or are
            classes of these that derive from it.
        source: the file, for messages.

    Raises:
        ValueError: for an unknown class or field, or values that the class refuses.
    """
    if not isinstance(record, dict):
        raise ValueError(f"{source}: config must be an object with class and fields, got {record!r}")
    name, values = record.get("class"), record.get("fields")
    if not isinstance(name, str) or name not in classes or not isinstance(values, dict):
        raise ValueError(f"{source}: config class must be one of {', '.join(classes)}, got {name!r}")
    hints = typing.get_type_hints(classes[name])
    unknown = sorted(set(values) - {field.name for field in dataclasses.fields(classes[name])})
    if unknown:
        raise ValueError(
            f"{source}: {name} must have only fields that this jphys knows, got {', '.join(unknown)}"
        )
    fields = {key: _decode_value(value, hints[key], classes, source) for key, value in values.items()}
    try:
        return classes[name](**fields)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{source}: {name} must have values it accepts, got: {error}") from error


def _decode_value(value, hint, classes, source):
    if isinstance(value, list):
        return tuple(_decode_value(item, hint, classes, source) for item in value)
    if isinstance(value, str) and Path in (hint, *typing.get_args(hint)):
        return Path(value)
    if isinstance(value, dict):
        own = _dataclasses(hint)
        derived = {name: one for name, one in classes.items() if issubclass(one, tuple(own.values()))}
        return decode(value, own | derived, source=source)
    return value


def _dataclasses(hint) -> dict[str, type]:
    """Dataclasses that a type hint mentions, by name."""
    found = {hint.__name__: hint} if isinstance(hint, type) and dataclasses.is_dataclass(hint) else {}
    for part in typing.get_args(hint):
        found |= _dataclasses(part)
    return found
