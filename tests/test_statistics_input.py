"""Covariance, its pooling, whitening and PCA denoising: what bad input gets."""

import numpy as np
import pytest
from sampling import samples

from specgrad import (
    ConvergenceWarning,
    NewtonSchulz,
    RaiseResidual,
    covariance,
    covariance_pool,
    denoising_matrix,
    pca_denoise,
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


@pytest.mark.filterwarnings("ignore:.*encountered in divide:RuntimeWarning")
def test_a_constant_variable_that_would_be_standardised_is_named(backend):
    x = samples()
    x[3] = 2.0
    with pytest.raises(ValueError, match=r"Variable 3 of the covariance at batch index \(0,\) is constant"):
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


def test_parameters_of_the_wrong_shape(backend):
    x, weight = backend.array(samples()), backend.array(np.ones(6))
    with pytest.raises(ValueError, match="weight and bias go together"):
        zca_whiten(x, weight)
    with pytest.raises(ValueError, match=r"bias has shape \(5,\), and \(6,\) is needed"):
        pca_denoise(x, weight, backend.array(np.ones(5)))
    with pytest.raises(ValueError, match="groups=4 does not divide the 6 variables"):
        zca_whiten(x, groups=4)
    with pytest.raises(ValueError, match=r"weights has shape \(6,\), and \(40,\) is needed"):
        covariance(x, weight)
    with pytest.raises(TypeError, match=r"weights must be an array of a real floating"):
        covariance(x, backend.array(np.ones(40, dtype="int64")))
