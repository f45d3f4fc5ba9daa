"""Divided differences of matrix functions, and functions that are made of ``f`` and ``f'`` alone."""

import function_oracle
import mpmath
import numpy as np
import pytest
from function_oracle import FUNCTIONS

import specgrad
from specgrad import FromDerivative, Shifted, vjp
from specgrad.bounded_functions import Cos, Sin
from specgrad.functions import Exp, InverseSqrt, Log, Power, Sqrt
from specgrad.testing import SPECTRA, Spectrum

TIES = tuple(s for s in SPECTRA if s.name in ("exact pair", "exact triple", "pair up to rounding"))


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
def test_divided_differences_are_symmetric_and_reach_their_limits(backend, function):
    x = backend.array(np.array([0.3, 1.0, 1.0, 2.0]))
    y = backend.array(np.array([0.3, 1.0 + 1e-15, 1e-9, 5.0]))
    forward = backend.numpy(function.divided_difference(x, y))
    np.testing.assert_allclose(forward, backend.numpy(function.divided_difference(y, x)), rtol=1e-14)
    quotient = (backend.numpy(function(x)) - backend.numpy(function(y)))[2:] / np.array([1.0 - 1e-9, -3.0])
    np.testing.assert_allclose(forward[2:], quotient, rtol=1e-9)
    step = 1e-5 * np.array([0.3, 1.0])
    ends = [backend.array(np.array([0.3, 1.0]) + sign * step) for sign in (1, -1)]
    slope = (backend.numpy(function(ends[0])) - backend.numpy(function(ends[1]))) / (2 * step)
    np.testing.assert_allclose(forward[:2], slope, rtol=1e-8)


@pytest.mark.parametrize("function", [*FUNCTIONS[:6], Power(-1), Log()], ids=repr)
@pytest.mark.parametrize(("precision", "sizes"), [("float32", (1e12, 1e-12)), ("float64", (1e60, 1e-60))])
def test_divided_differences_do_not_leave_the_exponent_range(backend, function, precision, sizes):
    ratios = np.array([[1.0, 1.0, 1.0], [1.0, 1.0 + 1e-6, 1.0], [2.0, 1.0, 1.0], [1e-2, 1.0, 2.0]])
    tolerance = 100 * float(np.finfo(precision).eps)
    for size in sizes:
        points = (size * ratios).astype(precision)
        columns = [backend.array(points[:, k]) for k in range(3)]
        first = backend.numpy(function.divided_difference(*columns[:2]))
        second = backend.numpy(function.second_divided_difference(*columns))
        for k, row in enumerate(points):
            assert first[k] == pytest.approx(oracle(function, row[:2]), rel=tolerance, abs=0), row
            assert second[k] == pytest.approx(oracle(function, row), rel=tolerance, abs=0), row


def test_second_differences_of_logarithms_need_no_square_in_range(backend):
    u = backend.array(np.array([9e-20, 1e-10], dtype="float32"))
    found = backend.numpy(Log().second_divided_difference(u, u, u))
    np.testing.assert_allclose(found, -0.5 / backend.numpy(u).astype(float) ** 2, rtol=1e-6)


@pytest.mark.parametrize(("precision", "points"), [("float32", (1e-30, 1e10)), ("float64", (1e-300, 1e10))])
def test_logarithms_have_differences_where_a_ratio_leaves_the_exponent_range(backend, precision, points):
    for row in (points, points[::-1]):
        found = Log().divided_difference(*(backend.array(np.array([x], dtype=precision)) for x in row))
        low, high = (mpmath.mpf(float(x)) for x in np.sort(np.array(row, dtype=precision)))
        expected = float(mpmath.log(high / low) / (high - low))
        assert backend.numpy(found)[0] == pytest.approx(
            expected, rel=4 * float(np.finfo(precision).eps), abs=0
        )


SCALARS = {
    Sqrt(): mpmath.sqrt,
    InverseSqrt(): lambda u: 1 / mpmath.sqrt(u),
    Log(): mpmath.log,
    Exp(): mpmath.exp,
    Cos(): mpmath.cos,
    Sin(): mpmath.sin,
}


def oracle(function, points):
    scalar = SCALARS.get(function) or (lambda u: u ** mpmath.mpf(function.exponent))
    return function_oracle.divided_difference(scalar, points)


@pytest.mark.parametrize("exponent", [-1.5, 0.3, 1.5, 2.5, 10.5])
@pytest.mark.parametrize("points", [(1e-20, 1.0), (1e-3, 1e3), (1.0, 7.0), (1.0, 1.0001)], ids=str)
def test_powers_have_exact_differences_at_every_ratio(backend, exponent, points):
    for row in (points, points[::-1]):
        found = Power(exponent).divided_difference(*(backend.array(np.array([x])) for x in row))
        assert backend.numpy(found)[0] == pytest.approx(oracle(Power(exponent), row), rel=2e-14, abs=0)


