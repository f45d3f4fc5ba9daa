"""Covariances that are singular, broken, or in half precision."""

import numpy as np
import pytest
from sampling import samples

from specgrad import (
    Log,
    MaxRank,
    Standardise,
    covariance,
    covariance_pool,
    denoising_matrix,
    pca_denoise,
    zca_whiten,
)


def test_a_cut_among_the_zeros_of_few_samples_is_silent(backend):
    """The data have no part in their eigenvectors."""
    found = zca_whiten(backend.array(samples(shape=(6, 4))), truncation=MaxRank(4), eps=1e-3)
    assert np.isfinite(backend.numpy(found.whitened)).all()


def test_a_constant_is_standardised_with_what_is_added_to_its_variance(backend):
    x = samples(shape=(3, 20))
    x[1] = 2.0
    denoised = backend.numpy(pca_denoise(backend.array(x), scaling=Standardise(1e-5)).denoised)
    assert np.isfinite(denoised).all()
    matrix = denoising_matrix(backend.array(np.diag([1.0, 0.0, 2.0])), scaling=Standardise(1e-5))
    assert np.isfinite(backend.numpy(matrix)).all()


def test_what_is_given_for_a_covariance_has_no_negative_eigenvalue(backend):
    indefinite = backend.array(np.array([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(ValueError, match="batch index"):
        denoising_matrix(indefinite, scaling=None, truncation=MaxRank(1))


@pytest.mark.parametrize("function", [zca_whiten, pca_denoise])
def test_a_broken_group_is_named(backend, function):
    x = samples(shape=(2, 6, 20))
    x[1, 4] = np.nan
    with pytest.raises(ValueError, match=r"batch index \(1,\), group 2,"):
        function(backend.array(x), groups=3)


def test_pooling_names_the_argument_that_raises_a_singular_covariance(backend):
    with pytest.raises(ValueError, match="to eps"):
        covariance_pool(backend.array(samples(shape=(4, 3))), function=Log())


def test_unchecked_weights_spoil_their_own_covariance_alone(backend):
    weights = np.ones((2, 5))
    weights[1] = np.nan
    x = backend.array(samples(shape=(2, 3, 5)))
    good, bad = backend.numpy(covariance(x, backend.array(weights), check_finite=False))
    assert np.isfinite(good).all()
    assert np.isnan(bad).all()


def test_pooling_of_half_precision_is_computed_in_single(backend):
    if not hasattr(backend.xp, "float16"):
        pytest.skip(f"{backend.name} has no float16")
    x = samples("float16", shape=(3, 20))
    single = backend.numpy(covariance_pool(backend.array(x.astype("float32"))))
    pooled = backend.numpy(covariance_pool(backend.array(x)))
    assert pooled.dtype == np.float32
    np.testing.assert_array_equal(pooled, single)
