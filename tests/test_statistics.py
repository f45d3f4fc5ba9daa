"""Covariance, its pooling, whitening and PCA denoising: values."""

import numpy as np
import pytest
from sampling import samples, weights_of

from specgrad import (
    EigenvalueFloor,
    EnergyRatio,
    MaxRank,
    Standardise,
    covariance,
    covariance_pool,
    denoising_matrix,
    pca_denoise,
    whitening_matrix,
    zca_whiten,
)
from specgrad.testing import check_gradient


def mean_removed(x):
    return x - x.mean(axis=-1, keepdims=True)


def eigenvalue_function(c, f):
    values, vectors = np.linalg.eigh(c)
    return (vectors * f(values)[..., None, :]) @ np.swapaxes(vectors, -1, -2).conj()


@pytest.mark.parametrize("correction", [0, 1, 2])
def test_covariance_is_numpys(backend, dtype, correction):
    x = samples(dtype)
    measured = backend.numpy(covariance(backend.array(x), correction=correction, eps=0.25))
    # NumPy's convention has the conjugate on the second factor, too.
    expected = np.cov(x, ddof=correction) + 0.25 * np.eye(6)
    np.testing.assert_allclose(
        measured, expected, rtol=0, atol=100 * np.finfo(dtype).eps * abs(expected).max()
    )
    assert measured.dtype == x.dtype


@pytest.mark.parametrize("correction", [0, 1])
def test_weighted_covariance_is_numpys_with_reliability_weights(backend, double, correction):
    x, weights = samples(double), weights_of(40)
    measured = backend.numpy(covariance(backend.array(x), backend.array(weights), correction=correction))
    np.testing.assert_allclose(measured, np.cov(x, aweights=weights, ddof=correction), atol=1e-13)


def test_equal_weights_are_no_weights_and_a_zero_weight_leaves_a_sample_out(backend):
    x = samples()
    plain = backend.numpy(covariance(backend.array(x)))
    equal = backend.numpy(covariance(backend.array(x), backend.array(np.full(40, 3.0))))
    np.testing.assert_allclose(equal, plain, atol=1e-14)
    kept = np.arange(40) % 2 == 0
    left = backend.numpy(covariance(backend.array(x), backend.array(kept.astype("float64"))))
    np.testing.assert_allclose(left, backend.numpy(covariance(backend.array(x[:, kept]))), atol=1e-13)


@pytest.mark.parametrize(
    ("batch", "shape"), [((2, 3), (20,)), ((2, 3), (3, 20)), ((), (2, 3, 20)), ((3,), (2, 1, 20))]
)
def test_weights_and_data_broadcast(backend, batch, shape):
    x, weights = samples(shape=(*batch, 6, 20)), weights_of(shape)
    repeated = np.broadcast_to(x, (2, 3, 6, 20)).copy(), np.broadcast_to(weights, (2, 3, 20)).copy()
    found, expected = (
        backend.numpy(covariance(*map(backend.array, arrays))) for arrays in ((x, weights), repeated)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)