def test_a_shifted_function_has_shifted_differences(backend):
    x, y, z = (backend.array(np.array([u])) for u in (1.0, 1.5, 3.0))
    one, two, five = x + 2.0, y + 2.0, z + 2.0
    shifted, plain = Shifted(Log(), 2.0), Log()
    for found, expected in (
        (shifted.divided_difference(x, z), plain.divided_difference(one, five)),
        (shifted.second_divided_difference(x, y, z), plain.second_divided_difference(one, two, five)),
    ):
        np.testing.assert_array_equal(backend.numpy(found), backend.numpy(expected))


@pytest.mark.parametrize(
    "function", [Log(), Exp(), Cos(), Sin(), *map(Power, (-20.5, -4.5, -0.5, 0.3, 1.5, 9.5))], ids=repr
)
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_second_differences_lose_no_digit_as_far_as_the_series_goes(backend, function, precision):
    # It goes as far as a quarter, and for large powers 1/|p|. The rounding of the mean costs |p| roundings.
    power = abs(getattr(function, "exponent", 0.0))
    shares = np.array([[0, 0, 1], [0, 1, 1], [0, 0.3, 1], [0, 1e-3, 2e-3], [0, 0, 1e-5]])
    points = (1 + 0.999 * min(0.25, 1 / max(power, 1)) * shares).astype(precision)
    allowed = (4 + power) * float(np.finfo(precision).eps)
    found = function.second_divided_difference(*map(backend.array, points.T))
    for value, row in zip(backend.numpy(found), points, strict=True):
        assert value == pytest.approx(oracle(function, row), rel=allowed, abs=0), row


@pytest.mark.parametrize("exponent", [-300.5, -20.5, -8.5, 8.5, 50.5, 100.5])
@pytest.mark.parametrize("spread", [1e-3, 0.02, 0.1, 0.25, 0.3])
def test_large_powers_have_exact_second_differences_close_by_and_farther_away(backend, exponent, spread):
    points = np.array([[1.0, 1.0 + spread, 1.0 + spread], [1.0, 1.0, 1.0 + spread]])
    function = Power(exponent)
    found = function.second_divided_difference(*(backend.array(points[:, k]) for k in range(3)))
    for row, second in zip(points, backend.numpy(found), strict=True):
        assert second == pytest.approx(oracle(function, row), rel=1e-12, abs=0), row


@pytest.mark.parametrize("exponent", [-3, -2, -1, 0, 1, 2, 3, 4, 7, 20])
def test_integer_powers_have_exact_differences_at_negative_and_indefinite_arguments(backend, exponent):
    """Relative to the same sum of magnitudes where the terms of the sum have both signs."""
    points = np.array(
        [
            [-1.0, -1.0, -1.0],
            [-2.0, -1.9999999, -2.0],
            [-1.0, -1.0, 2.0],
            [2.0, 2.0, -1.999],
            [1.0, -0.999, 0.999],
            [-3.0, 0.5, 3e-4],
        ]
    )
    columns = [backend.array(points[:, k]) for k in range(3)]
    function = Power(exponent)
    first = backend.numpy(function.divided_difference(*columns[:2]))
    second = backend.numpy(function.second_divided_difference(*columns))
    for measured, order in ((first, 2), (second, 3)):
        for value, row in zip(measured, points[:, :order], strict=True):
            expected, size = oracle(function, row), abs(oracle(function, np.abs(row)))
            assert value == pytest.approx(expected, rel=0, abs=2e-15 * size + 1e-30), row


def test_even_powers_do_not_cancel_at_opposite_signs(backend):
    """Where ``x^19 + x^18 y + ... + y^19``, term by term, loses two digits."""
    x, y = 1.0, -0.999
    measured = backend.numpy(Power(20).divided_difference(*(backend.array(np.array([u])) for u in (x, y))))
    assert measured[0] == pytest.approx(oracle(Power(20), (x, y)), rel=1e-15)


def test_a_power_is_silent_where_one_argument_is_nothing_beside_the_other(backend):
    x, y = (backend.array(np.array(u)) for u in ((1e-30, 1.0), (1.0, 2.0)))
    measured = backend.numpy(Power(1.7).divided_difference(x, y))
    np.testing.assert_allclose(measured, [1.0, oracle(Power(1.7), (1.0, 2.0))], rtol=1e-14)


def test_a_function_from_its_derivative_is_safe_near_ties(backend):
    """Cubes, where the exact divided difference is a sum."""
    cube = FromDerivative(lambda x: x**3, lambda x: 3 * x**2)
    x = np.array([1.0, 1.0, 1.0, 1.0, -2.0])
    y = x + np.array([0.0, 1e-14, 1e-6, 0.2, 3.0])
    measured = backend.numpy(cube.divided_difference(backend.array(x), backend.array(y)))
    np.testing.assert_allclose(measured, x**2 + x * y + y**2, rtol=1e-14)


