"""Configs survive JSON: what comes back equals what went in."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from jphys import config


@dataclasses.dataclass(frozen=True)
class Inner:
    width: int = 3
    names: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Outer:
    rate: float = 1e-3
    inner: Inner = Inner()
    maybe: Inner | None = None
    several: tuple[Inner, ...] = ()
    table: tuple[tuple[int, float], ...] = ()
    switch: bool = False
    file: Path | None = None

    def __post_init__(self):
        if not self.rate > 0:
            raise ValueError(f"rate must be positive, got {self.rate}")


CLASSES = {"Outer": Outer}


@pytest.mark.parametrize(
    "original",
    [
        Outer(),
        Outer(rate=0.1 + 0.2, inner=Inner(7, ("a", "å")), switch=True),
        Outer(maybe=Inner(1), several=(Inner(2), Inner(3, ("b",))), table=((1, -13.6), (6, 1 / 3))),
        Outer(file=Path("data") / "å.tar.bz2"),
        Outer(table=((int(np.int64(8)), float(np.float64(-2041.5))),)),
    ],
)
def test_round_trip(original):
    text = json.dumps(config.encode(original))
    assert config.decode(json.loads(text), CLASSES) == original


@dataclasses.dataclass(frozen=True)
class Wider(Inner):
    height: int = 5


def test_a_nested_class_is_one_of_its_field_or_of_the_caller():
    """A config derived from that of the field, as models are, is known where the caller names it."""
    record = json.loads(json.dumps(config.encode(Outer(inner=Wider(height=7)))))
    assert config.decode(record, {**CLASSES, "Wider": Wider}) == Outer(inner=Wider(height=7))
    with pytest.raises(ValueError, match="config class must be one of Inner, got 'Wider'"):
        config.decode(record, CLASSES)


def test_numpy_numbers_become_plain():
    encoded = config.encode(Outer(table=((np.int32(6), np.float32(0.5)),)))  # pyright: ignore[reportArgumentType]
    assert json.dumps(encoded["fields"]["table"]) == "[[6, 0.5]]"


def test_missing_field_takes_its_default():
    """A file of an older version lacks the newer fields."""
    assert config.decode({"class": "Outer", "fields": {"switch": True}}, CLASSES) == Outer(switch=True)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"class": "Outer", "fields": {"depth": 2}}, "c.json: Outer must have only fields .* got depth"),
        ({"class": "Other", "fields": {}}, "c.json: config class must be one of Outer, got 'Other'"),
        ({"class": "Outer"}, "c.json: config class must be one of Outer"),
        ([], "c.json: config must be an object"),
        ({"class": "Outer", "fields": {"rate": -1.0}}, "c.json: .*rate must be positive, got -1.0"),
        (
            {"class": "Outer", "fields": {"inner": {"class": "Inner", "fields": {"hue": 1}}}},
            "c.json: Inner must have only fields .* got hue",
        ),
        (
            {"class": "Outer", "fields": {"inner": {"class": "Outer", "fields": {}}}},
            "c.json: config class must be one of Inner, got 'Outer'",
        ),
    ],
)
def test_wrong_record_is_named(record, message):
    with pytest.raises(ValueError, match=message):
        config.decode(record, CLASSES, source="c.json")


def test_what_json_cannot_give_back_is_refused():
    with pytest.raises(ValueError, match=r"config.inner.names must be a number.*got list"):
        config.encode(Outer(inner=Inner(names=["a"])))  # pyright: ignore[reportArgumentType]
