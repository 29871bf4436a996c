"""What a model that was trained on masked atoms knows of chemistry (Yi et al., sec. 3.5 and fig. 5)."""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jphys.elements import SYMBOLS
from jphys.evaluation import Program, split_atoms
from jphys.graph import Graph, hide_atoms, with_positions
from jphys.models.potential import Potential, check_elements, check_graph_bonds
from jphys.reliability.wilson import wilson

__all__ = ["Suggestion", "accuracy", "element_probabilities", "scan", "suggest_elements"]


class Suggestion(NamedTuple):
    """An element for a place, with the probability that the model gives it."""

    z: int
    symbol: str
    probability: float


def suggest_elements(
    potential: Potential, params, graph: Graph, atom: int, *, n: int = 5
) -> list[Suggestion]:
    """The likeliest elements for the place of an atom, whose own element is hidden from the model.

    Args:
        potential: with a masked-atom head that was trained.
        params: its parameters.
        graph: one structure.
        atom: number of the atom.
        n: how many, the likeliest first.

    Raises:
        ValueError: for a model without that head, an atom that is not there, or n < 1.
    """
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    (row,) = element_probabilities(potential, params, [graph], [atom])
    return [Suggestion(int(i) + 1, SYMBOLS[i + 1], float(row[i])) for i in np.argsort(-row)[:n]]


def element_probabilities(
    potential: Potential, params, graphs: Sequence[Graph], atoms: Sequence[int], *, chunk: int = 64
) -> np.ndarray:
    """p(Z) for Z = 1..max_z at one hidden atom of each structure: (m, max_z), rows sum to 1.

    Args:
        potential, params: as `suggest_elements`.
        graphs: m structures.
        atoms: the hidden atom of each.
        chunk: structures per device call.

    Raises:
        ValueError: for a model without a masked-atom head, or an atom that is not there.
    """
    hidden = []
    for graph, atom in zip(graphs, atoms, strict=True):
        _check_atom(graph, atom)
        hidden.append(np.arange(len(graph.nodes.species)) == atom)
    return np.concatenate(_of_hidden(potential, params, graphs, hidden, chunk))


def _check_atom(graph: Graph, atom: int) -> None:
    size = len(graph.nodes.species)
    if not 0 <= atom < size:
        raise ValueError(f"atom must be from 0 to {size - 1}, got {atom}")


def _of_hidden(potential: Potential, params, graphs: Sequence[Graph], hidden, chunk: int) -> list[np.ndarray]:
    """p(Z) at the hidden atoms (n_i,) bool of each structure: m of (n_hidden, max_z)."""
    program, found = _program(potential), []
    for graph in graphs:
        check_elements(potential, graph.nodes.species)
        check_graph_bonds(potential, graph)
    made = [jax.tree.map(np.asarray, hide_atoms(graph, mask)) for graph, mask in zip(graphs, hidden)]
    for log_probability, sizes in program.over(params, made, chunk):
        rows = split_atoms(log_probability, sizes)
        found += [np.exp(row[mask]) for row, mask in zip(rows, hidden[len(found) : len(found) + len(sizes)])]
    return found


@functools.lru_cache(maxsize=8)
def _program(potential: Potential) -> Program:
    logits = potential.head("element_logits")
    return Program(lambda params, graph: jax.nn.log_softmax(logits(params, graph)))


def scan(potential: Potential, params, graph: Graph, atom: int, shifts, *, axis=(0, 0, 1)) -> np.ndarray:
    """p(Z) at a hidden atom that is moved along an axis: (k, max_z) (fig. 5).

    Args:
        potential, params, graph, atom: as `suggest_elements`; the graph has all pairs.
        shifts: (k,) Å.
        axis: (3,) direction, of any length but 0.

    Raises:
        ValueError: for an axis of length 0, no shifts, and as `element_probabilities`.
    """
    _check_atom(graph, atom)
    if not len(shifts):
        raise ValueError("shifts must hold at least one place, got none")
    direction = np.asarray(axis, float)
    length = np.linalg.norm(direction)
    if direction.shape != (3,) or not length > 0:
        raise ValueError(f"axis must be a vector of three numbers that is not 0, got {axis}")
    moved = []
    for shift in np.asarray(shifts, float):
        positions = np.array(graph.nodes.positions)
        positions[atom] += shift * direction / length
        moved.append(with_positions(graph, positions))
    return element_probabilities(potential, params, moved, [atom] * len(moved))


def accuracy(
    potential: Potential, params, graphs: Sequence[Graph], frequencies, *, rate: float = 0.0, seed: int = 0
) -> dict[str, Any]:
    """How often the likeliest element of a hidden atom is the true one.

    Args:
        potential, params: as `suggest_elements`.
        graphs: structures that the model was not trained on.
        frequencies: number of atoms of each element in the training part, at Z (as np.bincount gives), for
            the baseline.
        rate: probability that an atom is hidden, all of a structure at once (ρ of the paper: 0.3); with 0
            every atom is hidden once, alone.
        seed: of the choice of hidden atoms.

    Returns:
        `n` atoms, `top1` with Wilson's interval `low` and `high`, `baseline`: always the commonest element,
        `nll`: mean −log p of the true element, `nll_baseline`: with p the frequencies, and `by_element`:
        symbol -> {"n", "top1"}.

    Raises:
        ValueError: for a rate outside [0, 1], a rate that hides no atom, and as `suggest_elements`.
    """
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be from 0 to 1, got {rate}")
    sizes = [len(graph.nodes.species) for graph in graphs]
    if rate:
        rng = np.random.default_rng(seed)
        asked, hidden = list(graphs), [rng.random(size) < rate for size in sizes]
    else:
        asked = [graph for graph, size in zip(graphs, sizes) for _ in range(size)]
        hidden = [row for size in sizes for row in np.eye(size, dtype=bool)]
    true = np.concatenate([np.asarray(graph.nodes.species)[mask] for graph, mask in zip(asked, hidden)])
    if not len(true):
        raise ValueError(f"rate must hide at least one atom of {sum(sizes)}, got {rate}")
    return _scores(np.concatenate(_of_hidden(potential, params, asked, hidden, 256)), true, frequencies)


def _scores(found: np.ndarray, true: np.ndarray, frequencies) -> dict[str, Any]:
    right = found.argmax(axis=1) + 1 == true
    share = np.zeros(found.shape[1] + 1)
    share[: len(frequencies)] = np.asarray(frequencies, float) / np.sum(frequencies)
    low, high = wilson(int(right.sum()), len(right))
    return {
        "n": len(true),
        "top1": float(right.mean()),
        "low": low,
        "high": high,
        "baseline": float((true == share.argmax()).mean()),
        "nll": float(-np.log(np.maximum(found[np.arange(len(true)), true - 1], 1e-30)).mean()),
        "nll_baseline": float(-np.log(np.maximum(share[true], 1e-30)).mean()),
        "by_element": {
            SYMBOLS[z]: {"n": int((true == z).sum()), "top1": float(right[true == z].mean())}
            for z in np.unique(true)
        },
    }
