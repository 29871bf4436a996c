"""Newton's method within a trust radius, by products of the Hessian with vectors alone."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

__all__ = ["Minimum", "minimise", "solve_symmetric"]

FORCING = 0.01  # a step is solved to this residual, by the gradient
ROUNDING = 20.0  # times the spacing of two values: smaller changes of them say nothing
FIRST_RADIUS, LARGEST_RADIUS = 0.05, 0.2  # times the root of the number of coordinates


class Minimum(NamedTuple):
    """Where `minimise` stopped."""

    x: Any  # the shape of the start
    gradient: Any  # there
    n_steps: jax.Array  # () int


class _State(NamedTuple):
    """The best point so far, and the step that is tried from it."""

    x: jax.Array
    value: jax.Array  # infinite before the first
    gradient: jax.Array
    step: jax.Array
    predicted: jax.Array  # by how much the step lowers the value, were the function of second order
    radius: jax.Array
    count: jax.Array


class _Inner(NamedTuple):
    """Conjugate gradients: step z, H·z, residual, direction."""

    z: jax.Array
    hz: jax.Array
    residual: jax.Array
    direction: jax.Array
    count: jax.Array
    done: jax.Array


def minimise(value: Callable, start, measure: Callable, tolerance: float, max_steps: int) -> Minimum:
    """A minimum of a smooth function; pure JAX, for start values near one.

    Every step solves H·z = −g by conjugate gradients and ends them at the trust radius or along a direction
    of negative curvature (Steihaug 1983, doi:10.1137/0720042): the function never rises but by rounding. The
    loop holds one copy of the function, its gradient and their derivative, which is what compiling takes long
    for: a step that is taken back costs one more evaluation.

    Args:
        value: function (n, k) -> ().
        start: (n, k).
        measure: function of the gradient, what is compared with `tolerance`.
        tolerance: it is below this at the minimum.
        max_steps: evaluations after which it is given up.
    """
    spacing, most = jnp.finfo(start.dtype).eps, LARGEST_RADIUS * start.size**0.5

    def going(state: _State):
        reached = measure(state.gradient)
        return (state.count < max_steps) & (
            (state.count == 0) | (jnp.isfinite(reached) & (reached >= tolerance))
        )

    def step(state: _State) -> _State:
        tried = state.x + state.step
        (new, gradient), push = jax.linearize(jax.value_and_grad(value), tried)
        noise = ROUNDING * spacing * jnp.maximum(jnp.abs(new), 1.0)
        ratio = (state.value - new + noise) / (state.predicted + noise)
        good = jnp.isfinite(new) & (ratio > 0.1)
        length = jnp.linalg.norm(state.step)
        wider = jnp.where((ratio > 0.75) & (length > 0.8 * state.radius), 2.0 * state.radius, state.radius)
        radius = jnp.where(good, jnp.minimum(wider, most), 0.25 * length)
        z, hz = _steihaug(lambda v: push(v)[1], gradient, radius)
        predicted = -jnp.vdot(gradient, z) - 0.5 * jnp.vdot(z, hz)
        # From a point that is worse it goes back: the next evaluation is of the best one, for a shorter step.
        after = _State(tried, new, gradient, z, predicted, radius, state.count + 1)
        back = state._replace(
            value=jnp.full_like(new, jnp.inf), step=0.0 * z, radius=radius, count=state.count + 1
        )
        return jax.tree.map(lambda a, b: jnp.where(good, a, b).astype(b.dtype), after, back)

    # Nothing is known yet, and nothing will be where the function is not defined at the start.
    infinite, unknown = jnp.asarray(jnp.inf, start.dtype), jnp.full_like(start, jnp.inf)
    radius, zero = jnp.asarray(FIRST_RADIUS * start.size**0.5, start.dtype), jnp.zeros_like(start)
    first = _State(start, infinite, unknown, zero, jnp.zeros_like(radius), radius, jnp.zeros((), jnp.int32))
    last = jax.lax.while_loop(going, step, first)
    return Minimum(last.x, last.gradient, last.count)


def _steihaug(product: Callable, gradient, radius):
    """Step z within the radius that lowers g·z + z·H·z/2, and H·z."""
    limit = FORCING * jnp.linalg.norm(gradient)

    def going(inner: _Inner):
        return ~inner.done & (inner.count < 2 * gradient.size)

    def turn(inner: _Inner) -> _Inner:
        hd = product(inner.direction)
        curvature, square = jnp.vdot(inner.direction, hd), jnp.vdot(inner.residual, inner.residual)
        length = square / jnp.where(curvature > 0, curvature, 1.0)
        beyond = (curvature <= 0) | (jnp.linalg.norm(inner.z + length * inner.direction) >= radius)
        length = jnp.where(beyond, _to_boundary(inner.z, inner.direction, radius), length)
        z, hz = inner.z + length * inner.direction, inner.hz + length * hd
        residual = inner.residual + length * hd
        onwards = -residual + jnp.vdot(residual, residual) / square * inner.direction
        done = beyond | (jnp.linalg.norm(residual) <= limit)
        return _Inner(z, hz, residual, onwards, inner.count + 1, done)

    zero = jnp.zeros_like(gradient)
    start = _Inner(zero, zero, gradient, -gradient, jnp.zeros((), jnp.int32), limit == 0)
    last = jax.lax.while_loop(going, turn, start)
    return last.z, last.hz


def _to_boundary(z, direction, radius):
    """The positive τ with |z + τ·direction| = radius."""
    a, b = jnp.vdot(direction, direction), jnp.vdot(z, direction)
    c = jnp.vdot(z, z) - radius**2
    return (-b + jnp.sqrt(jnp.maximum(b**2 - a * c, 0.0))) / a


def solve_symmetric(product: Callable, right):
    """x with product(x) = right for a symmetric map, by conjugate gradients; with derivatives either way.

    NaN where they do not converge: the map has a direction without curvature, or of negative curvature.
    """
    tolerance = 0.1 * jnp.finfo(right.dtype).eps ** 0.5
    settings = {"tol": float(tolerance), "maxiter": 10 * right.size}

    def solve(product, right):
        found, _ = jax.scipy.sparse.linalg.cg(product, right, **settings)
        missing = jnp.linalg.norm(product(found) - right)
        return jnp.where(missing <= 100 * tolerance * jnp.linalg.norm(right), found, jnp.nan)

    return jax.lax.custom_linear_solve(product, right, solve, symmetric=True)
