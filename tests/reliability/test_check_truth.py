"""Frequencies and torsions beside density functional theory: surfaces right, too soft, flat, silent."""

import functools
import json
from typing import Any

import numpy as np
import pytest
from ase.data import atomic_masses

from jphys.alignment import internal_motions
from jphys.data import truth as truths
from jphys.reliability.audit import AuditConfig, frequencies, torsions
from jphys.reliability.surface import Calculated
from jphys.reliability.truth import compare_torsions, compare_vibrations
from jphys.units import WAVENUMBER

CONFIG = AuditConfig()


@functools.cache
def known():
    """The shipped truth: the whole, row -> positions, and the rows by their atoms."""
    truth = truths.load()
    places, rows = {}, {}
    for row, species, positions in truths.points(truth):
        places[row] = positions
        rows.setdefault(species.tobytes(), []).append(row)
    return truth, places, rows


def stored(hessians=None, rise=1.0, silent=()):
    """Answers as they are stored: harmonic around molecules with second derivatives, else point by point.

    Args:
        hessians: row -> matrix, instead of those stored.
        rise: factor of every energy above the stable structure.
        silent: rows of stable structures about which there is no answer.
    """
    truth, places, rows = known()
    hessians, energy = truth.hessians | (hessians or {}), truth.structures.energy

    def ask(graph) -> Any:
        species = np.asarray(graph.nodes.species, truth.structures.species.dtype)
        positions = np.asarray(graph.nodes.positions, np.float64)
        near = {row: np.abs(positions - places[row]).max() for row in rows[species.tobytes()]}
        row = min(near, key=lambda one: near[one])
        start = truth.stable[row]
        if start in silent:
            raise RuntimeError("never heard of it")
        if row in hessians:
            moved = (positions - places[row]).ravel()
            pull = hessians[row] @ moved
            return energy[row] + 0.5 * moved @ pull, -pull.reshape(-1, 3)
        return energy[start] + rise * (energy[row] - energy[start]), np.zeros_like(positions)

    return Calculated(ask)


def with_modes(change, row):
    """The second derivatives of one molecule with other wavenumbers: `change` of those in truth."""
    truth, places, _ = known()
    species = np.split(truth.structures.species, np.cumsum(truth.structures.n_atoms))[row]
    root = np.sqrt(np.repeat(atomic_masses[species], 3))
    inside = internal_motions(places[row], root)
    values, modes = np.linalg.eigh(inside.T @ (truth.hessians[row] / np.outer(root, root)) @ inside)
    after = np.array([change(one) for one in np.sqrt(values) * WAVENUMBER]) / WAVENUMBER
    modes = inside @ modes
    return {row: np.outer(root, root) * ((modes * after * np.abs(after)) @ modes.T)}


def everywhere(change):
    return functools.reduce(lambda a, b: a | b, (with_modes(change, row) for row in known()[0].hessians))


def test_the_truth_passes_as_it_is():
    surface = stored()
    steep, turned = frequencies(surface, [], CONFIG, 0), torsions(surface, [], CONFIG, 0)
    assert steep.passed and steep.value == pytest.approx(1.0, abs=0.02) and not steep.details["off"]
    assert steep.details["mae"] < 0.5 and steep.details["n"] == 210 and len(steep.details["molecules"]) == 10
    assert sum(band["n"] for band in steep.details["bands"]) == 210
    assert turned.passed and turned.value == pytest.approx(1.0) and turned.details["n"] == 60
    assert turned.bounds == "0.5–1.5" and json.dumps([vars(steep), vars(turned)], allow_nan=False)


@pytest.mark.parametrize("row", sorted(truths.load().hessians))
def test_one_molecule_with_soft_modes_at_a_quarter_is_found_out(row):
    """Everything below 700 cm⁻¹ (of methane, which has nothing there, the bends): 1 of 10 molecules."""
    below = 700.0 if known()[0].structures.n_atoms[row] > 5 else 1400.0
    surface = stored(with_modes(lambda one: one / 4 if one < below else one, row))
    found = frequencies(surface, [], CONFIG, 0)
    assert not found.passed and found.value == pytest.approx(0.25, abs=0.02)
    judged = {one["name"]: one["lowest_ratio"] for one in found.details["molecules"]}
    assert sum(ratio < 0.9 for ratio in judged.values()) == 1


