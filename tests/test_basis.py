"""Radial functions against their formulas and at their hard points."""

import jax
import numpy as np
import pytest

from jphys import basis


@pytest.mark.parametrize(("distance", "value"), [(0.0, 1.0), (2.5, 0.5), (5.0, 0.0), (5.1, 0.0), (9.0, 0.0)])
def test_envelope_values(distance, value):
    assert basis.cosine_envelope(distance, 5.0) == pytest.approx(value, abs=1e-6)


def test_envelope_is_smooth_at_the_cutoff(x64):
    """φ → π²ε²/(4τ²) and φ' → −π²ε/(2τ²) as d = τ − ε: value and slope go to 0 together."""
    cutoff = 5.0
    for gap in (1e-2, 1e-4, 1e-6):
        value, slope = jax.value_and_grad(basis.cosine_envelope)(cutoff - gap, cutoff)
        assert value == pytest.approx((np.pi * gap / cutoff) ** 2 / 4, rel=1e-4, abs=1e-15)
        assert slope == pytest.approx(-(np.pi**2) * gap / (2 * cutoff**2), rel=1e-4)
    for distance in (cutoff, cutoff + 1e-6, 3 * cutoff):
        assert jax.grad(basis.cosine_envelope)(distance, cutoff) == 0


def test_gaussians_by_loop(rng):
    distances, centers = rng.uniform(0, 5, size=4), rng.uniform(0, 1, size=3)
    widths = rng.uniform(5, 50, size=3)
    values = basis.exponential_gaussians(distances, centers, widths)
    for i, d in enumerate(distances):
        for k, (mu, beta) in enumerate(zip(centers, widths)):
            assert values[i, k] == pytest.approx(np.exp(-beta * (np.exp(-d) - mu) ** 2), rel=1e-4)


def test_start_values():
    """PhysNet, text under eq. 7, for K = 64 and a cutoff of 10 Å: μ from e⁻¹⁰ to 1, β = (2/K(1−e⁻¹⁰))⁻²."""
    centers, width = basis.exponential_gaussian_start(64, 10.0)
    assert centers[0] == pytest.approx(4.539993e-5) and centers[-1] == 1.0
    np.testing.assert_allclose(np.diff(centers), (1 - 4.539993e-5) / 63)
    assert width == pytest.approx(1024.093, rel=1e-6)


def test_neighbouring_start_gaussians_overlap():
    """Between two centres the sum of the basis stays near its value at a centre: no blind distances."""
    centers, width = basis.exponential_gaussian_start(16, 5.0)
    distances = -np.log(np.linspace(centers[2], centers[-3], 200))
    total = np.asarray(basis.exponential_gaussians(distances, centers, np.full(16, width))).sum(axis=1)
    assert total.max() / total.min() < 1.1
