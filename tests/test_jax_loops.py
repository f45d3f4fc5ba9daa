"""Derivatives of loops of JAX, which take functions apart, are those of the function alone."""

import functools
from dataclasses import dataclass

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed")

import jax.numpy as jnp  # noqa: E402

import specgrad_jax  # noqa: E402
from specgrad import FromDerivative, MaxRank  # noqa: E402

TIED = np.diag([1.0, 1.0, 2.0])
DIRECTION = np.array([[0.3, 1.0, 0.2], [1.0, -0.2, 0.5], [0.2, 0.5, 0.1]])
SINE = FromDerivative(jnp.sin, jnp.cos)


def slow(rate):
    return FromDerivative(lambda x: jnp.sin(rate * x), lambda x: rate * jnp.cos(rate * x))


def slow_by_default(rate):
    return FromDerivative(lambda x, r=rate: jnp.sin(r * x), lambda x, r=rate: r * jnp.cos(r * x))


def slow_by_keyword(rate):
    return FromDerivative(lambda x, *, r=rate: jnp.sin(r * x), lambda x, *, r=rate: r * jnp.cos(r * x))


def slow_by_wrapper(rate):
    def sine(x):
        return jnp.sin(rate * x)

    def cosine(x):
        return rate * jnp.cos(rate * x)

    return FromDerivative(functools.wraps(jnp.sin)(sine), functools.wraps(jnp.cos)(cosine))


@dataclass(frozen=True)
class Quadratic:
    coefficients: tuple[float, float]

    def __call__(self, values):
        return self.divided_difference(values, jnp.zeros_like(values)) * values

    def divided_difference(self, x, y):
        return self.coefficients[0] + self.coefficients[1] * (x + y)


FUNCTIONS = {
    "expm": specgrad_jax.expm,
    "of a dataclass with a tuple": lambda a: specgrad_jax.matrix_function(a, Quadratic((0.5, 2.0))),
    "of callables": lambda a: specgrad_jax.matrix_function(a, SINE),
    "of callables with a number": lambda a: specgrad_jax.matrix_function(a, slow(0.5)),
    "of callables with a number of NumPy": lambda a: specgrad_jax.matrix_function(a, slow(np.float64(0.5))),
    "a projector": lambda a: specgrad_jax.spectral_projector(a, MaxRank(1)),
}
LOOPS = {
    "map": lambda f: lambda s: jax.lax.map(f, s[None])[0],
    "scan": lambda f: lambda s: jax.lax.scan(lambda c, k: (c + k * f(s), None), 0.0, jnp.ones(1))[0],
}
ORDERS = {
    "forward over reverse": lambda f: jax.jvp(jax.grad(f), (0.0,), (1.0,))[1],
    "reverse over reverse": lambda f: jax.grad(jax.grad(f))(0.0),
    "reverse over forward": lambda f: jax.grad(lambda s: jax.jvp(f, (s,), (1.0,))[1])(0.0),
}


@pytest.fixture(autouse=True)
def double_precision():
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", True)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives_at_a_tie(name, loop, order):
    def alone(s):
        return jnp.sum(FUNCTIONS[name](TIED + s * DIRECTION) ** 3)

    step = 1e-5
    slopes = [jax.grad(alone)(sign * step) for sign in (1.0, -1.0)]
    expected = float(slopes[0] - slopes[1]) / (2 * step)
    assert float(ORDERS[order](LOOPS[loop](alone))) == pytest.approx(expected, rel=1e-7, abs=1e-7)


@pytest.mark.parametrize(
    "transform", [jax.jit, lambda f: lambda a, rate: jax.vmap(f, (None, 0))(a, rate[None])[0]]
)
@pytest.mark.parametrize("make", [slow, slow_by_default, slow_by_keyword, slow_by_wrapper])
def test_a_function_may_close_over_a_number_that_is_traced(make, transform):
    def loss(a, rate):
        return jnp.sum(specgrad_jax.matrix_function(a, make(rate)) * DIRECTION)

    expected = jax.grad(loss)(TIED, 0.5)
    np.testing.assert_allclose(transform(jax.grad(loss))(TIED, jnp.asarray(0.5)), expected, atol=1e-12)


def test_a_function_may_close_over_arrays():
    """With a rank among the outputs, which has no tangent."""

    def loss(rate):
        function = slow(rate)
        return lambda a: jnp.sum(specgrad_jax.matrix_function(a, function, truncation=MaxRank(2)) ** 3)

    a = TIED + 0.1 * DIRECTION
    for derivative in (jax.grad, jax.hessian):
        found, expected = (derivative(loss(rate))(a) for rate in (jnp.asarray(0.5), 0.5))
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_directions_along_the_last_axis_of_a_matrix_that_all_share():
    def along(direction):
        def loss(a):
            return jnp.sum(DIRECTION * specgrad_jax.inv_sqrtm(a))

        return jax.jvp(loss, (jnp.asarray(TIED),), (direction,))[1]

    found = jax.vmap(along, in_axes=2)(jnp.stack([DIRECTION, 2 * DIRECTION], -1))
    np.testing.assert_allclose(found, along(jnp.asarray(DIRECTION)) * np.array([1.0, 2.0]), atol=1e-12)


def test_data_and_scales_under_two_vmaps():
    data = np.random.default_rng(0).standard_normal((2, 3, 4, 9))
    scales = 1 + np.arange(24.0).reshape(2, 3, 4) / 24

    def loss(x, scale):
        result = specgrad_jax.zca_whiten(x, scale, 0 * scale, eps=0.1, truncation=None)
        return jnp.sum(jnp.sin(result.whitened))

    gradient = jax.grad(loss, 1)
    each = [
        [gradient(*map(jnp.asarray, pair)) for pair in zip(*pairs, strict=True)]
        for pairs in zip(data, scales, strict=True)
    ]
    np.testing.assert_allclose(jax.vmap(jax.vmap(gradient))(data, scales), each, atol=1e-11)