def test_a_derivative_that_is_infinite_between_opposite_arguments_confirms_nothing(backend):
    """As for the eigenvalues of a chiral Hamiltonian, which come in pairs of opposite sign."""
    reciprocal = FromDerivative(lambda x: 1 / x, lambda x: -1 / (x * x))
    root = FromDerivative(
        lambda x: backend.xp.sign(x) * backend.xp.sqrt(backend.xp.abs(x)),
        lambda x: 0.5 / backend.xp.sqrt(backend.xp.abs(x)),
    )
    x = backend.array(np.array([-2.0, 4.0]))
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(backend.numpy(reciprocal.divided_difference(x, -x)), [0.25, 0.0625])
        np.testing.assert_array_equal(
            backend.numpy(root.divided_difference(x, -x)), backend.numpy(root(x) / x)
        )


def own_functions(xp):
    """``f`` and ``f'`` for a backend, ``f`` for the oracle, and pairs of arguments."""
    near_zero = [(0.0, 1e-9), (0.0, 1e-12), (1e-17, -2e-17), (0.0, 0.3), (0.0, 4.0), (-1.0, 1.0)]
    far = [(100.0, 110.0), (100.0, 120.0), (100.0, 100.25), (100.0, 100.0 + 2**-15)]
    pole = [(0.9, 0.99), (0.99, 0.999), (0.9, 0.999), (0.5, 0.5 + 1e-6), (0.0, 0.9)]
    quick = [(4.0, 4.5), (4.5, 5.0), (4.0, 5.0), (4.0, 4.0 + 2**-20)]
    kink = [(-0.01, 1.0), (-1e-5, 1.0), (1.0, 2.0), (-1.0, 1.0)]
    # Between all points of the quadrature, so that it sees a constant.
    step = [(-1.0, 1.3), (0.1, 97.0), (-3.0, 1.0), (0.1, 0.1 + 1e-6)]
    return {
        "exp": (FromDerivative(xp.exp, xp.exp), mpmath.exp, near_zero),
        "sin far away": (FromDerivative(xp.sin, xp.cos), mpmath.sin, far),
        "pole at 1": (
            FromDerivative(lambda x: 1 / (1 - x), lambda x: 1 / ((1 - x) * (1 - x))),
            lambda x: 1 / (1 - x),
            pole,
        ),
        "sin(10 x)": (
            FromDerivative(lambda x: xp.sin(10 * x), lambda x: 10 * xp.cos(10 * x)),
            lambda x: mpmath.sin(10 * x),
            quick,
        ),
        "kink at 0": (FromDerivative(xp.abs, xp.sign), abs, kink),
        "narrow step": (
            FromDerivative(
                lambda x: xp.tanh(500 * (x - 0.1)), lambda x: 500 * (1 - xp.tanh(500 * (x - 0.1)) ** 2)
            ),
            lambda x: mpmath.tanh(500 * (x - mpmath.mpf(0.1))),
            step,
        ),
    }


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize(
    "name", ["exp", "sin far away", "pole at 1", "sin(10 x)", "kink at 0", "narrow step"]
)
def test_a_function_from_its_derivative_needs_no_singularity_at_zero(backend, name, precision):
    """As good as the difference quotient where arguments are apart, good to rounding where they are close."""
    function, scalar, pairs = own_functions(backend.xp)[name]
    pairs = np.array(pairs, dtype=precision)
    x, y = (backend.array(pairs[:, k]) for k in range(2))
    measured = backend.numpy(function.divided_difference(x, y))
    unit = float(np.finfo(precision).eps)
    for value, (a, b) in zip(measured, pairs.tolist(), strict=True):
        expected = function_oracle.divided_difference(scalar, (a, b))
        uncertain = float(abs(scalar(a)) + abs(scalar(b))) + abs(expected) * (abs(a) + abs(b))
        of_quotient, of_arguments = 4 * uncertain / abs(a - b), 100 * max(1.0, abs(a), abs(b))
        allowed = unit * min(of_quotient, of_arguments)
        assert value == pytest.approx(expected, rel=8 * unit, abs=allowed), (a, b)


LOW_RANK = Spectrum("rank two", lambda n, precision, generator: np.array([0.0] * (n - 2) + [0.5, 3.0]))


@pytest.mark.parametrize("spectrum", [LOW_RANK, *TIES], ids=str)
def test_gradient_of_a_function_from_its_derivative(backend, dtype, spectrum):
    a, e, expected = function_oracle.frechet("expm", spectrum, 4, dtype)
    exponential = FromDerivative(backend.xp.exp, backend.xp.exp)
    _, pullback = vjp(specgrad.matrix_function, backend.array(a), exponential)
    (gradient,) = pullback(backend.array(e))
    error = np.linalg.norm(backend.numpy(gradient) - expected) / np.linalg.norm(expected)
    assert error <= 64 * np.finfo(dtype).eps
