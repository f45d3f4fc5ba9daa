"""Where a matrix function is defined: eigenvalues at the edge of its domain, beyond it, and dropped ones."""

import re
from functools import partial

import numpy as np
import pytest

import specgrad
from specgrad import (
    DaleckiiKrein,
    EigenvalueFloor,
    FromDerivative,
    Log,
    MaskedGap,
    MaxRank,
    Power,
    Shifted,
    ThroughEigenvectors,
    vjp,
)
from specgrad.domains import NonNegative
from specgrad.functions import One, Sqrt
from specgrad.testing import dense, random_unitary

FUNCTIONS = {
    "inverse": partial(specgrad.powm, exponent=-1),
    "inverse root": partial(specgrad.powm, exponent=-0.5),
}


def test_dropped_eigenvalues_may_lie_outside_the_domain(backend, double):
    a = np.diag([2.0, 1.0, 0.0, -1e-3]).astype(double)
    root = backend.numpy(specgrad.inv_sqrtm(backend.array(a), truncation=EigenvalueFloor()))
    np.testing.assert_allclose(root, np.diag([2**-0.5, 1.0, 0.0, 0.0]), atol=1e-15)


@pytest.mark.parametrize("gradient", [DaleckiiKrein(), ThroughEigenvectors(MaskedGap())], ids=repr)
@pytest.mark.parametrize(
    ("function", "values", "slopes"),
    [(Log(), (4.0, 2.0, -1e-3), (0.25, 0.5, 0)), (Shifted(Log(), -5.0), (9.0, 6.0, 2.0), (0.25, 1, 0))],
)
def test_a_function_is_asked_for_no_dropped_eigenvalue(backend, gradient, function, values, slopes):
    # Outside the domain a library warns, and warnings are errors here.
    a, options = backend.array(np.diag(values)), {"truncation": MaxRank(2), "gradient": gradient}
    _, pullback = vjp(specgrad.matrix_function, a, function, **options)
    found = backend.numpy(pullback(backend.array(np.eye(3)))[0])
    np.testing.assert_allclose(found, np.diag(slopes), atol=1e-15)


def test_a_function_of_the_user_is_asked_for_no_dropped_eigenvalue():
    asked = []

    def logarithm(values):
        asked.append(values.min())
        return np.log(np.abs(values))

    function = FromDerivative(logarithm, lambda values: 1 / values)
    specgrad.matrix_function(np.diag([4.0, 2.0, -1e-3]), function, truncation=MaxRank(2))
    assert min(asked) == 2.0


def test_a_negative_leading_eigenvalue_is_no_root_of_the_next():
    with pytest.raises(ValueError, match=r"Sqrt\(\) needs nonnegative eigenvalues"):
        specgrad.sqrtm(np.diag([-4.0, 1.0, 2.0]), truncation=MaxRank(1))


@pytest.mark.parametrize(
    ("function", "values", "word"),
    [
        ("sqrtm", (1.0, -1e-3), "-1.0e-03"),
        ("inv_sqrtm", (1.0, 0.0), "EigenvalueFloor"),
        ("logm", (1.0, 0.0), "positive eigenvalues"),
        ("inverse", (-1.0, 0.0), "nonzero eigenvalues"),
        ("inverse", (-1.0, 0.0), "truncation=MaxRank(rank)"),
        ("logm", (1.0, -0.5), "batch index (1,)"),
        ("logm", (1.0, 1e-17), "positive eigenvalues"),
        ("inverse", (1.0, 1e-17), "nonzero eigenvalues"),
        ("inverse root", (1.0, 0.0), "positive eigenvalues"),
    ],
)
def test_eigenvalues_outside_the_domain_are_named(function, values, word):
    a = np.stack([np.eye(2), np.diag(values)])
    with pytest.raises(ValueError, match=re.escape(word)):
        FUNCTIONS.get(function, getattr(specgrad, function, None))(a)


