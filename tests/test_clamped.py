"""A function with its small eigenvalues raised to a minimum: ReEig, and logarithms of singular matrices."""

import function_oracle
import mpmath
import numpy as np
import pytest
from function_oracle import FUNCTIONS

from specgrad import Clamped, DaleckiiKrein, Exp, Log, Power, Shifted, Sqrt, jvp, matrix_function, vjp
from specgrad.bind import Evaluate
from specgrad.primitives import Frechet
from specgrad.testing import check_function, dense, random_hermitian

MINIMUM = 0.5
POINTS = np.array([-1.0, -1.0, 0.4999999999, 0.5, 0.5 + 2**-40, 0.75, 0.75, 3.0])
RECTIFIERS = [Clamped(Power(1), MINIMUM), Clamped(Log(), MINIMUM), Clamped(Power(-0.25), MINIMUM)]
SCALARS = {Power(1): lambda u: u, Log(): mpmath.log, Power(-0.25): lambda u: u ** mpmath.mpf(-0.25)}


def oracle(function, points):
    return function_oracle.divided_difference(
        lambda u: SCALARS[function.function](max(u, mpmath.mpf(MINIMUM))), points
    )


@pytest.mark.parametrize("function", RECTIFIERS, ids=repr)
def test_divided_differences_are_exact_on_either_side_and_across(backend, function):
    pairs, triples = (POINTS[np.array(list(np.ndindex((len(POINTS),) * order)))] for order in (2, 3))
    found = backend.numpy(function.divided_difference(*map(backend.array, pairs.T)))
    for row, value in zip(pairs, found, strict=True):
        assert value == pytest.approx(oracle(function, row), rel=1e-13, abs=1e-30), row
    found = backend.numpy(function.second_divided_difference(*map(backend.array, triples.T)))
    for row, value in zip(triples, found, strict=True):
        spread = max(row) - min(row) if min(row) < MINIMUM <= max(row) else 1.0
        assert value == pytest.approx(oracle(function, row), rel=1e-13, abs=4e-16 / spread), row


@pytest.mark.parametrize("inner", [f for f in FUNCTIONS if f != Sqrt()], ids=repr)
def test_each_function_can_be_clamped(inner):
    # Points on either side, none so close to the minimum that quotients of the kit would reach across.
    check_function(Clamped(inner, MINIMUM), np, points=(0.2, 0.7, 1.0, 3.0), dtypes=["float64"])


@pytest.mark.parametrize("function", RECTIFIERS, ids=repr)
@pytest.mark.parametrize(
    "values", [(-1.0, -1.0, 0.1, 0.9, 2.0, 2.0), (-2.0, -1.0, -1.0, 0.0, 0.1, 0.2)], ids=["across", "below"]
)
def test_derivatives_of_an_indefinite_matrix_match_finite_differences(backend, double, function, values):
    generator = np.random.default_rng(0)
    a = dense(np.array(values), double, generator)
    direction, cotangent = (random_hermitian(6, double, generator) for _ in range(2))

    def image(step):
        return backend.numpy(matrix_function(backend.array(a + step * direction), function))

    slope = (image(1e-6) - image(-1e-6)) / 2e-6
    _, tangent = jvp(matrix_function, (backend.array(a),), (backend.array(direction),), function=function)
    np.testing.assert_allclose(backend.numpy(tangent), slope, atol=1e-8)
    _, pullback = vjp(matrix_function, backend.array(a), function)
    gradient = backend.numpy(pullback(backend.array(cotangent))[0])
    assert np.vdot(gradient, direction).real == pytest.approx(np.vdot(cotangent, slope).real, abs=1e-8)


def test_second_derivatives_across_the_minimum_match_finite_differences(backend, double):
    generator, function = np.random.default_rng(1), Clamped(Log(), MINIMUM)
    a = dense(np.array([-1.0, -1.0, 0.9, 0.9]), double, generator)
    direction, cotangent = (random_hermitian(4, double, generator) for _ in range(2))

    def gradient(step):
        _, pullback = vjp(matrix_function, backend.array(a + step * direction), function)
        return backend.numpy(pullback(backend.array(cotangent))[0])

    operation = Frechet(function=function, rule=DaleckiiKrein())
    arrays = tuple(map(backend.array, (a, *np.linalg.eigh(a), cotangent)))
    zeros = [backend.array(np.zeros_like(backend.numpy(x))) for x in arrays[1:]]
    tangents = (backend.array(direction), *zeros)
    (second,) = operation.jvp(Evaluate(), arrays, operation.forward(*arrays), tangents)
    expected = (gradient(1e-5) - gradient(-1e-5)) / 2e-5
    np.testing.assert_allclose(backend.numpy(second), expected, atol=1e-8)


