"""Figures of a run and of the README, as PNG; matplotlib loads on first use."""

from jphys.figures.ablation import force_and_distance
from jphys.figures.assembly import assembly_strips
from jphys.figures.curves import learning_curves
from jphys.figures.masked_atom import SHOWN, likelihoods
from jphys.figures.molecules import overlays, relaxations, relaxed_triples
from jphys.figures.pairs import pair_curves, pair_table
from jphys.figures.recovery import recovery_distributions, recovery_histogram
from jphys.figures.scaled import (
    contributions,
    energy_curves,
    errors_by_element,
    errors_by_size,
    validation_curves,
)
from jphys.figures.story import recovery_story
from jphys.figures.truth import rises

__all__ = [
    "SHOWN",
    "assembly_strips",
    "contributions",
    "energy_curves",
    "errors_by_element",
    "errors_by_size",
    "force_and_distance",
    "learning_curves",
    "likelihoods",
    "overlays",
    "pair_curves",
    "pair_table",
    "recovery_distributions",
    "recovery_histogram",
    "recovery_story",
    "relaxations",
    "relaxed_triples",
    "rises",
    "validation_curves",
]
