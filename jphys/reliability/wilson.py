"""The interval of a success rate."""

import numpy as np


def wilson(successes: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval (1927, doi:10.1080/01621459.1927.10502953); 95 % by default.

    >>> [round(x, 4) for x in wilson(9, 10)]
    [0.5958, 0.9821]

    Raises:
        ValueError: if n is not positive, or successes is not from 0 to n.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"successes must be from 0 to n, n at least 1, got {successes} of {n}")
    rate, weight = successes / n, z * z / n
    middle = (rate + weight / 2) / (1 + weight)
    half = z / (1 + weight) * np.sqrt(rate * (1 - rate) / n + weight / (4 * n))
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))