def test_a_difference_beyond_the_range_of_numbers_counts(backend):
    x, y = backend.array(np.array([-1.6e308])), backend.array(np.array([1.6e308]))
    assert backend.numpy(RECTIFIERS[0].divided_difference(x, y))[0] == pytest.approx(0.5, rel=1e-15)


def test_a_matrix_of_nan_stays_nan(backend):
    a = np.stack([np.eye(2), np.full((2, 2), np.nan)])
    found = backend.numpy(matrix_function(backend.array(a), RECTIFIERS[1], check_finite=False))
    np.testing.assert_array_equal(np.isnan(found), np.isnan(a))


@pytest.mark.parametrize(
    ("function", "minimum", "message"),
    [
        (Log(), 0.0, r"a finite number above 0, where Log\(\) is defined, for minimum, not 0.0"),
        (Power(-1), -1.0, r"above 0, where Power\(exponent=-1\) is defined, for minimum, not -1.0"),
        (Sqrt(), -1e-3, "at least 0, where"),
        (Power(2), np.inf, "a finite number for minimum, not inf"),
    ],
)
def test_the_minimum_lies_where_the_function_is_defined(function, minimum, message):
    with pytest.raises(ValueError, match=message):
        Clamped(function, minimum)


def test_a_number_is_no_function():
    with pytest.raises(TypeError, match=r"function is 0\.5, and a value with a method divided_difference"):
        Clamped(0.5, 0.5)


def test_the_minimum_of_a_root_may_be_zero(backend):
    a = backend.array(np.diag([-1.0, 4.0]))
    root = backend.numpy(matrix_function(a, Clamped(Sqrt(), 0.0)))
    np.testing.assert_array_equal(root, np.diag([0.0, 2.0]))


@pytest.mark.parametrize("minimum", [0.0, 0.5])
def test_rounding_does_not_decide_on_which_side_of_the_minimum_an_eigenvalue_is(backend, double, minimum):
    generator, function = np.random.default_rng(2), Clamped(Power(1), minimum)
    for _ in range(4):
        a = dense(np.array([minimum, minimum, minimum, 2.0, 2.0, 3.0]), double, generator)
        _, pullback = vjp(matrix_function, backend.array(a), function)
        cotangent = random_hermitian(6, double, generator)
        found = backend.numpy(pullback(backend.array(cotangent))[0])
        np.testing.assert_allclose(found, cotangent, atol=1e-14)


def test_eigenvalues_above_the_minimum_are_themselves_however_close(backend):
    # Within the rounding of the largest, which moves those below it alone.
    values = np.array([3e-14, 2e-13, 1000.0])
    found = backend.numpy(matrix_function(backend.array(np.diag(values)), Clamped(Log(), 1e-20)))
    np.testing.assert_allclose(np.diag(found), np.log(values), rtol=1e-14)


def test_what_is_clamped_can_be_clamped_again(backend, double):
    a = dense(np.array([0.5, 0.5, 0.5, 2.0]), double, np.random.default_rng(0))
    cotangent = random_hermitian(4, double, np.random.default_rng(1))
    image, pullback = vjp(matrix_function, backend.array(a), Clamped(Clamped(Power(1), 0.5), -1.0))
    np.testing.assert_allclose(backend.numpy(image), a, atol=1e-15)
    np.testing.assert_allclose(backend.numpy(pullback(backend.array(cotangent))[0]), cotangent, atol=1e-14)


@pytest.mark.parametrize("function", [Clamped(Exp(), 709.0), Clamped(Shifted(Sqrt(), -1e20), 1e20)], ids=repr)
def test_what_is_not_used_is_asked_for_where_it_is_finite(backend, function):
    x, y = (backend.array(np.array([point])) for point in (function.minimum - 1e6, function.minimum - 2e6))
    assert backend.numpy(function.divided_difference(x, y))[0] == 0


def test_below_the_minimum_the_slope_there_is_not_asked_for(backend):
    # That of a root is infinite at 0: asking for it would warn, and 0 times it is no number.
    x, y, z = (backend.array(np.array(points)) for points in ([-1.0, -1, -1], [-2.0, 0, 4], [-3.0, 4, 4]))
    function = Clamped(Sqrt(), 0.0)
    np.testing.assert_array_equal(backend.numpy(function.divided_difference(x, y)), [0.0, 0.0, 0.4])
    second = backend.numpy(function.second_divided_difference(x, y, z))
    np.testing.assert_allclose(second, [0.0, 0.1, (0.25 - 0.4) / 5], rtol=1e-15)