def test_weights_of_a_batch_have_each_a_scale_of_their_own(backend):
    x, weights = backend.array(samples(shape=(2, 6, 20))), weights_of((2, 20))
    expected = backend.numpy(covariance(x, backend.array(weights)))
    weights[1] *= 1e-170
    found = backend.numpy(covariance(x, backend.array(weights)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_truncation_sees_the_covariance_without_eps(backend):
    x = samples()
    x[2] = 0.0
    options = {"eps": 0.1, "truncation": EigenvalueFloor()}
    matrix = backend.numpy(zca_whiten(backend.array(x), **options).matrix)[0]
    pooled = backend.numpy(covariance_pool(backend.array(x), **options))
    assert abs(matrix[2, 2]) <= 1e-14
    assert abs(pooled[11]) <= 1e-14  # rows of 6, 5, 4 entries: the third begins with its diagonal


def test_a_large_mean_costs_no_accuracy(backend):
    x = samples("float32")
    shifted = backend.numpy(covariance(backend.array(x + np.float32(1000))))
    np.testing.assert_allclose(shifted, np.cov(x.astype("float64")), rtol=0, atol=2e-3)


@pytest.mark.parametrize("groups", [1, 2, 3])
def test_whitened_data_have_covariance_one_within_each_group(backend, dtype, groups):
    x = samples(dtype)
    result = zca_whiten(backend.array(x), groups=groups)
    y = backend.numpy(result.whitened)
    size = 6 // groups
    # The rounding of a covariance, relative to its largest eigenvalue, counts relative to its smallest.
    rounding = np.finfo(dtype).eps * np.linalg.cond(np.cov(x, bias=True))
    for k in range(groups):
        block = y[k * size : (k + 1) * size]
        np.testing.assert_allclose(np.cov(block, bias=True), np.eye(size), atol=rounding)
    assert result.mean.shape == (6,)
    assert result.matrix.shape == (groups, size, size)


def test_the_matrix_whitens_other_data_alike(backend):
    x = samples()
    whitened, mean, matrix = (backend.numpy(part) for part in zca_whiten(backend.array(x), groups=2))
    centred = (x - mean[:, None]).reshape(2, 3, -1)
    np.testing.assert_allclose((matrix @ centred).reshape(6, -1), whitened, atol=1e-13)


@pytest.mark.parametrize("eps", [0.0, 0.1])
def test_the_matrices_come_from_a_covariance_too(backend, double, eps):
    x = backend.array(samples(double))
    c = covariance(x, correction=0)
    whitened = zca_whiten(x, eps=eps, truncation=MaxRank(4)).matrix
    matrix = whitening_matrix(c, eps=eps, truncation=MaxRank(4))
    np.testing.assert_allclose(backend.numpy(matrix), backend.numpy(whitened)[0], atol=1e-12)
    check_gradient(whitening_matrix, c, radius=0.01, eps=eps, truncation=MaxRank(4))
    for scaling in (Standardise(eps), None):
        options = {"truncation": MaxRank(2), "scaling": scaling}
        denoised = pca_denoise(x, **options).matrix
        matrix = denoising_matrix(c, **options)
        np.testing.assert_allclose(backend.numpy(matrix), backend.numpy(denoised)[0], atol=1e-12)
        check_gradient(denoising_matrix, c, radius=0.01, **options)


def test_one_variable_per_group_is_standardisation(backend):
    x = samples()
    y = backend.numpy(zca_whiten(backend.array(x), groups=6, eps=1e-3).whitened)
    np.testing.assert_allclose(y, mean_removed(x) / np.sqrt(x.var(axis=1) + 1e-3)[:, None], atol=1e-13)


def test_truncated_whitening_drops_what_is_below_and_whitens_the_rest(backend):
    x = samples()
    y = backend.numpy(zca_whiten(backend.array(x), truncation=MaxRank(4)).whitened)
    values = np.linalg.eigvalsh(np.cov(y, bias=True))
    np.testing.assert_allclose(values, [0, 0, 1, 1, 1, 1], atol=1e-12)


@pytest.mark.parametrize("eps", [0.0, 1e-4])
def test_directions_without_variance_are_dropped_whatever_eps_is(backend, dtype, eps):
    x = samples(dtype)
    x[5] = x[4]  # two channels alike
    x[3] = 2.0
    y = backend.numpy(zca_whiten(backend.array(x), eps=eps).whitened)
    values = np.linalg.eigvalsh(np.cov(y, bias=True))
    # eps shortens the directions that are kept a little, and does not bring back the others.
    np.testing.assert_allclose(values, [0, 0, 1, 1, 1, 1], atol=1e-3)


def test_denoising_keeps_the_leading_directions_of_the_correlation(backend):
    x = samples()
    z = mean_removed(x) / x.std(axis=1, keepdims=True)
    _, vectors = np.linalg.eigh(np.corrcoef(x))
    projector = vectors[:, -2:] @ vectors[:, -2:].T
    result = pca_denoise(backend.array(x), truncation=MaxRank(2))
    np.testing.assert_allclose(backend.numpy(result.denoised), projector @ z, atol=1e-12)
    np.testing.assert_allclose(backend.numpy(result.matrix)[0], projector / x.std(axis=1), atol=1e-12)
    assert backend.numpy(result.rank).tolist() == [2]


def test_denoising_without_standardisation_is_the_best_approximation_of_its_rank(backend):
    x = samples()
    y = backend.numpy(pca_denoise(backend.array(x), truncation=MaxRank(3), scaling=None).denoised)
    left, singular, right = np.linalg.svd(mean_removed(x), full_matrices=False)
    np.testing.assert_allclose(y, (left[:, :3] * singular[:3]) @ right[:3], atol=1e-12)


def test_a_ragged_batch_has_a_rank_for_each_item(backend):
    x = samples(shape=(2, 6, 40))
    x[1] = x[1, :1] * np.arange(1, 7)[:, None] + 0.01 * x[1]
    result = pca_denoise(backend.array(x), truncation=EnergyRatio(0.95))
    ranks = [
        int(backend.numpy(pca_denoise(backend.array(item), truncation=EnergyRatio(0.95)).rank)[0])
        for item in x
    ]
    assert backend.numpy(result.rank).tolist() == [[rank] for rank in ranks]
    assert ranks[0] > ranks[1]


def test_pooling_gives_the_upper_triangle_of_the_function(backend, dtype):
    x = samples(dtype, (3, 4, 30))
    measured = backend.numpy(covariance_pool(backend.array(x)))
    expected = []
    for item in x.astype(np.result_type(dtype, np.float64)):
        root = eigenvalue_function(np.cov(item, bias=True), np.sqrt)
        expected.append(root[np.triu_indices(4)])
    np.testing.assert_allclose(
        measured, expected, atol=100 * np.finfo(dtype).eps * abs(np.array(expected)).max()
    )


def test_real_parameters_do_not_widen_complex_data(backend):
    x = backend.array((samples() + 1j * samples()[::-1]).astype("complex64"))
    weight = backend.array(np.ones(6, dtype="float32"))
    assert zca_whiten(x, weight, 0 * weight).whitened.dtype == x.dtype