def test_ring_modes_at_a_quarter_are_found_out():
    """Those from 550 to 1100 cm⁻¹ of the furan, which then are no longer where they were in order."""
    (row,) = [
        row for row in known()[0].hessians if known()[0].structures.name[row].startswith("dsgdb9nsd_001023")
    ]
    surface = stored(with_modes(lambda one: one / 4 if 550 < one < 1100 else one, row))
    found = frequencies(surface, [], CONFIG, 0)
    assert not found.passed and found.value is not None and found.value < 0.5


def test_what_one_mode_does_not_tell():
    """Too stiff altogether, off by a tenth everywhere, and a soft mode that is none."""
    stiff = frequencies(stored(everywhere(lambda one: 1.5 * one)), [], CONFIG, 0)
    assert not stiff.passed and "median ratio 1.50 from 300 to 700 cm⁻¹" in stiff.what
    off = frequencies(stored(everywhere(lambda one: 0.9 * one)), [], CONFIG, 0)
    assert not off.passed and off.value == pytest.approx(0.9, abs=0.02) and len(off.details["off"]) == 1
    assert off.details["off"][0].startswith("mean error 1") and off.details["bias"] < -100
    saddle = frequencies(stored(with_modes(lambda one: -80.0 if one < 75 else one, 2)), [], CONFIG, 0)
    assert not saddle.passed and "1 of 210 modes imaginary" in saddle.what
    assert saddle.value == pytest.approx(1.0, abs=0.1), "in order, a mode of 64 cm⁻¹ says little"


def test_flat_torsions_are_found_out():
    for rise, passed in ((0.0, False), (0.2, False), (0.6, True), (1.4, True), (2.0, False), (-1.0, False)):
        surface = stored(rise=rise)
        found = torsions(surface, [], CONFIG, 0)
        assert found.passed is passed and found.value == pytest.approx(rise, abs=1e-6)
    flat = stored(rise=0.2)
    assert frequencies(flat, [], CONFIG, 0).passed, "turning is another matter"


def test_one_torsion_does_not_make_up_for_nine():
    """An amide has more than half of all rises: right there and flat elsewhere is flat."""
    truth, places, _ = known()
    full, flat, (amide, *_) = stored(), stored(rise=0.1), np.unique(truth.stable[truth.kind == 2])
    size = len(places[amide])

    def ask(graph):
        return (full if len(graph.nodes.species) == size else flat).ask(graph)

    found = compare_torsions(Calculated(ask), truth)
    judged = torsions(Calculated(ask), [], CONFIG, 0)
    assert found["ratio"] > 0.5 and found["median_ratio"] == pytest.approx(0.1, abs=0.3)
    assert judged.value == found["median_ratio"] and not judged.passed


def test_a_molecule_without_an_answer_is_counted_and_named():
    truth, _, _ = known()
    for row, compare, check, n in (
        (6, compare_vibrations, frequencies, 186),
        (0, compare_torsions, torsions, 54),
    ):
        found = compare(stored(silent=(row,)), truth)
        assert found["n_unanswered"] == 1 and found["n"] == n
        (missing,) = [one for one in found["molecules"] if not one["answered"]]
        judged = check(stored(silent=(row,)), [], CONFIG, 0)
        assert not judged.passed and judged.value is None
        assert f"no answer for 1 of 10 molecules: {missing['name']}" in judged.what
    nothing = stored(silent=tuple(range(50)))
    for check in (frequencies, torsions):
        found = check(nothing, [], CONFIG, 0)
        assert not found.passed and found.value is None and found.details["n_unanswered"] == 10
        assert json.dumps(vars(found), allow_nan=False)


@pytest.mark.slow
def test_gfn2_xtb_passes_both():
    pytest.importorskip("tblite", reason="needs tblite, of the extra `engines`")
    from jphys.reliability import xtb

    steep, turned = (check(xtb.surface(), [], CONFIG, 0) for check in (frequencies, torsions))
    assert steep.passed and steep.value == pytest.approx(0.885, abs=0.02)
    assert steep.details["mae"] == pytest.approx(60, abs=3) and steep.details["n_imaginary"] == 0
    assert turned.passed and turned.value == pytest.approx(0.69, abs=0.03)
