"""Covariance, its pooling, whitening and PCA denoising: what bad input gets."""

from functools import partial

import numpy as np
import pytest
from sampling import samples

from specgrad import (
    ConvergenceWarning,
    MaxRank,
    NewtonSchulz,
    RaiseResidual,
    Shifted,
    Sqrt,
    Standardise,
    covariance,
    covariance_pool,
    denoising_matrix,
    jvp,
    matrix_function,
    pca_denoise,
    powm,
    vjp,
    whitening_matrix,
    zca_whiten,
)


def test_newton_schulz_says_when_it_has_not_converged(backend, monkeypatch):
    monkeypatch.setattr("specgrad._warn._WARNED", set())  # once per place, and all backends come by here
    x = samples()
    x[0] *= 100
    with pytest.warns(ConvergenceWarning, match="has not converged"):
        zca_whiten(backend.array(x), truncation=None, solver=NewtonSchulz(3))
    with pytest.raises(ArithmeticError, match="has not converged"):
        covariance_pool(backend.array(x), solver=NewtonSchulz(3, residual=RaiseResidual()))
    # The residual has a policy of its own.
    unconverged = {"solver": NewtonSchulz(3, residual=RaiseResidual()), "check_finite": False}
    for function in (covariance_pool, partial(zca_whiten, truncation=None)):
        with pytest.raises(ArithmeticError, match="has not converged"):
            function(backend.array(x), **unconverged)


@pytest.mark.parametrize("function", [covariance, covariance_pool, zca_whiten, whitening_matrix])
def test_eps_is_not_negative(backend, function):
    with pytest.raises(ValueError, match=r"eps is -1\.0, and a number of at least 0 is needed"):
        function(backend.array(np.eye(4)), eps=-1.0)


def test_a_bad_item_stays_alone(backend):
    x = samples(shape=(3, 4, 20))
    good = [backend.numpy(part) for part in zca_whiten(backend.array(x))]
    x[1, 2, 3] = np.nan
    spoilt = [backend.numpy(part) for part in zca_whiten(backend.array(x), check_finite=False)]
    for before, after in zip(good, spoilt, strict=True):
        np.testing.assert_array_equal(after[[0, 2]], before[[0, 2]])
    assert np.isnan(spoilt[0][1]).all()


@pytest.mark.parametrize("function", [covariance, covariance_pool, zca_whiten, pca_denoise])
def test_not_finite_data_name_the_batch_index(backend, function):
    x = samples(shape=(3, 4, 20))
    x[1, 2, 3] = np.nan
    with pytest.raises(ValueError, match=r"batch index \(1,.*\) is not finite"):
        function(backend.array(x))


def test_a_singular_covariance_without_truncation_is_named(backend):
    x = samples()
    x[5] = 1.0
    with pytest.raises(ValueError, match=r"InverseSqrt\(\) needs positive eigenvalues"):
        zca_whiten(backend.array(x), truncation=None)


def test_a_constant_variable_that_would_be_standardised_is_named(backend):
    x = samples()
    x[3] = 2.0
    with pytest.raises(ValueError, match=r"Variable 3 of .* batch index \(\) has a variance of 0 "):
        pca_denoise(backend.array(x))
    with pytest.raises(ValueError, match=r"Variable 1 .*Standardise\(eps=1e-5\)"):
        denoising_matrix(backend.array(np.diag([1.0, 0.0])))
    assert np.all(np.isfinite(backend.numpy(pca_denoise(backend.array(x), scaling=None).denoised)))


def test_denoising_needs_a_truncation(backend):
    x = backend.array(samples())
    for function in (pca_denoise, lambda x, **options: denoising_matrix(covariance(x), **options)):
        with pytest.raises(TypeError, match=r"truncation is None, and .* is needed, such as MaxRank\(4\)"):
            function(x, truncation=None)


@pytest.mark.parametrize("function", [covariance, covariance_pool, zca_whiten, pca_denoise])
def test_data_of_the_wrong_kind(backend, function):
    with pytest.raises(ValueError, match=r"shape \(3,\).*variables in rows with samples last"):
        function(backend.array(np.ones(3)))
    with pytest.raises(TypeError, match=r"dtype .*int64.*floating dtype"):
        function(backend.array(np.ones((3, 4), dtype="int64")))
    with pytest.raises(TypeError, match="list"):
        function([[1.0, 2.0]])
    with pytest.raises(ValueError, match=r"1 samples in its last axis.*needs more than 1"):
        function(backend.array(np.ones((3, 1))), correction=1)


