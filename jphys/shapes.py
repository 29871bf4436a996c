"""Static shapes: how sizes are rounded, and which of its compiled shapes a function takes for a new size."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

S = TypeVar("S", bound=tuple[int, ...])
LADDER = 8192
"""Up to about this size a shape compiled anew is rounded to a factor of 4: little work, however padded."""
SPARE = 1_000_000
"""Padding, in atoms and edges, that takes less time than compiling for one more shape."""
MATRICES = 2**28
"""Bytes of matrices of all coordinates that wait on the device; more structures go in parts."""


def round_size(size: int, digits: int = 3) -> int:
    """The next number with so many leading binary digits: with 3 at most a quarter more than `size`.

    >>> [round_size(size) for size in (3, 8, 9, 1000, 1025)]
    [3, 8, 10, 1024, 1280]
    """
    step = 1 << max(int(size - 1).bit_length() - digits, 0)
    return -(-int(size) // step) * step


def rung(size: int, least: int) -> int:
    """The next of least, 4 least, 16 least …; beyond `LADDER` at most a sixteenth more than `size`.

    >>> [rung(size, 16) for size in (3, 17, 1000, 9000)]
    [16, 64, 1024, 9216]
    """
    step = least
    while step < size:
        step *= 4
    return step if step <= LADDER else round_size(size, digits=5)


def rungs(sizes: Sequence[int], least: Sequence[int]) -> list[int]:
    """A rung for each size; where one is beyond half of `LADDER`, there is much work, and all are tight.

    >>> rungs([100, 900], [64, 256]), rungs([550, 9000], [64, 256])
    ([256, 1024], [576, 9216])
    """
    if max(sizes) > LADDER // 2:
        return [round_size(size, digits=5) for size in sizes]
    return [rung(size, start) for size, start in zip(sizes, least)]


def matrices_at_once(n_atoms: int, *, images: int = 1, cell_rows: int = 0) -> int:
    """How many structures find room for a matrix of all coordinates each, in the sizes to which `jphys.lanes`
    rounds them; not fewer than 16.
    """
    side = 3 * images * (rung(n_atoms, 32) + cell_rows)
    room, number = MATRICES // (4 * side**2), 16
    while 4 * number <= room:
        number *= 4
    return number


class Shapes(Generic[S]):
    """The shapes, tuples of sizes, that one function is compiled for.

    What fits into none of them compiles a generous one, unless that would cost more than compiling once
    more. What fits takes the cheapest that is there, until all the padding in it would have paid for
    compiling: many small sets after a large one cost one compilation.

    Args:
        cost: of a shape, in atoms and edges.
        spare: padding, in the same unit, that takes less time than compiling for one more shape.
    """

    def __init__(self, cost: Callable[[S], int], spare: int = SPARE):
        self.cost, self.spare = cost, spare
        self.known: list[S] = []
        self._padding: dict[S, int] = {}

    def choose(self, needs: S, tight: S, generous: S, calls: int = 1) -> S:
        """A shape of at least the sizes needed.

        Args:
            needs: the sizes needed.
            tight: what is compiled when padding has cost more than compiling does; at least `needs`.
            generous: what is compiled where nothing fits; at least `tight`.
            calls: how often the function will run on it.
        """
        fitting = [shape for shape in self.known if all(has >= size for has, size in zip(shape, needs))]
        if not fitting:
            surplus = calls * (self.cost(generous) - self.cost(tight))
            self.known.append(generous if surplus <= self.spare else tight)
            return self.known[-1]
        best = min(fitting, key=self.cost)
        spent = self._padding.get(best, 0) + calls * max(self.cost(best) - self.cost(tight), 0)
        if spent > self.spare:
            self._padding[best] = 0
            best = generous if 2 * self.cost(generous) <= self.cost(best) else tight
            self.known.append(best)
            return best
        self._padding[best] = spent
        return best
