"""`ScaledSet`: shapes (molecules, clusters, crystals) at several scales, with energies of one engine."""

import dataclasses
import logging

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.spatial import KDTree
from scipy.spatial.distance import pdist

from jphys.data import splits
from jphys.data import structures as structures_module
from jphys.data.structures import Structures
from jphys.neighbors import within_cutoff

__all__ = [
    "CONVERGED",
    "FAILED",
    "SCALES",
    "ScaledSet",
    "ScaledTable",
    "between",
    "expand",
    "scale_structures",
    "spacings",
    "split_shapes",
    "take",
    "take_shapes",
]

SCALES = np.linspace(0.9, 1.5, 10)  # VIMPNN sec. 3.1: ten regular factors between 90 and 150 %
APART = 1e-8  # Å; atoms nearer than that are at one place
ALIKE = 0.005  # Å; shapes all of whose distances differ by less are one
NOT_ASKED, CONVERGED, FAILED = 0, 1, 2  # status of a point
_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class ScaledTable:
    """What a file holds: every shape once, and a table of energies over shapes and scales."""

    shapes: Structures  # n shapes at scale 1; their energies are NaN
    scales: np.ndarray  # (k,) float64, ascending
    energy: np.ndarray  # (n, k) float64 eV, NaN where there is none
    status: np.ndarray  # (n, k) uint8: NOT_ASKED, CONVERGED or FAILED
    provenance: dict  # engine, version, settings, source, licence, made_by (command)


@dataclasses.dataclass(frozen=True)
class ScaledSet:
    """Shapes at several scales of their stable distances, labelled by an engine."""

    structures: Structures  # m points; those of one shape adjacent, scales ascending; "shape@1.0333"
    shape: np.ndarray  # (m,) int32, number of the shape, 0..n_shape-1
    scale: np.ndarray  # (m,) float64; 1 is the reference structure
    spacing: np.ndarray  # (m,) float64 Å, the distance at scale 1 in which stable distances are counted:
    # mean bond length of a molecule, nearest-neighbour distance of a crystal or a cluster
    provenance: dict  # engine, version, settings, source, licence, made_by (command)
    n_failed: int  # points of the file whose calculation did not converge: not in this set
    n_not_asked: int = 0  # points of the file that nobody calculated yet: not in this set

    def __len__(self) -> int:
        return len(self.shape)

    @property
    def n_shape(self) -> int:
        return int(self.shape.max(initial=-1)) + 1


def scale_structures(structures: Structures, scales) -> Structures:
    """Every structure scaled isometrically: molecules about their centroid, crystals with their cell.

    Args:
        structures: m of them.
        scales: (m,) factors, one each.

    Raises:
        ValueError: if there is not one factor for each, or one is not positive and finite.
    """
    scales = np.asarray(scales, np.float64)
    if scales.shape != (len(structures),):
        raise ValueError(f"scales must be {len(structures)}, one for each structure, got {scales.shape}")
    bad = scales[~((scales > 0) & np.isfinite(scales))]
    if bad.size:
        raise ValueError(f"scales must be positive and finite, got {bad[0]}")
    n_atoms, periodic = structures.n_atoms, structures.cell.any(axis=(1, 2))
    owner = np.repeat(np.arange(len(structures)), n_atoms)
    sums = [np.bincount(owner, weights=x, minlength=len(structures)) for x in structures.positions.T]
    centroids = np.where(periodic, 0.0, np.stack(sums) / n_atoms).T[owner]
    return dataclasses.replace(
        structures,
        name=np.array([f"{name}@{scale:.4f}" for name, scale in zip(structures.name, scales)]),
        positions=centroids + scales[owner, None] * (structures.positions - centroids),
        cell=structures.cell * scales[:, None, None],
    )


def spacings(shapes: Structures) -> np.ndarray:
    """The distance at scale 1 of each shape, (n,) Å: mean bond length, or nearest neighbours without bonds.

    A single atom without a cell has none: NaN.
    """
    atom_ends, bond_ends = np.cumsum(shapes.n_atoms), np.cumsum(shapes.n_bonds)
    found = np.full(len(shapes), np.nan)
    for i in range(len(shapes)):
        positions = shapes.positions[atom_ends[i] - shapes.n_atoms[i] : atom_ends[i]]
        bonds = shapes.bonds[bond_ends[i] - shapes.n_bonds[i] : bond_ends[i]]
        if len(bonds):
            ends = positions[bonds[:, 0]] - positions[bonds[:, 1]]
            found[i] = np.linalg.norm(ends, axis=1).mean()
        elif len(positions) > 1 or shapes.cell[i].any():
            found[i] = _nearest_distance(positions, shapes.cell[i])
    return found