def test_parameters_of_the_wrong_kind(backend):
    x, ones = backend.array(samples()), backend.array(np.ones(6))
    with pytest.raises(TypeError, match=r"weight has dtype .*int64"):
        zca_whiten(x, backend.array(np.ones(6, dtype="int64")), ones)
    with pytest.raises(TypeError, match="bias is a list"):
        zca_whiten(x, ones, [0.0] * 6)
    with pytest.raises(TypeError, match=r"weight has dtype .*complex128, and x is real"):
        pca_denoise(x, backend.array(np.ones(6, dtype="complex128")), ones)
    for groups in (3.0, True):
        with pytest.raises(TypeError, match=rf"groups is {groups}, and an integer"):
            zca_whiten(x, groups=groups)
    with pytest.raises(ValueError, match=r"groups is 0, and an integer of at least 1"):
        zca_whiten(x, groups=0)
    for function in (covariance, covariance_pool, zca_whiten, pca_denoise):
        with pytest.raises(TypeError, match="correction is 'a', and a number is needed"):
            function(x, correction="a")
        with pytest.raises(ValueError, match="correction is nan, and a finite number is needed"):
            function(x, correction=np.nan)
    for function in (covariance, covariance_pool, zca_whiten):
        with pytest.raises(ValueError, match="eps is inf, and a finite number is needed"):
            function(x, eps=np.inf)


def test_parameters_are_taken_in_the_precision_of_the_data(backend):
    x, ones = backend.array(samples().astype("float32")), backend.array(np.ones(6))
    for result in (
        zca_whiten(x, ones, ones).whitened,
        pca_denoise(x, ones, ones, truncation=MaxRank(2)).denoised,
        covariance(x, backend.array(np.ones(40))),
    ):
        assert result.dtype == x.dtype


def test_numbers_of_numpy_widen_no_array(backend):
    x = backend.array(samples().astype("float32"))
    for result in (
        covariance(x, eps=np.float64(1e-3), correction=np.int64(1)),
        zca_whiten(x, eps=np.float64(1e-3), truncation=None).whitened,
        pca_denoise(x, scaling=Standardise(np.float64(1e-3))).denoised,
        powm(covariance(x), np.float64(0.5)),
        matrix_function(covariance(x), Shifted(Sqrt(), np.float64(1.0))),
    ):
        assert result.dtype == x.dtype


def test_weights_of_too_few_samples_are_named(backend):
    x = backend.array(np.random.default_rng(0).standard_normal((3, 4)))
    with pytest.raises(ValueError, match=r"worth 2 samples .* correction=3 needs more"):
        covariance(x, backend.array(np.array([1.0, 1.0, 0.0, 0.0])), correction=3)
    with pytest.raises(ValueError, match=r"worth 1 samples .* correction=1 needs more"):
        covariance(x, backend.array(np.array([1.0, 0.0, 0.0, 0.0])))
    with pytest.raises(ValueError, match="one that is not finite"):
        covariance(x, backend.array(np.array([1.0, np.nan, 1.0, 1.0])))
    with pytest.raises(ValueError, match="have a negative one"):
        covariance(x, backend.array(np.array([3.0, -1.0, 1.0, 1.0])))


def test_weights_are_worth_as_many_samples_as_their_spread_says(backend):
    x = backend.array(np.random.default_rng(0).standard_normal((2, 3)))
    weights = backend.array(np.array([1.0, 0.5, 0.5]))  # worth 4/1.5
    assert np.all(np.isfinite(backend.numpy(covariance(x, weights, correction=2))))


def test_the_scale_of_weights_does_not_matter(backend):
    draw = np.random.default_rng(0)
    x, g, weights = draw.standard_normal((3, 6)), draw.standard_normal((3, 3)), draw.uniform(1, 2, 6)
    tangents = draw.standard_normal((3, 6)), draw.standard_normal(6)
    found = []
    for scale in (1.0, 1e200, 1e-200):
        arrays = backend.array(x), backend.array(scale * weights)
        c, pullback = vjp(covariance, *arrays)
        g_x, g_weights = map(backend.numpy, pullback(backend.array(g)))
        given = backend.array(tangents[0]), backend.array(scale * tangents[1])
        d_c = jvp(covariance, arrays, given)[1]
        found.append((backend.numpy(c), g_x, scale * g_weights, backend.numpy(d_c)))
    for other in found[1:]:
        for measured, expected in zip(other, found[0], strict=True):
            np.testing.assert_allclose(measured, expected, rtol=1e-12, atol=1e-13)


