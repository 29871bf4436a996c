"""Errors of a part: what has no answer is named, not averaged."""

import dataclasses

import numpy as np
import pytest

from jphys.data.qm9 import load_small
from jphys.data.structures import take
from jphys.models import TransformerConfig
from jphys.training.config import TrainConfig
from jphys.training.setup import prepare
from jphys.training.validation import NonFiniteLoss, errors, part_graphs

MODEL = TransformerConfig(channels=8, heads=2, blocks=1, n_basis=8)


def test_structures_without_an_answer_are_named():
    """Two atoms on one spot; the others of the part are not blamed."""
    config = TrainConfig(objective="energy-only", epochs=1, batch_size=8, model=MODEL)
    run = prepare(config, take(load_small(), np.arange(100, 140)))
    part = run.data.valid
    assert set(errors(run.potential, run.state.average, part, part_graphs(run.potential, part))) == {
        "mae_energy_mev",
        "mae_force_ev_per_angstrom",
    }
    positions = part.structures.positions.copy()
    positions[1] = positions[0]
    broken = dataclasses.replace(part, structures=dataclasses.replace(part.structures, positions=positions))
    with pytest.raises(NonFiniteLoss) as stopped:
        errors(run.potential, run.state.average, broken, part_graphs(run.potential, broken))
    assert str(stopped.value) == (
        f"energy and forces must be finite, they are not for {part.structures.name[0]}"
    )
