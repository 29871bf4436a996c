"""Which losses a run starts from: by the data, by name, and as its preset has them."""

import dataclasses
import math

import pytest

from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.losses import ENERGY_ONLY, LABELS, OBJECTIVES
from jphys.losses.displacements import Displacements
from jphys.models import MessagePassingConfig, TransformerConfig
from jphys.training.config import (
    PRESETS,
    TERMS,
    ReportConfig,
    TrainConfig,
    check_losses,
    choose_objective,
    with_own_model,
)
from jphys.training.setup import prepare

SMALL = TransformerConfig(channels=8, heads=2, blocks=1, n_basis=8)


def test_the_data_choose_where_nobody_does():
    scaled = choose_objective("auto", has_forces=False, periodic=False, stable=False)
    assert scaled == ("energy-only", OBJECTIVES["energy-only"])
    assert choose_objective("auto", has_forces=True, periodic=False) == ("labels", LABELS)
    assert choose_objective("auto", has_forces=False, periodic=True) == ("paper", OBJECTIVES["paper"])
    assert choose_objective("auto", has_forces=False, periodic=False) == ("physics", OBJECTIVES["physics"])


@pytest.mark.parametrize(
    ("preset", "objective", "expected"),
    [
        ("smoke", "auto", OBJECTIVES["physics"]),
        ("best-cpu", "auto", OBJECTIVES["physics"]),
        ("smoke", "energy-only", OBJECTIVES["energy-only"]),
    ],
)
def test_a_run_without_losses_has_those_of_its_objective(preset, objective, expected):
    """In a notebook as on the command line."""
    config = dataclasses.replace(
        PRESETS[preset], objective=objective, epochs=1, batch_size=8, structures=20, model=SMALL
    )
    run = prepare(config, load_small())
    assert run.losses == run.config.losses == expected
    assert run.config.objective == objective.replace("auto", "physics")
    asked = ENERGY_ONLY.weighted(energy=3.0)
    assert prepare(dataclasses.replace(config, losses=asked), load_small()).losses == asked


def test_the_model_of_the_paper_is_that_of_its_objective():
    for preset in PRESETS.values():
        assert isinstance(preset.model, TransformerConfig)
        assert preset.model.terms == TERMS and with_own_model(preset, "physics") == preset
        for objective in ("paper", "energy-only"):
            own = with_own_model(preset, objective)
            assert own == dataclasses.replace(preset, model=dataclasses.replace(preset.model, terms=()))
    channels = dataclasses.replace(PRESETS["smoke"], model=MessagePassingConfig())
    assert with_own_model(channels, "paper") == channels


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("papers", {}, "objective must be one of auto, physics, paper"),
        ("labels", {}, "objective must not be labels for data without forces"),
    ],
)
def test_objectives_that_the_data_cannot_serve_are_refused(name, data, message):
    with pytest.raises(ValueError, match=message):
        choose_objective(name, **{"has_forces": False, "periodic": False} | data)


def test_the_prior_is_refused_for_crystals():
    with pytest.raises(ValueError, match=r"losses.restore.weight must be 0 for crystals: .*, got 1.0"):
        check_losses(OBJECTIVES["physics"], has_forces=False, periodic=True)
    without = OBJECTIVES["physics"].weighted(restore=0.0, curvature=0.0)
    check_losses(without, has_forces=False, periodic=True)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"sigmas": ()}, "sigmas must hold at least one value"),
        ({"sigmas": (0.1, math.nan)}, "sigmas must not be negative"),
        ({"fmaxes": (0.0,)}, "fmaxes must be positive"),
        ({"fmaxes": ()}, "fmaxes must hold at least one value"),
    ],
)
def test_reports_that_cannot_be_made_are_refused(values, message):
    with pytest.raises(ValueError, match=message):
        ReportConfig(**values)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("weight_decay", -1.0),
        ("checkpoint_seconds", -1.0),
        ("stop_after_minutes", math.nan),
        ("learning_rate", math.inf),
        ("seed", 2**32),
    ],
)
def test_values_that_no_run_can_have_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} must"):
        TrainConfig(**{name: value})


@pytest.mark.parametrize(("config", "name"), [(Displacements, "noise"), (TransformerConfig, "cutoff")])
def test_infinite_values_are_refused(config, name):
    with pytest.raises(ValueError, match=f"{name} must be positive and finite, got inf"):
        config(**{name: math.inf})


@pytest.mark.parametrize(
    ("model", "losses", "message"),
    [
        ({"max_z": 7}, {}, "model.max_z must be at least 8, as in the data, got 7"),
        ({"reference_energies": ((1, -13.6),)}, {}, "model.reference_energies must be empty"),
        ({"bond_mask": True}, {}, "model.bond_mask must be False for data without bonds"),
        (
            {},
            {"auxiliary": 1.0},
            "losses.auxiliary.weight must be 0 for a model that has no head",
        ),
    ],
)
def test_models_that_the_data_cannot_serve_are_refused(model, losses, message):
    data = take(load_small(), range(20))
    data = dataclasses.replace(data, n_bonds=0 * data.n_bonds, bonds=data.bonds[:0])
    config = TrainConfig(
        model=TransformerConfig(channels=8, heads=2, **model),
        losses=ENERGY_ONLY.weighted(**losses),
        batch_size=4,
    )
    with pytest.raises(ValueError, match=message):
        prepare(config, data)