@pytest.mark.parametrize("truncation", [None, MaxRank(32)])
def test_so_many_eigenvalues_have_so_many_roundings(truncation):
    # Also where the largest comes first.
    a = np.diag([1.0] * 31 + [16 * np.finfo(float).eps])
    with pytest.raises(ValueError, match="positive eigenvalues"):
        specgrad.logm(a, truncation=truncation)


def test_eigenvalues_outside_the_domain_pass_unchecked(backend):
    a = backend.array(np.stack([np.eye(2), np.diag([1.0, 0.0])]))
    for function in (specgrad.inv_sqrtm, partial(specgrad.whitening_matrix, truncation=None)):
        with np.errstate(all="ignore"):
            whole, singular = backend.numpy(function(a, check_finite=False))
        np.testing.assert_allclose(whole, np.eye(2), atol=1e-15)
        assert not np.all(np.isfinite(singular))


@pytest.mark.parametrize(
    "function",
    [
        specgrad.inv_sqrtm,
        specgrad.logm,
        partial(specgrad.powm, exponent=-1),
        partial(specgrad.whitening_matrix, truncation=None),
    ],
    ids=["inv_sqrtm", "logm", "inverse", "whitening_matrix"],
)
def test_a_singular_matrix_is_so_on_either_side_of_zero(backend, dtype, function):
    # Rounding makes of its eigenvalue 0 a small one of either sign, whose root would be a plausible number.
    generator = np.random.default_rng(1)
    half = generator.standard_normal((50, 3, 2)).astype(dtype)
    singular = half @ np.swapaxes(half, -1, -2).conj()
    a = np.concatenate([singular, np.eye(3, dtype=dtype)[None]])
    with np.errstate(all="ignore"):
        found = backend.numpy(function(backend.array(a), check_finite=False))
    finite = np.isfinite(found).all(axis=(-2, -1))
    assert not finite[:-1].any()
    assert finite[-1]


def test_what_the_error_advises_works():
    log_above_two = Shifted(Log(), -2.0)
    for values, function in (((1.0, 3.0), log_above_two), ((0.5, -0.1), Log()), ((1.0, 0.0), Log())):
        a = np.diag(values)
        with pytest.raises(ValueError, match="truncation=EigenvalueFloor") as caught:
            specgrad.matrix_function(a, function)
        shift, floor = re.search(r"at least (\S+) to .* truncation=(.*)\.$", str(caught.value)).groups()
        specgrad.matrix_function(a + float(shift) * np.eye(2), function)
        specgrad.matrix_function(a, function, truncation=eval(floor))
    # A truncation keeps the eigenvalue that leads, and with another drops all that are smaller.
    for values in ((1.0, -3.0), (5.0, -3.0, 2.0)):
        with pytest.raises(ValueError, match=r"Add at least 3.3e.00 to the diagonal, or raise") as caught:
            specgrad.logm(np.diag(values))
        advice = re.search(r"eigenvalues with (.*)\.$", str(caught.value))[1]
        found = eval(advice, {**vars(specgrad), "a": np.diag(values), "minimum": 0.5})
        np.testing.assert_allclose(found, np.diag(np.log(np.maximum(values, 0.5))), atol=1e-15)
    with pytest.raises(ValueError, match=r"one of 1.0e.00, .* no eigenvalue is 1\.$"):
        specgrad.matrix_function(np.diag([1.0, 3.0]), Shifted(Power(-1), -1.0))


def test_eigenvalues_that_are_zero_to_rounding_count_as_zero(backend):
    a = np.diag([1.0, -1e-17])
    root = backend.numpy(specgrad.sqrtm(backend.array(a)))
    np.testing.assert_array_equal(root, np.diag([1.0, 0.0]))


def test_eigenvalues_at_the_start_of_a_shifted_domain_to_rounding_count_as_there(backend, double):
    for seed in range(20):
        basis = random_unitary(4, double, np.random.default_rng(seed))
        a = (basis * np.array([-1.0, -1.0, 2.0, 3.0])) @ basis.conj().T
        a = 0.5 * (a + a.conj().T)
        root = backend.numpy(specgrad.matrix_function(backend.array(a), Shifted(Sqrt(), 1.0)))
        # Where an eigenvalue is 0 to rounding, its root is 0 to the root of that.
        np.testing.assert_allclose(root @ root, a + np.eye(4), atol=1e-14)


