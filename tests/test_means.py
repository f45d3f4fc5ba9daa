"""Means of long, large and padded data, in any order of memory."""

import numpy as np
import pytest

from specgrad import covariance, vjp, zca_whiten


def test_a_large_mean_costs_no_accuracy_whatever_the_order_of_memory(backend):
    """Samples in rows, as tables have them, are transposed."""
    table = (np.random.default_rng(0).standard_normal((200_000, 2)) + 1000).astype("float32")
    expected = np.cov(table.astype("float64").T, ddof=0)
    x = backend.array(table).mT
    weights = backend.array(np.ones(len(table), dtype="float32"))
    for found in (covariance(x, correction=0), covariance(x, weights, correction=0)):
        np.testing.assert_allclose(backend.numpy(found), expected, atol=1e-4)
    result = zca_whiten(x)
    np.testing.assert_allclose(backend.numpy(result.mean), table.mean(axis=0, dtype="float64"), rtol=1e-6)
    pull = backend.array(np.ones_like(table)).mT  # of the sum of what is whitened, which does not change
    (gradient,) = vjp(zca_whiten, x)[1]((pull, None, None))
    np.testing.assert_allclose(backend.numpy(gradient), 0.0, atol=1e-6)


@pytest.mark.parametrize("padding", [-9999.0, 1e6, 1e9])
def test_samples_of_weight_zero_do_no_harm_wherever_they_are(backend, padding):
    numbers = np.random.default_rng(0).standard_normal((3, 200)).astype("float32")
    expected = np.cov(numbers[:, 3:].astype("float64"))
    numbers[:, :3] = padding
    weights = np.ones(200, dtype="float32")
    weights[:3] = 0
    found = covariance(backend.array(numbers), backend.array(weights))
    np.testing.assert_allclose(backend.numpy(found), expected, atol=4e-6)


def test_an_outlier_that_comes_first_costs_no_more_than_its_own_digits(backend):
    table = np.random.default_rng(0).standard_normal((200_000, 2)).astype("float32")
    table[0] = 1000.0, -1000.0
    expected = np.cov(table.astype("float64").T, ddof=0)
    found = covariance(backend.array(table).mT, correction=0)
    np.testing.assert_allclose(backend.numpy(found), expected, rtol=1e-3)


@pytest.mark.parametrize("constant", [0.1, -1e5 / 3])
def test_a_constant_has_no_variance_whatever_the_order_of_memory_and_the_weights(backend, constant):
    table = np.full((200_000, 2), constant, dtype="float32")
    weights = backend.array(np.random.default_rng(0).uniform(1.0, 2.0, len(table)).astype("float32"))
    x = backend.array(table).mT
    for found in (covariance(x), covariance(x, weights)):
        np.testing.assert_array_equal(backend.numpy(found), np.zeros((2, 2)))
