"""Matrix functions: values, derivatives at every gap, truncations, domains."""

import re

import function_oracle
import mpmath
import numpy as np
import pytest

import specgrad
from specgrad import (
    DaleckiiKrein,
    EigenvalueFloor,
    ExactGap,
    FromDerivative,
    MaskedGap,
    MaxRank,
    PowerIterationGap,
    ThroughEigenvectors,
    jvp,
    vjp,
)
from specgrad.bind import Evaluate
from specgrad.functions import Exp, InverseSqrt, Log, One, Power, Sqrt
from specgrad.primitives import Frechet
from specgrad.testing import GAP_SWEEP, SPECTRA, Spectrum, random_unitary

N = 3
TIES = tuple(s for s in SPECTRA if s.name in ("exact pair", "exact triple", "pair up to rounding"))
CONDITIONED = tuple(
    Spectrum(f"smallest {low:.0e}", lambda n, precision, generator, low=low: np.geomspace(1, low, n))
    for low in (1e-3, 1e-7)
)
GAPS = GAP_SWEEP[::2] + GAP_SWEEP[-1:]  # 1e-1, 1e-3, 1e-9, 1e-14, 0
FUNCTIONS = (Sqrt(), InverseSqrt(), Power(0.3), Power(1.7), Power(-0.5), Power(3), Power(-2), Log(), Exp())


def named(function):
    return getattr(specgrad, function)


def allowed(dtype, condition):
    single = np.finfo(dtype).eps > 1e-10
    return max(1e-5 if single else 1e-12, 64 * float(np.finfo(dtype).eps) * condition)


@pytest.mark.parametrize("spectrum", [*GAPS, *TIES, *CONDITIONED], ids=str)
@pytest.mark.parametrize("function", ["sqrtm", "inv_sqrtm", "expm"])
def test_gradient_has_the_accuracy_of_the_problem_at_every_gap(backend, dtype, function, spectrum):
    condition = spectrum.eigenvalues(N, dtype)[-1] / spectrum.eigenvalues(N, dtype)[0]
    if condition * np.finfo(dtype).eps > 1e-2:
        pytest.skip("singular in this precision")
    a, e, expected = function_oracle.frechet(function, spectrum, N, dtype)
    _, pullback = vjp(named(function), backend.array(a))
    (gradient,) = pullback(backend.array(e))
    error = np.linalg.norm(backend.numpy(gradient) - expected) / np.linalg.norm(expected)
    assert error <= allowed(dtype, condition)


@pytest.mark.parametrize("spectrum", [GAP_SWEEP[0], GAP_SWEEP[4], TIES[1]], ids=str)
def test_gradient_of_the_logarithm(backend, double, spectrum):
    a, e, expected = function_oracle.frechet("logm", spectrum, 3, double)
    _, pullback = vjp(specgrad.logm, backend.array(a))
    (gradient,) = pullback(backend.array(e))
    assert np.linalg.norm(backend.numpy(gradient) - expected) <= 1e-12 * np.linalg.norm(expected)


@pytest.mark.parametrize("spectrum", [*GAPS, *TIES], ids=str)
def test_gradient_of_a_projector_is_exact_whatever_the_gap_inside(backend, double, spectrum):
    a = spectrum.matrix(6, double)
    weights = np.random.default_rng(2).standard_normal((6, 6))
    weights = weights + weights.T
    rank = 3 if spectrum.name == "exact triple" else 2
    _, pullback = vjp(specgrad.spectral_projector, backend.array(a), truncation=MaxRank(rank))
    (gradient,) = pullback(backend.array(weights.astype(double)))
    expected = projector_gradient(a, rank, weights)
    assert np.linalg.norm(backend.numpy(gradient) - expected) <= 1e-12 * np.linalg.norm(expected)


def projector_gradient(a, rank, weights):
    """``<W, P>`` by 50 digits: the projector is ``(I + sign(A - cut I))/2``."""
    values = np.linalg.eigvalsh(a)
    cut = 0.5 * (values[-rank] + values[-rank - 1])
    return function_oracle.sign_frechet(a, cut, weights) / 2


@pytest.mark.parametrize("function", FUNCTIONS, ids=repr)
@pytest.mark.parametrize("values", [(1.0, 1.0, 1.0), (2.0, 2.0, 0.5), (1.0, 1.0 + 1e-9, 3.0)], ids=str)
def test_second_derivative_is_exact_at_ties(backend, double, function, values):
    """Against finite differences of the first derivative, which the test above holds to 50 digits."""
    generator = np.random.default_rng(3)
    q = random_unitary(3, double, generator)
    a = (q * np.array(values)) @ q.conj().T
    a = (a + a.conj().T) / 2
    e, h = (hermitian(generator, 3, double) for _ in range(2))
    step = 1e-5

    def first(point):
        return jvp(specgrad.matrix_function, (point, function), (e,))[1]

    expected = (first(a + step * h) - first(a - step * h)) / (2 * step)
    measured = second(backend, a, function, e, h)
    assert np.linalg.norm(measured - expected) <= 1e-7 * np.linalg.norm(expected) + 1e-9