def _nearest_distance(positions: np.ndarray, cell: np.ndarray) -> float:
    """Å between the nearest two atoms, images included, in cells however skewed."""
    first = np.linalg.norm(
        positions[1:] - positions[0], axis=1
    )  # no farther than these, or than an own image
    known = np.concatenate([first, np.linalg.norm(cell, axis=1)])
    reach = 1.001 * known[known > APART].min()
    senders, receivers, shifts = within_cutoff(positions, cell if cell.any() else None, reach)
    lengths = np.linalg.norm(positions[senders] + shifts @ cell - positions[receivers], axis=1)
    return float(lengths[lengths > APART].min())


def expand(table: ScaledTable) -> ScaledSet:
    """The converged points of a table as a set; those left out are counted and logged."""
    shape, column = np.nonzero(table.status == CONVERGED)
    n_failed, n_not_asked = (int((table.status == s).sum()) for s in (FAILED, NOT_ASKED))
    _log.info("%d points; %d failed, %d not calculated yet", len(shape), n_failed, n_not_asked)
    points = scale_structures(structures_module.take(table.shapes, shape), table.scales[column])
    return ScaledSet(
        structures=dataclasses.replace(points, energy=table.energy[shape, column]),
        shape=_renumbered(shape),
        scale=table.scales[column],
        spacing=spacings(table.shapes)[shape],
        provenance=table.provenance,
        n_failed=n_failed,
        n_not_asked=n_not_asked,
    )


def take(scaled: ScaledSet, points) -> ScaledSet:
    """The given points (k,), in that order; shapes are numbered anew, as they appear."""
    points = np.asarray(points, np.int64)
    return dataclasses.replace(
        scaled,
        structures=structures_module.take(scaled.structures, points),
        shape=_renumbered(scaled.shape[points]),
        scale=scaled.scale[points],
        spacing=scaled.spacing[points],
    )


def take_shapes(scaled: ScaledSet, shapes) -> ScaledSet:
    """All points of the given shapes (k,), in that order; the shapes get the numbers 0..k-1.

    Raises:
        ValueError: if a number is none of the set's shapes.
    """
    shapes = np.asarray(shapes, np.int64)
    bad = shapes[(shapes < 0) | (shapes >= scaled.n_shape)]
    if bad.size:
        raise ValueError(f"shapes must be numbers from 0 to {scaled.n_shape - 1}, got {bad[0]}")
    return take(scaled, _points_of(scaled.shape, shapes))


def split_shapes(
    scaled: ScaledSet, *, fractions: tuple[float, float, float] = (0.8, 0.1, 0.1), seed: int
) -> splits.Split:
    """Points (indices into the set) of three parts; the points of one shape are all in one part.

    A shape that repeats another but for rotation, reflection and translation follows it: clusters that grew
    differently may be the same.

    Args:
        scaled: the set.
        fractions: of the shapes that go to training, validation and test, see `jphys.data.splits.split`.
        seed: not negative.

    Raises:
        ValueError: as `jphys.data.splits.split`; where so many shapes repeat others that a part is empty.
    """
    first, part_of = first_alike(scaled), np.empty(scaled.n_shape, np.int8)
    for number, part in enumerate(splits.split(scaled.n_shape, fractions=fractions, seed=seed)):
        part_of[part] = number
    part_of = part_of[first]
    for number, name in enumerate(splits.Split._fields):
        if not (part_of == number).any():
            raise ValueError(
                f"scaled must have different shapes for every part, got none for {name}: "
                f"{len(np.unique(first))} of {scaled.n_shape} are different (seed {seed})"
            )
    return splits.Split(*(_points_of(scaled.shape, np.flatnonzero(part_of == n)) for n in range(3)))