def test_parameters_of_the_wrong_shape(backend):
    x, weight = backend.array(samples()), backend.array(np.ones(6))
    with pytest.raises(ValueError, match="weight and bias go together"):
        zca_whiten(x, weight)
    with pytest.raises(ValueError, match=r"bias has shape \(5,\), and \(6,\) is needed"):
        pca_denoise(x, weight, backend.array(np.ones(5)))
    with pytest.raises(ValueError, match="groups=4 does not divide the 6 variables"):
        zca_whiten(x, groups=4)
    with pytest.raises(ValueError, match=r"weights has shape \(6,\), and \(\.\.\., 40\) is needed"):
        covariance(x, weight)
    with pytest.raises(ValueError, match=r"\(3, 40\), and .* broadcast against those of x"):
        covariance(backend.array(samples(shape=(2, 6, 40))), backend.array(np.ones((3, 40))))
    with pytest.raises(TypeError, match=r"weights must be an array of a real floating"):
        covariance(x, backend.array(np.ones(40, dtype="int64")))
    with pytest.raises(TypeError, match=r"weights must be an array of a real floating"):
        covariance(x, backend.array(np.ones(40, dtype="complex128")))
    with pytest.raises(ValueError, match=r"weight has shape \(1, 6\)"):
        zca_whiten(x, backend.array(np.ones((1, 6))), weight)


@pytest.mark.parametrize("matrix", [whitening_matrix, denoising_matrix])
def test_a_covariance_at_hand_must_be_one(matrix):
    with pytest.raises(ValueError, match="covariance is not Hermitian"):
        matrix(np.array([[4.0, 2.0], [0.0, 4.0]]))
    with pytest.raises(ValueError, match="covariance has NaN or infinite entries"):
        matrix(np.diag([1.0, np.nan]))


def test_a_covariance_in_half_precision_is_shifted_in_the_computing_precision(backend):
    if not hasattr(backend.xp, "float16"):
        pytest.skip(f"{backend.name} has no float16")
    half = backend.array(np.eye(2, dtype=np.float16))
    for eps in (4e-4, 1e5):  # lost beside 1, and beyond the range of float16
        matrix = backend.numpy(whitening_matrix(half, eps=eps, truncation=None))
        np.testing.assert_allclose(matrix, np.eye(2) / np.sqrt(1 + eps), rtol=1e-6)


def test_denoising_keeps_the_largest_magnitudes_of_an_indefinite_matrix():
    options = {"truncation": MaxRank(1), "scaling": None, "check_finite": False}
    matrix = denoising_matrix(np.diag([-2.0, 1.5, 1.6]), **options)
    np.testing.assert_allclose(matrix, np.diag([1.0, 0.0, 0.0]), atol=1e-15)


def test_a_function_that_is_none_is_named():
    for make in (
        lambda: covariance_pool(samples(), function=np.sqrt, eps=1e-3, truncation=MaxRank(2)),
        lambda: Shifted(np.sqrt, 1.0),
    ):
        with pytest.raises(
            TypeError, match="function is <ufunc 'sqrt'>, and a value with a method divided_diff"
        ):
            make()


@pytest.mark.parametrize("constant", [0.1, 0.125, -1e5 / 3, 0.0])
def test_a_variable_that_is_constant_up_to_rounding_is_named(backend, real, constant):
    numbers = np.random.default_rng(0).standard_normal((3, 7))
    numbers[1] = constant
    x = backend.array(numbers.astype(real))
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"Variable 1 .* has a variance of 0 "):
        pca_denoise(x, truncation=MaxRank(2))
    with (
        np.errstate(all="ignore"),
        pytest.raises(ValueError, match=r"is not defined at 0, and the matrix at .*1.* is zero"),
    ):
        zca_whiten(x, groups=3)
    assert np.all(np.isfinite(backend.numpy(zca_whiten(x, groups=3, eps=1e-3).whitened)))
