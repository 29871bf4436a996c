"""Eq. 5 in its regular range, and what has to hold outside of it for every parameter value."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jphys.models import pair_energy as pairs

SHORT = np.concatenate([np.arange(0.05, 0.5, 0.01), np.arange(0.5, 6.0, 0.1)]).astype(np.float32)


@pytest.fixture
def regular(rng):
    """Parameters and distances well away from every continuation: d > 0.7 Å and β3·ln(β4/d) < 2.5."""
    k = 200
    beta = np.stack(
        [
            rng.normal(scale=5.0, size=k),
            rng.uniform(0.0, 2.0, k),
            rng.uniform(0.0, 3.0, k),
            rng.uniform(0.1, 11.0, k),
            rng.uniform(0.3, 4.0, k),
        ]
    )
    shortest = np.maximum(0.71, beta[4] * np.exp(-2.4 / beta[3]))
    return beta, shortest + rng.uniform(0.0, 3.0, k)


def test_literal_equation_5(x64, regular):
    (b0, b1, b2, b3, b4), d = regular
    expected = -b1 * b0 / d + b2 * ((b4 / d) ** (2 * b3) - 2 * (b4 / d) ** b3)
    found = pairs.pair_energy(d, pairs.PairParameters(b0, b1, b2, b3, b4))
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-12)


def test_the_well_is_where_and_as_deep_as_its_parameters_say(x64):
    """Minimum −β2 at d = β4 with curvature 2β2β3²/β4², by hand from eq. 5."""

    def well(d):
        return pairs.lennard_jones(d, 0.7, 6.0, 1.9)

    assert float(well(1.9)) == pytest.approx(-0.7)
    assert float(jax.grad(well)(1.9)) == pytest.approx(0.0, abs=1e-12)
    assert float(jax.grad(jax.grad(well))(1.9)) == pytest.approx(2 * 0.7 * 36 / 1.9**2)


def test_an_exponent_of_zero_switches_lennard_jones_off(x64):
    """(β4/d)⁰ = 1: −β2 at every distance, no force."""
    slope = jax.grad(pairs.lennard_jones)(1.0, 0.7, 1e-12, 1.9)
    assert abs(float(slope)) < 1e-10


@pytest.mark.parametrize(
    "function, joint",
    [
        (lambda d: pairs.lennard_jones(d, 0.4, 6.0, 1.5), 1.5 * np.exp(-pairs.STEEP / 6.0)),
        (lambda d: pairs.coulomb(d, 3.0, 0.8), pairs.NEAR),
        (lambda d: pairs.coulomb(d, -3.0, 0.8), pairs.NEAR),
        (
            lambda d: pairs.nuclear_repulsion(jnp.asarray(d), jnp.array(6), jnp.array(8)),
            pairs.REPULSION_REACH * (0.76 + 0.66),
        ),
    ],
    ids=["wall", "attraction", "repulsion", "nuclei"],
)
def test_continuations_are_smooth(x64, function, joint):
    """Value and slope of both sides meet, by finite differences that stay on one side each."""
    h = 1e-6
    v = [float(function(joint + k * h)) for k in (-2, -1, 0, 1, 2)]
    left, right = (3 * v[2] - 4 * v[1] + v[0]) / (2 * h), (-3 * v[2] + 4 * v[3] - v[4]) / (2 * h)
    scale = max(abs(left), 1.0)
    assert abs(v[1] - v[3]) < 3 * h * scale
    assert left == pytest.approx(right, rel=1e-4, abs=1e-4)
    assert float(jax.grad(function)(joint - 1e-3)) == pytest.approx(left, rel=0.05, abs=1e-4)


def test_nuclear_repulsion_formula(x64):
    """Ziegler-Biersack-Littmark with e²/(4πε₀) = 14.39964 eV·Å, faded out by (1 − d/r)³."""
    d, z_a, z_b, reach = 0.45, 7, 9, 0.7 * (0.71 + 0.57)
    x = d / (0.88534 * 0.529177 / (7**0.23 + 9**0.23))
    screening = sum(
        c * np.exp(-b * x)
        for c, b in ((0.18175, 3.1998), (0.50986, 0.94229), (0.28022, 0.4029), (0.028171, 0.20162))
    )
    expected = 14.39964 * z_a * z_b / d * screening * (1 - d / reach) ** 3
    found = pairs.nuclear_repulsion(jnp.array([d, reach + 0.01]), jnp.array([z_a] * 2), jnp.array([z_b] * 2))
    np.testing.assert_allclose(found, [expected, 0.0], rtol=1e-5)


def test_ranges_of_the_parameters():
    raw = np.array(list(itertools.product((-30.0, -1.0, 0.0, 1.0, 30.0), repeat=5)), np.float32)
    found = pairs.from_raw(jnp.asarray(raw))
    np.testing.assert_array_equal(found.charge, raw[:, 0])
    assert np.all(found.coulomb >= 0) and np.all(found.depth >= 0) and np.all(found.distance > 0)
    assert np.all(found.exponent > 0) and np.all(found.exponent <= pairs.MAX_EXPONENT)
    start = pairs.from_raw(jnp.zeros(5))
    np.testing.assert_allclose(start[2:], [0.05, 4.0, 1.2], rtol=0.03)
    assert start.charge == 0


@pytest.fixture(scope="module")
def extremes():
    """Raw regressor outputs at the ends of what it can give and in between; their energies and slopes."""
    between = np.random.default_rng(0).uniform(-30, 30, (200, 5))
    grids = [np.array(list(itertools.product(v, repeat=5))) for v in ((-30, 0, 30), (-3, 0, 3))]
    raw = np.concatenate([*grids, between]).astype(np.float32)
    one = jax.value_and_grad(lambda d, r: pairs.pair_energy(d, pairs.from_raw(r)), argnums=(0, 1))
    values, (slopes, gradients) = jax.jit(jax.vmap(jax.vmap(one, (0, None)), (None, 0)))(SHORT, raw)
    assert values.dtype == jnp.float32
    return raw, np.asarray(values), np.asarray(slopes), np.asarray(gradients)


def test_every_output_of_the_regressor_is_finite(extremes):
    """Energies, forces and the gradients that train the regressor, in float32, from 0.05 Å on."""
    _, values, slopes, gradients = extremes
    assert np.isfinite(values).all() and np.isfinite(slopes).all() and np.isfinite(gradients).all()


def test_every_output_of_the_regressor_repels_below_half_an_angstrom(extremes):
    raw, _, slopes, _ = extremes
    attracting = (slopes[:, SHORT < 0.495] > 0).any(axis=1)
    assert raw[attracting].tolist() == []


def test_coulomb_never_makes_atoms_collapse(x64):
    """Turns over at 0.525 Å = NEAR − NEAR/4 by hand; nothing attracts below it, whatever the charge."""
    slope = jax.vmap(jax.vmap(jax.grad(pairs.coulomb), (0, None, None)), (None, 0, None))
    charges = jnp.array([-900.0, 0.0, 1e-3, 900.0])
    assert np.all(np.asarray(slope(jnp.arange(0.05, 0.525, 0.01), charges, 1.0)) <= 0)
    assert float(jax.grad(lambda d: pairs.coulomb(d, 5.0, 1.0))(0.525)) == pytest.approx(0.0, abs=1e-9)