def first_alike(scaled: ScaledSet) -> np.ndarray:
    """For every shape the first with its elements, cell and distances (to ALIKE Å, at scale 1): (n_shape,).

    Distances are compared element by element: of every pair of elements in ascending order.
    """
    structures = scaled.structures
    ends = np.cumsum(structures.n_atoms)
    _, rows = np.unique(scaled.shape, return_index=True)
    formulas: dict[bytes, list[tuple[int, np.ndarray]]] = {}
    for shape, row in enumerate(rows):
        atoms = slice(ends[row] - structures.n_atoms[row], ends[row])
        species = structures.species[atoms]
        lengths = _sorted_distances(species, structures.positions[atoms]), structures.cell[row].ravel()
        measure = np.concatenate(lengths) / scaled.scale[row]
        formulas.setdefault(np.sort(species).tobytes(), []).append((shape, measure))
    first = np.arange(scaled.n_shape, dtype=np.int32)
    for found in formulas.values():
        numbers, tree = [shape for shape, _ in found], KDTree(np.stack([measure for _, measure in found]))
        for i, j in sorted(tree.query_pairs(ALIKE, p=np.inf)):
            first[numbers[j]] = min(first[numbers[j]], first[numbers[i]])
    return first


def _sorted_distances(species: np.ndarray, positions: np.ndarray) -> np.ndarray:
    """All distances, pair of elements by pair of elements, ascending."""
    i, j = np.triu_indices(len(species), 1)
    low, high = np.minimum(species[i], species[j]), np.maximum(species[i], species[j])
    lengths = pdist(positions)
    return lengths[np.lexsort((lengths, high, low))]


def between(points: ScaledSet, n: int) -> ScaledSet:
    """The set with n more points between neighbouring scales, labelled by the spline of each shape's curve.

    A network that learns from a few fixed scales can be right on them and wrong in between. A cubic spline
    (not-a-knot) through ten scales of a molecule is 0.01 eV off GFN2-xTB on average (docs/log.md).

    Args:
        points: the set, with at least four points of every shape, in any order.
        n: new points in each gap, evenly spaced.

    Returns:
        The points shape by shape, scales ascending.

    Raises:
        ValueError: if n is negative, there are no points, or a shape has fewer than four points or two at one
            scale.
    """
    if n < 0:
        raise ValueError(f"n must not be negative, got {n}")
    if not len(points):
        raise ValueError("points must be four or more of every shape, got none at all")
    points, counts = _in_order(points), np.bincount(points.shape)
    if counts.min(initial=4) < 4:
        raise ValueError(f"points must be four or more of every shape, got {counts.min()}")
    rows, scales, energies = [], [], []
    for end, count in zip(np.cumsum(counts), counts):
        own = np.arange(end - count, end)
        scale = points.scale[own]
        check_curve(scale, str(points.structures.name[own[0]]))
        steps = np.arange((count - 1) * (n + 1) + 1) / (n + 1)
        fine = np.interp(steps, np.arange(count), scale)
        rows.append(own[np.minimum(steps.astype(int), count - 1)])
        scales.append(fine)
        energies.append(CubicSpline(scale, points.structures.energy[own])(fine))
    row, scale = np.concatenate(rows), np.concatenate(scales)
    made = scale_structures(structures_module.take(points.structures, row), scale / points.scale[row])
    names = [f"{name.split('@')[0]}@{s:.4f}" for name, s in zip(made.name, scale)]
    return dataclasses.replace(
        points,
        structures=dataclasses.replace(made, name=np.array(names), energy=np.concatenate(energies)),
        shape=points.shape[row],
        scale=scale,
        spacing=points.spacing[row],
    )


def check_curve(scales: np.ndarray, name: str) -> None:
    """Raises ValueError if two of the ascending scales (k,) of one shape are the same."""
    if not (np.diff(scales) > 0).all():
        twice = scales[1:][np.diff(scales) <= 0][0]
        raise ValueError(f"points must be at different scales within a shape, got {twice:.4f} twice: {name}")


def _in_order(points: ScaledSet) -> ScaledSet:
    """Shape by shape, scales ascending."""
    order = np.lexsort((points.scale, points.shape))
    same = np.array_equal(order, np.arange(len(points)))
    return points if same else take(points, order)


def _points_of(shape: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    order = np.argsort(shape, kind="stable")
    begin, end = (np.searchsorted(shape[order], chosen, side=side) for side in ("left", "right"))
    rows = [order[b:e] for b, e in zip(begin, end)]
    return np.concatenate(rows) if rows else np.zeros(0, np.int64)


def _renumbered(shape: np.ndarray) -> np.ndarray:
    _, first, inverse = np.unique(shape, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return rank[inverse]
