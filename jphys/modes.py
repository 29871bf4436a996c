"""Normal modes of the classical prior: which displacements of a stable structure cost how much.

H = ∂²E_prior/∂p∂p at p⁰ = V Λ Vᵀ, padded to the largest molecule. Rigid motions and padding have Λ = 0.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jphys.ragged import Ragged, take_rows
from jphys.prior import Prior, Terms, prior_energy


class Modes(NamedTuple):
    """Eigenvectors and curvatures of the prior per structure; n = 3 × (largest number of atoms)."""

    vectors: jax.Array  # (…, n, n), columns are modes
    curvatures: jax.Array  # (…, n) eV/Å²
    real: jax.Array  # (…, n) bool, false on rigid motions and padding


RIGID = 1e-3  # eV/Å²; curvatures below it count as rigid motion


def prior_modes(nodes: Ragged, terms: tuple[Ragged, ...], *, chunk: int = 64) -> Modes:
    """Modes of every structure of a data set.

    Args:
        nodes: rows (species, positions, …) per structure.
        terms: rows (atoms, stiffness) of bonds, angles and torsions per structure.
        chunk: structures per compiled call.
    """
    n_atom = int(np.max(nodes.counts))
    budgets = tuple(max(int(np.max(t.counts)), 1) for t in terms)

    def one(index):
        chosen = index[None]
        positions = take_rows(nodes, chosen, n_atom)
        stable = positions.rows[1] * positions.mask[:, None]
        prior = []
        for ragged, budget in zip(terms, budgets):
            taken = take_rows(ragged, chosen, budget)
            prior.append(Terms(taken.rows[0] * taken.mask[:, None], taken.rows[1], taken.mask))
        second = jax.hessian(lambda p: prior_energy(p, stable, Prior(*prior)))(stable)
        return jnp.linalg.eigh(second.reshape(3 * n_atom, 3 * n_atom))

    compiled = jax.jit(jax.vmap(one))
    m = len(nodes.counts)
    found = []
    for start in range(0, m, chunk):
        index = np.minimum(np.arange(start, start + chunk), m - 1)
        found.append(jax.tree.map(np.asarray, compiled(index)))
    curvatures, vectors = (np.concatenate([np.asarray(f[k]) for f in found])[:m] for k in range(2))
    real = curvatures > RIGID
    return Modes(jnp.asarray(vectors), jnp.asarray(np.where(real, curvatures, 0.0)), jnp.asarray(real))
