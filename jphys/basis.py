"""Radial bases and cutoff envelopes, one formula each."""

import jax.numpy as jnp
import numpy as np

__all__ = ["cosine_envelope", "exponential_gaussian_start", "exponential_gaussians"]


def cosine_envelope(distances, cutoff: float):
    """φ(d) = ½(cos(πd/τ) + 1) for d ≤ τ, else 0 (Yi et al. eq. 3). C¹ at the cutoff.

    Args:
        distances: (…) Å.
        cutoff: τ, Å.
    """
    inside = distances < cutoff
    phase = jnp.where(inside, distances, cutoff) * (jnp.pi / cutoff)
    return jnp.where(inside, 0.5 * (jnp.cos(phase) + 1.0), 0.0)


def exponential_gaussians(distances, centers, widths):
    """exp(−β_k (exp(−d) − μ_k)²), the PhysNet basis (Yi et al. eq. 2, without the envelope).

    Args:
        distances: (…) Å.
        centers: μ, (…, n_basis), without unit.
        widths: β, (…, n_basis), without unit.

    Returns:
        (…, n_basis).
    """
    return jnp.exp(-widths * (jnp.exp(-distances)[..., None] - centers) ** 2)


def exponential_gaussian_start(n_basis: int, cutoff: float) -> tuple[np.ndarray, float]:
    """Start values of PhysNet (Unke & Meuwly 2019, doi:10.1021/acs.jctc.9b00181).

    μ evenly spaced between exp(−τ) and 1; β = (2/n_b·(1 − exp(−τ)))⁻².

    Returns:
        centers (n_basis,) and the one width.
    """
    start = np.exp(-cutoff)
    return np.linspace(start, 1.0, n_basis), float((2.0 / n_basis * (1.0 - start)) ** -2)
