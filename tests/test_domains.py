"""Where a matrix function is defined: eigenvalues at the edge of its domain, beyond it, and dropped ones."""

import re
from functools import partial

import numpy as np
import pytest

import specgrad
from specgrad import EigenvalueFloor, MaxRank, Shifted
from specgrad.functions import One, Sqrt
from specgrad.testing import random_unitary


def test_dropped_eigenvalues_may_lie_outside_the_domain(backend, double):
    a = np.diag([2.0, 1.0, 0.0, -1e-3]).astype(double)
    root = backend.numpy(specgrad.inv_sqrtm(backend.array(a), truncation=EigenvalueFloor()))
    np.testing.assert_allclose(root, np.diag([2**-0.5, 1.0, 0.0, 0.0]), atol=1e-15)


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
    ],
)
def test_eigenvalues_outside_the_domain_are_named(function, values, word):
    a = np.stack([np.eye(2), np.diag(values)])
    with pytest.raises(ValueError, match=re.escape(word)):
        (getattr(specgrad, function) if function != "inverse" else lambda x: specgrad.powm(x, -1))(a)


def test_eigenvalues_outside_the_domain_pass_unchecked(backend):
    a = backend.array(np.stack([np.eye(2), np.diag([1.0, 0.0])]))
    for function in (specgrad.inv_sqrtm, partial(specgrad.whitening_matrix, truncation=None)):
        with np.errstate(all="ignore"):
            whole, singular = backend.numpy(function(a, check_finite=False))
        np.testing.assert_allclose(whole, np.eye(2), atol=1e-15)
        assert not np.all(np.isfinite(singular))


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


def test_a_zero_matrix_gets_advice_that_works():
    for options in ({}, {"truncation": EigenvalueFloor()}):
        with pytest.raises(ValueError, match=r"InverseSqrt\(\) is not defined at 0, and .* is zero"):
            specgrad.inv_sqrtm(np.zeros((2, 2)), **options)


def test_one_has_no_slope(backend):
    x = backend.array(np.array([1.0, 2.0]))
    assert not np.any(backend.numpy(One().divided_difference(x, x)))
