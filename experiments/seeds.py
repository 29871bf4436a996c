"""Means over seeds: how they are made, how they are shown, and whether two of them differ."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import ttest_rel

from jphys.reliability.surface import finite_or_none

NONE: dict[str, Any] = {"mean": None, "std": None, "values": []}  # of what was not measured


def spread(values: Sequence[float | None]) -> dict[str, Any]:
    """Mean and sample standard deviation (None of one value) of what is known, and all values.

    >>> spread([1.0, None, 3.0])["mean"]
    2.0
    """
    known = [value for value in values if value is not None]
    return {
        "mean": statistics.mean(known) if known else None,
        "std": statistics.stdev(known) if len(known) > 1 else None,
        "values": list(values),
    }


def shown(column: Mapping[str, Any], digits: int) -> str:
    """Mean ± standard deviation, a star where p < 0.05; a dash where nothing is known.

    >>> shown({"mean": 1.25, "std": 0.5, "p": 0.01}, 1), shown(NONE, 1)
    ('1.2 ± 0.5 *', '–')
    """
    if column["mean"] is None:
        return "–"
    text = f"{column['mean']:.{digits}f}"
    text += "" if column["std"] is None else f" ± {column['std']:.{digits}f}"
    return text + (" *" if column.get("p") is not None and column["p"] < 0.05 else "")


def paired_p(ours: Sequence[float | None], theirs: Sequence[float | None]) -> float | None:
    """p of a paired t-test, seed by seed: a seed splits the data too.

    None for fewer than two pairs, and where all differ by the same.
    """
    pairs = [(a, b) for a, b in zip(ours, theirs) if a is not None and b is not None]
    if len(pairs) < 2 or np.ptp([a - b for a, b in pairs]) <= 1e-12:
        return None
    test: Any = ttest_rel([a for a, _ in pairs], [b for _, b in pairs])
    return finite_or_none(test.pvalue)