def test_second_derivative_across_a_truncation(backend, double):
    generator = np.random.default_rng(4)
    q = random_unitary(4, double, generator)
    a = (q * np.array([3.0, 3.0, 1.0, 0.5])) @ q.conj().T
    a = (a + a.conj().T) / 2
    e, h = (hermitian(generator, 4, double) for _ in range(2))
    step = 1e-5

    def first(point):
        return jvp(specgrad.inv_sqrtm, (point,), (e,), truncation=MaxRank(2))[1]

    expected = (first(a + step * h) - first(a - step * h)) / (2 * step)
    measured = second(backend, a, InverseSqrt(), e, h, rank=2)
    assert np.linalg.norm(measured - expected) <= 1e-7 * np.linalg.norm(expected)


def second(backend, a, function, e, h, rank=None):
    values, vectors = np.linalg.eigh(a)
    order = np.argsort(-np.abs(values), kind="stable") if rank else np.arange(len(values))
    arrays = [a, values[order], vectors[:, order], e]
    if rank:
        arrays.insert(1, np.asarray(rank, dtype=np.int32))
    arrays = tuple(backend.array(x) for x in arrays)
    operation = Frechet(function=function, rule=DaleckiiKrein())
    zeros = tuple(backend.array(np.zeros_like(backend.numpy(x))) for x in arrays)
    tangents = (backend.array(h), *zeros[1:])
    (result,) = operation.jvp(Evaluate(), arrays, operation.forward(*arrays), tangents)
    return backend.numpy(result)


def hermitian(generator, n, dtype):
    x = generator.standard_normal((n, n)).astype(dtype)
    if np.iscomplexobj(x):
        x = x + 1j * generator.standard_normal((n, n))
    return x + x.conj().T


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


def oracle(function, points):
    special = {Sqrt(): mpmath.sqrt, InverseSqrt(): lambda u: 1 / mpmath.sqrt(u), Log(): mpmath.log}
    scalar = special.get(function) or (lambda u: u ** mpmath.mpf(function.exponent))
    return function_oracle.divided_difference(scalar, points)


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


def own_functions(xp):
    """``f`` and ``f'`` for a backend, ``f`` for the oracle, and pairs of arguments."""
    near_zero = [(0.0, 1e-9), (0.0, 1e-12), (1e-17, -2e-17), (0.0, 0.3), (0.0, 4.0), (-1.0, 1.0)]
    far = [(100.0, 110.0), (100.0, 120.0), (100.0, 100.25), (100.0, 100.0 + 2**-15)]
    pole = [(0.9, 0.99), (0.99, 0.999), (0.9, 0.999), (0.5, 0.5 + 1e-6), (0.0, 0.9)]
    quick = [(4.0, 4.5), (4.5, 5.0), (4.0, 5.0), (4.0, 4.0 + 2**-20)]
    kink = [(-0.01, 1.0), (-1e-5, 1.0), (1.0, 2.0), (-1.0, 1.0)]
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
    }


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("name", ["exp", "sin far away", "pole at 1", "sin(10 x)", "kink at 0"])
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


@pytest.mark.parametrize("name", ["sqrtm", "inv_sqrtm", "expm"])
def test_values_agree_with_their_definition(backend, dtype, name):
    a = GAP_SWEEP[0].matrix(5, dtype)
    f = backend.numpy(named(name)(backend.array(a)))
    tolerance = 100 * np.finfo(dtype).eps
    if name == "expm":
        logarithm = backend.numpy(specgrad.logm(backend.array(f)))
        assert np.linalg.norm(logarithm - a) <= tolerance * np.linalg.norm(f)
    else:
        residual = f @ f - a if name == "sqrtm" else f @ f @ a - np.eye(5)
        assert np.linalg.norm(residual) <= tolerance


