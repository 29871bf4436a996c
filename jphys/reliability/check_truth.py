"""The checks of the audit against density functional theory: the B3LYP/6-31G(2df,p) of `jphys.data.truth`."""

import dataclasses
from collections.abc import Sequence

from jphys.data import truth as truths
from jphys.graph import Graph
from jphys.reliability.check import AuditConfig, Check, at_least, between
from jphys.reliability.surface import Surface
from jphys.reliability.truth import compare_torsions, compare_vibrations
from jphys.reliability.vibrations import SOFT


def frequencies(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Are the wells as steep as they should be, along the soft motions too?

    Harmonic frequencies of ten molecules at B3LYP's own minima, in order, as ratios ν/ν_B3LYP. Passed where
    no mode from 100 cm⁻¹ on is softer than a half (below, torsions at 35 cm⁻¹ are off by a factor of four in
    GFN2-xTB itself), none is imaginary beyond −50 cm⁻¹, no band of wavenumbers has a median off by more than
    a quarter, and the mean error is at most 100 cm⁻¹. What practice allows: one factor per method, 0.96 for
    B3LYP, 0.89 for Hartree–Fock (Merrick, Moran, Radom 2007, doi:10.1021/jp073974n), and semi-empirical
    methods are used that are off by 126 (AM1) and 159 cm⁻¹ (PM3), root mean square, after scaling (Scott,
    Radom 1996, doi:10.1021/jp960976r). GFN2-xTB passes (lowest ratio 0.89, medians from 0.95 to 1.18, mean
    error 60 cm⁻¹). MMFF94 does not: 10 of 210 modes are imaginary, for its minima lie elsewhere.
    """
    del chosen, seed
    found = compare_vibrations(surface, truths.load())
    low, high = config.bands
    off = [
        f"median ratio {band['median_ratio']:.2f} from {band['from']:g} to {band['to']:g} cm⁻¹"
        for band in found["bands"]
        if band["median_ratio"] is not None and not low <= band["median_ratio"] <= high
    ]
    if found["n_imaginary"]:
        off.append(f"{found['n_imaginary']} of {found['n']} modes imaginary")
    if found["mae"] is not None and found["mae"] > config.frequency_error:
        off.append(f"mean error {found['mae']:.0f} cm⁻¹")
    what = (
        f"lowest ν/ν_B3LYP of a mode from {SOFT:g} cm⁻¹ on; none may be imaginary, medians of bands must be "
        f"within {low:g}–{high:g}, the mean error at most {config.frequency_error:g} cm⁻¹"
    )
    what += "".join(f"; {reason}" for reason in [*off, *_missing(found)])
    value = None if found["n_unanswered"] else found["lowest_ratio"]
    check = at_least("frequencies", value, config.softest, "", what, found | {"off": off})
    return dataclasses.replace(check, passed=check.passed and not off)


def torsions(surface: Surface, chosen: Sequence[Graph], config: AuditConfig, seed: int) -> Check:
    """Does the energy rise where a molecule is turned about a bond?

    Ten molecules turned by 60 to 120°: their mean rise over that of B3LYP, in which one amide has more than
    half, and the median of the same over the molecules; the one farther from 1 is judged. GFN2-xTB is at 0.76
    and 0.69, MMFF94 at 0.74 and 0.92, a surface without torsions at 0.
    """
    del chosen, seed
    found = compare_torsions(surface, truths.load())
    both = found["ratio"], found["median_ratio"]
    value = None if found["n_unanswered"] or None in both else max(both, key=lambda ratio: abs(ratio - 1))
    what = "rise of molecules turned by 60 to 120° over that of B3LYP, of the mean or median farther from 1"
    what += "".join(f"; {reason}" for reason in _missing(found))
    return between("torsions", value, config.torsions, "", what, found)


def _missing(found: dict) -> list[str]:
    """How many molecules have no answer, for a sentence."""
    n, names = found["n_unanswered"], [row["name"] for row in found["molecules"] if not row["answered"]]
    return [f"no answer for {n} of {len(found['molecules'])} molecules: {', '.join(names)}"] if n else []