def test_the_start_of_a_domain_below_zero_is_found_by_magnitude(backend):
    a = backend.array(np.diag([-4.000000000000001, -1.0, -4.0]))
    root = backend.numpy(specgrad.matrix_function(a, Shifted(Sqrt(), 4.0), check_finite=False))
    np.testing.assert_allclose(root, np.diag([0.0, 3**0.5, 0.0]), atol=1e-15)


def test_a_zero_matrix_gets_advice_that_works():
    for options in ({}, {"truncation": EigenvalueFloor()}):
        with pytest.raises(ValueError, match=r"InverseSqrt\(\) is not defined at 0, and .* is zero"):
            specgrad.inv_sqrtm(np.zeros((2, 2)), **options)


def test_a_zero_matrix_below_a_shifted_domain_gets_advice_that_works():
    root_above_one = Shifted(Sqrt(), -1.0)
    with pytest.raises(ValueError, match="difference from 1 is nonnegative") as caught:
        specgrad.matrix_function(np.zeros((2, 2)), root_above_one)
    shift = float(re.search(r"at least (\S+) to", str(caught.value)).group(1))
    assert 1.0 <= shift < 1.2
    specgrad.matrix_function(shift * np.eye(2), root_above_one)


def test_the_error_names_the_eigenvalue_outside():
    with pytest.raises(ValueError, match=r"has one of 0\.0e\+00, with magnitudes up to 2"):
        specgrad.powm(np.diag([-1.0, 0.0, 2.0]), -1)


def test_one_has_no_slope(backend):
    x = backend.array(np.array([1.0, 2.0]))
    assert not np.any(backend.numpy(One().divided_difference(x, x)))


def test_the_root_of_the_zero_matrix_is_zero(backend):
    np.testing.assert_array_equal(backend.numpy(specgrad.sqrtm(backend.array(np.zeros((2, 2))))), 0.0)


def test_a_function_of_the_users_may_have_a_domain(backend, double):
    xp = backend.xp
    entropy = FromDerivative(
        lambda x: -x * xp.log(xp.where(x == 0, 1.0, x)), lambda x: -1.0 - xp.log(x), domain=NonNegative()
    )
    generator = np.random.default_rng(0)
    pure = dense(np.array([0.0, 0.0, 0.0, 0.0, 1.0]), double, generator)
    found = backend.numpy(specgrad.matrix_function(backend.array(pure), entropy))
    np.testing.assert_allclose(found, 0, atol=1e-14)


def test_outside_the_domain_of_a_function_of_the_users_is_an_error():
    root = FromDerivative(np.sqrt, lambda x: 0.5 / np.sqrt(x), NonNegative())
    with pytest.raises(ValueError, match=r"needs nonnegative eigenvalues, and .* has one of -1"):
        specgrad.matrix_function(np.diag([-1.0, 1.0]), root)


def test_what_cannot_tell_what_is_outside_is_no_domain():
    with pytest.raises(TypeError, match=r"domain is 'positive', and a value with a method outside is needed"):
        FromDerivative(np.log, np.reciprocal, "positive")


@pytest.mark.parametrize("function", [specgrad.whitening_matrix, specgrad.denoising_matrix])
def test_what_has_negative_eigenvalues_is_no_covariance_and_what_the_error_advises_works(function):
    indefinite = np.array([[2.0, 3.0], [3.0, 2.0]])
    with pytest.raises(ValueError, match=r"an eigenvalue of -.* at batch index \(1,\)") as caught:
        function(np.stack([4 * np.eye(2), indefinite]))
    advice = str(caught.value).partition("which is ")[2].removesuffix(".")
    function(eval(advice, {**vars(specgrad), "covariance": indefinite}))
    for precision, off in (("float64", 1e-9), ("float16", 0.01)):  # as rounding leaves it
        function(np.array([[2.0, 2.0 + off], [2.0 + off, 2.0]], dtype=precision))