def test_powers_agree_with_products(backend, double):
    a = GAP_SWEEP[0].matrix(4, double)
    array = backend.array(a)
    np.testing.assert_allclose(backend.numpy(specgrad.powm(array, 3)), a @ a @ a, atol=1e-14)
    np.testing.assert_allclose(backend.numpy(specgrad.powm(array, -1)) @ a, np.eye(4), atol=1e-12)
    indefinite = backend.array(np.diag([2.0, -4.0]))
    np.testing.assert_allclose(backend.numpy(specgrad.powm(indefinite, -1)), np.diag([0.5, -0.25]))
    half = backend.numpy(specgrad.powm(array, 0.25))
    np.testing.assert_allclose(half @ half, backend.numpy(specgrad.sqrtm(array)), atol=1e-14)


def test_through_eigenvectors_agrees_off_ties_and_errs_at_them(backend, double):
    apart = GAP_SWEEP[0].matrix(4, double)
    together = np.eye(4, dtype=double)
    cotangent = hermitian(np.random.default_rng(5), 4, double)

    def gradient(a, rule):
        _, pullback = vjp(specgrad.inv_sqrtm, backend.array(a), gradient=rule)
        return backend.numpy(pullback(backend.array(cotangent))[0])

    for gap in (ExactGap(), MaskedGap(), PowerIterationGap(2000)):
        exact, through = gradient(apart, DaleckiiKrein()), gradient(apart, ThroughEigenvectors(gap))
        assert np.linalg.norm(through - exact) <= 1e-9 * np.linalg.norm(exact)
    exact, through = gradient(together, DaleckiiKrein()), gradient(together, ThroughEigenvectors(MaskedGap()))
    assert np.linalg.norm(exact + cotangent / 2) <= 1e-14 * np.linalg.norm(cotangent)
    assert np.linalg.norm(through - exact) >= 0.3 * np.linalg.norm(exact)


def test_gradient_at_the_identity_turns_with_the_basis(backend, double):
    """Whitening a white input must not depend on the basis the solver happens to choose."""
    cotangent = hermitian(np.random.default_rng(6), 4, double)
    q = random_unitary(4, double, np.random.default_rng(7))
    _, pullback = vjp(specgrad.inv_sqrtm, backend.array(np.eye(4, dtype=double)))
    plain = backend.numpy(pullback(backend.array(cotangent))[0])
    turned = backend.numpy(pullback(backend.array(q @ cotangent @ q.conj().T))[0])
    np.testing.assert_allclose(turned, q @ plain @ q.conj().T, atol=1e-13)


def test_a_tie_on_the_cut_is_finite_and_bounded_by_the_gap_rule(backend, double):
    rule = MaskedGap()
    a = np.diag([3.0, 2.0, 2.0, 1.0]).astype(double)
    cotangent = hermitian(np.random.default_rng(8), 4, double)
    _, pullback = vjp(specgrad.inv_sqrtm, backend.array(a), truncation=MaxRank(2))
    gradient = backend.numpy(pullback(backend.array(cotangent))[0])
    bound = float(backend.numpy(rule.bound(backend.array(np.array([3.0, 2.0, 2.0, 1.0])))))
    assert np.all(np.isfinite(gradient))
    assert np.max(np.abs(gradient)) <= bound * np.linalg.norm(cotangent)


def test_dropped_eigenvalues_may_lie_outside_the_domain(backend, double):
    a = np.diag([2.0, 1.0, 0.0, -1e-3]).astype(double)
    root = backend.numpy(specgrad.inv_sqrtm(backend.array(a), truncation=EigenvalueFloor()))
    np.testing.assert_allclose(root, np.diag([2**-0.5, 1.0, 0.0, 0.0]), atol=1e-15)


@pytest.mark.parametrize(
    ("function", "values", "word"),
    [
        ("sqrtm", (1.0, -1e-3), "-1.0e-03"),
        ("inv_sqrtm", (1.0, 0.0), "EigenvalueFloor"),
        ("logm", (1.0, 0.0), "positive eigenvalues"),
        ("inverse", (-1.0, 0.0), "nonzero eigenvalues"),
        ("logm", (1.0, -0.5), "batch index (1,)"),
    ],
)
def test_eigenvalues_outside_the_domain_are_named(function, values, word):
    a = np.stack([np.eye(2), np.diag(values)])
    with pytest.raises(ValueError, match=re.escape(word)):
        (named(function) if function != "inverse" else lambda x: specgrad.powm(x, -1))(a)


def test_eigenvalues_that_are_zero_to_rounding_count_as_zero(backend):
    a = np.diag([1.0, -1e-17])
    root = backend.numpy(specgrad.sqrtm(backend.array(a)))
    np.testing.assert_array_equal(root, np.diag([1.0, 0.0]))


def test_one_has_no_slope(backend):
    x = backend.array(np.array([1.0, 2.0]))
    assert not np.any(backend.numpy(One().divided_difference(x, x)))
