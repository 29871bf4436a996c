"""Which models VIMPNN finds better than which, and whether ours say the same."""

import json
from pathlib import Path
from typing import Any

from seeds import NONE, paired_p

SETS = ("augmented-qm9", "infinite-crystal", "crystal-growth-stable", "crystal-growth-unstable")
# What the paper says -> file of results, the model that is better there, and the one that is worse.
ORDERINGS: dict[str, list[tuple[str, str, str]]] = {
    "VIMPNN better than MPNN": [(f"table2-{name}", "VIMPNN", "MPNN") for name in SETS],
    "a.ii the best strategy": [
        ("table1", "a.ii", other) for other in ("no bond type", "MPNN", "# atoms", "# orbitals", "scale")
    ],
    "a.ii the best channels": [("table3", "a.ii", other) for other in ("a.i", "b.i", "b.ii", "c")],
    "T = 3 the best": [
        ("table5", f"{model}, T = 3", f"{model}, T = {other}")
        for model in ("VIMPNN", "MPNN")
        for other in (1, 8)
    ],
    "auxiliary estimates help crystals": [
        (f"table2-{name}", "VIMPNN", "VIMPNN without estimates") for name in SETS[1:]
    ],
    "b.i better than MPNN (ours)": [
        ("table2-augmented-qm9", "VIMPNN, b.i (ours)", "MPNN"),
        ("table3", "b.i", "MPNN, 219 (ours)"),
    ],
}
METRICS = {
    "mae": ("MAE eV", 3),
    "dsc": ("DSC Å", 4),
    "mae_between": ("MAE eV, between", 3),
    "dsc_between": ("DSC Å, between", 4),
}


def verdict(better: dict[str, Any], worse: dict[str, Any], digits: int) -> str:
    """yes or no where a paired t-test over the seeds has p < 0.05, else open; the two means; p.

    >>> verdict({"mean": 1.0, "values": [1.0, 1.1, 0.9]}, {"mean": 2.0, "values": [2.0, 2.0, 2.0]}, 1)
    'yes: 1.0 < 2.0, p 0.0033'
    """
    ours, theirs = better["mean"], worse["mean"]
    if ours is None or theirs is None:
        return "–"
    p = paired_p(better["values"], worse["values"])
    word = "open" if p is None or p >= 0.05 else "yes" if ours < theirs else "**no**"
    sign = "<" if ours < theirs else ">" if ours > theirs else "="
    return f"{word}: {ours:.{digits}f} {sign} {theirs:.{digits}f}" + (f", p {p:.2g}" if p is not None else "")


def judged(results: Path) -> list[dict[str, str]]:
    """One row per pair of models: the verdict by each metric."""
    rows, files = [], {}
    for claim, pairs in ORDERINGS.items():
        for name, better, worse in pairs:
            if name not in files:
                files[name] = json.loads((results / f"{name}.json").read_text("utf-8"))["rows"]
            found = files[name]
            row = {"the paper": claim, "file": name, "models": f"{better} before {worse}"}
            for key, (title, digits) in METRICS.items():
                row[title] = verdict(found[better].get(key, NONE), found[worse].get(key, NONE), digits)
            rows.append(row)
    return rows
