"""Normal modes of the classical prior: which displacements of a stable structure cost how much.

H = ∂²E_prior/∂p∂p at p⁰ = Bᵀ K B = V Λ Vᵀ with Wilson's B = ∂q/∂p, padded to the largest molecule.
Rigid motions and padding have Λ = 0.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.graph import Nodes
from jphys.ops import safe_norm
from jphys.prior import (
    Prior,
    Terms,
    bond_angles,
    bond_lengths,
    contact_stiffness,
    make_prior,
    pyramid_heights,
    rotor_stiffness,
    torsion_vectors,
)
from jphys.ragged import Ragged, padded, ragged_rows
from jphys.shapes import round_size

__all__ = ["Modes", "prior_hessian", "prior_hessians", "prior_modes", "prior_terms"]

RIGID = 1e-3  # eV/Å²; curvatures below it count as rigid motion
USUAL = (1.0, 2.4, 0.4, 5.5, 8.0)
"""Terms per atom of the largest molecule that few exceed, per field of Prior: most parts share one shape."""
LINEAR = np.deg2rad(170.0)  # angles above it bend in two directions


class StoredModes(NamedTuple):
    """Modes of many structures, each in its own size; rigid motions are left out."""

    vectors: Ragged  # rows: the matrix (3 atoms, modes) of a structure, row after row
    curvatures: Ragged  # rows: () eV/Å², ascending


class Modes(NamedTuple):
    """Eigenvectors and curvatures of the prior per structure; n = 3 × (largest number of atoms)."""

    vectors: jax.Array  # (…, n, n), columns are modes
    curvatures: jax.Array  # (…, n) eV/Å²
    real: jax.Array  # (…, n) bool, false on rigid motions and padding


def _single(atoms: jax.Array) -> Terms:
    return Terms(atoms[None], jnp.ones(1), jnp.ones(1, bool))


def _length(points):
    return bond_lengths(points, _single(jnp.arange(2)))[0]


def _angle(points):
    return bond_angles(points, _single(jnp.arange(3)))[0]


def _bend(points):
    """û_a + û_b (3,): for atoms nearly in line its length is π − θ, and it knows both directions."""
    a, b = points[0] - points[1], points[2] - points[1]
    return a / jnp.maximum(safe_norm(a), 1e-6) + b / jnp.maximum(safe_norm(b), 1e-6)


def _height(points):
    return pyramid_heights(points, _single(jnp.arange(4)))[0]


def _turn(points):
    """s·sin(φ − φ⁰), whose gradient at φ⁰ is that of the torsion times s."""
    now = torsion_vectors(points, _single(jnp.arange(4)))[0]
    still = jax.lax.stop_gradient(now)
    still = still / jnp.maximum(safe_norm(still), 1e-6)
    return still[0] * now[1] - still[1] * now[0]


def _rows(coordinate, stable, terms: Terms, weight):
    """Rows √k·∂q/∂p (t·n_q, 3n) of one kind of coordinate."""
    gradients = jax.vmap(jax.jacrev(coordinate))(stable[terms.atoms])
    gradients = gradients.reshape(
        len(gradients), int(np.prod(gradients.shape[1:-2])), *gradients.shape[-2:]
    )  # (t, n_q, k, 3)
    scaled = gradients * jnp.sqrt(terms.stiffness * terms.mask * weight)[:, None, None, None]
    scaled = jnp.where(terms.mask[:, None, None, None], scaled, 0.0)
    t, n_q = scaled.shape[:2]
    term, quantity = jnp.arange(t)[:, None, None], jnp.arange(n_q)[None, :, None]
    rows = jnp.zeros((t, n_q, *stable.shape)).at[term, quantity, terms.atoms[:, None]].add(scaled)
    return rows.reshape(t * n_q, stable.size)


def prior_hessian(stable, prior: Prior):
    """H (3n, 3n) eV/Å² of the prior at its own minimum, the positions `stable` (n, 3)."""
    bonds, angles, wags, rotors, contacts = prior
    bonds = bonds._replace(stiffness=bonds.stiffness[:, 0])
    turns = rotors._replace(stiffness=rotor_stiffness(stable, rotors))
    pairs = contacts._replace(stiffness=contact_stiffness(contacts))
    linear = bond_angles(stable, angles) > LINEAR
    rows = [
        _rows(_length, stable, bonds, 1.0),
        _rows(_angle, stable, angles, ~linear),
        _rows(_bend, stable, angles, linear),
        _rows(_height, stable, wags, 1.0),
        _rows(_turn, stable, turns, 1.0),
        _rows(_length, stable, pairs, 1.0),
    ]
    wilson = jnp.concatenate(rows)
    return jnp.matmul(wilson.T, wilson, precision=jax.lax.Precision.HIGHEST)


def prior_terms(atoms: Sequence[Nodes]) -> tuple[Ragged, ...]:
    """Rows (atoms, stiffness) of the prior of each at its own geometry: one Ragged per field of Prior."""
    priors = [make_prior(one.species, one.positions) for one in atoms]
    kinds = range(len(Prior._fields))
    return tuple(ragged_rows([(p[kind].atoms, p[kind].stiffness) for p in priors]) for kind in kinds)


def prior_hessians(
    nodes: Ragged, terms: tuple[Ragged, ...], *, n_atom: int = 0, chunk: int = 64
) -> Iterator[np.ndarray]:
    """H (3n, 3n) eV/Å² of every structure of a data set, each in its own size. Host side.

    Args:
        nodes: rows (Nodes) per structure.
        terms: of `prior_terms`.
        n_atom: of the largest structure, where it is not among these: one shape for all parts of a data set.
        chunk: structures per compiled call.
    """
    counts = np.asarray(nodes.counts)
    n_atom = max(n_atom, int(counts.max()))
    most = [max(int(np.max(t.counts)), round(n_atom * per_atom)) for t, per_atom in zip(terms, USUAL)]
    budgets = [round_size(size, digits=2) for size in most]
    for start in range(0, len(counts), chunk):
        index = np.minimum(np.arange(start, start + chunk), len(counts) - 1)
        stable = padded(nodes, index, n_atom)[0].positions
        prior = Prior(*(_terms(t, index, budget) for t, budget in zip(terms, budgets, strict=True)))
        hessians = jax.device_get(_hessians(stable, prior))
        for number in range(min(chunk, len(counts) - start)):
            n = 3 * counts[start + number]  # in its own size: half the work of what is padded
            yield hessians[number, :n, :n]


def prior_modes(nodes: Ragged, terms: tuple[Ragged, ...], *, n_atom: int = 0, chunk: int = 64) -> StoredModes:
    """Modes of every structure of a data set, to be taken by `take_modes`; arguments as `prior_hessians`."""
    matrices, curvatures = [], []
    for hessian in prior_hessians(nodes, terms, n_atom=n_atom, chunk=chunk):
        values, vectors = np.linalg.eigh(hessian)
        real = values > RIGID
        matrices.append(vectors[:, real].ravel())
        curvatures.append(values[real])
    return StoredModes(ragged_rows(matrices), ragged_rows(curvatures))


_hessians = jax.jit(jax.vmap(prior_hessian))


def _terms(ragged: Ragged, index, budget: int) -> Terms:
    (atoms, stiffness), mask = padded(ragged, index, budget)
    return Terms(atoms, stiffness, mask)


def take_modes(stored: StoredModes, chosen, n: int) -> Modes:
    """Modes of the structures `chosen` (k,), −1 for none, padded to n coordinates. Runs under jit.

    The modes of each are its last columns: they ascend.
    """
    chosen, column = jnp.asarray(chosen), jnp.arange(n)

    def span(part: Ragged):
        return (jnp.where(chosen >= 0, rows[chosen], 0)[:, None] for rows in (part.starts, part.counts))

    (first, size), (first_mode, n_mode) = span(stored.vectors), span(stored.curvatures)
    mode = column - (n - n_mode)  # (k, n), negative where a column holds none
    curvatures = _rows_or_zero(stored.curvatures.rows, first_mode + mode, mode >= 0)
    row = column * n_mode  # (k, n), where the row of each coordinate begins
    inside = (mode >= 0)[:, None] & (row < size)[..., None]
    vectors = _rows_or_zero(stored.vectors.rows, (first + row)[..., None] + mode[:, None], inside)
    return Modes(vectors, curvatures, curvatures > 0)


def _rows_or_zero(rows, where, flags):
    """rows[where] where flagged, 0 elsewhere."""
    if not len(rows):
        return jnp.zeros(flags.shape)
    return jnp.where(flags, rows[jnp.where(flags, where, 0)], 0.0)
