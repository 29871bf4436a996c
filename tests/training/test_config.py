"""Which losses a run starts from: by the data, by name, and as its preset has them."""

import dataclasses

import pytest

from jphys.objectives import OBJECTIVES
from jphys.training.config import CHANGES, LABELS, PRESETS, choose_objective


def test_the_data_choose_where_nobody_does():
    assert choose_objective("auto", has_forces=True, periodic=False) == ("labels", LABELS)
    assert choose_objective("auto", has_forces=False, periodic=True) == ("paper", OBJECTIVES["paper"])
    assert choose_objective("auto", has_forces=False, periodic=False) == ("physics", OBJECTIVES["physics"])


def test_a_preset_changes_what_it_says_and_nothing_else():
    _, losses = choose_objective("auto", preset="best-cpu", has_forces=False, periodic=False)
    assert losses == dataclasses.replace(OBJECTIVES["physics"], floor=1.8e-4)
    for preset in PRESETS:
        for name, expected in OBJECTIVES.items():
            found = choose_objective(name, preset=preset, has_forces=False, periodic=False)[1]
            assert (found == expected) == ((preset, name) not in CHANGES)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("papers", {}, "objective must be one of auto, physics, paper"),
        ("labels", {}, "objective must not be labels for data without forces"),
        ("physics", {"periodic": True}, "restore and curvature must be 0 for crystals"),
    ],
)
def test_objectives_that_the_data_cannot_serve_are_refused(name, data, message):
    with pytest.raises(ValueError, match=message):
        choose_objective(name, **{"has_forces": False, "periodic": False} | data)
