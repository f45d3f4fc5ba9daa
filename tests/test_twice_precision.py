"""Residuals in twice the precision of the arrays, against many digits."""

import numpy as np
import pytest

from specgrad.solvers import _twice_precision
from specgrad.testing import random_hermitian, random_unitary

pytestmark = pytest.mark.eager

mpmath = pytest.importorskip("mpmath")

DIGITS = 60


@pytest.mark.parametrize("n", [1, 3, 17])
def test_residuals_have_twice_the_digits(backend, dtype, n):
    generator = np.random.default_rng(n)
    check_residuals(
        backend, random_hermitian(n, dtype, generator), random_unitary(n, dtype, generator).astype(dtype)
    )


@pytest.mark.parametrize("n", [9, 17])
def test_residuals_have_twice_the_digits_where_there_is_no_wider_dtype(backend, monkeypatch, n):
    monkeypatch.setattr(_twice_precision, "_wider_dtypes", lambda a: None)
    generator = np.random.default_rng(0)
    for dtype in ("float32", "complex64"):
        a = random_hermitian(n, dtype, generator)
        check_residuals(backend, a, np.linalg.eigh(a)[1])


def test_products_have_twice_the_digits_beside_their_row_and_column(backend, double):
    generator, rounding = np.random.default_rng(0), float(np.finfo(double).eps)
    scales = 2.0 ** -np.arange(0.0, 120.0, 20.0)
    left = random_hermitian(6, double, generator) * scales[:, None]
    right = random_hermitian(6, double, generator) * scales
    found = _twice_precision._sum(_twice_precision._products(backend.array(left), backend.array(right)))
    with mpmath.workdps(DIGITS):
        exact = mpmath.matrix(left.tolist()) * mpmath.matrix(right.tolist())
        error = np.abs(np.array((mpmath.matrix(backend.numpy(found).tolist()) - exact).tolist()))
        wanted = np.abs(np.array(exact.tolist()))
        largest = np.max(np.abs(left), axis=1)[:, None] * np.max(np.abs(right), axis=0)
        assert np.all(error <= rounding * wanted + 8 * 6 * rounding**2 * largest)


def check_residuals(backend, a, vectors):
    values = np.real(np.diagonal(vectors.conj().T @ a @ vectors)).copy()
    residual = _twice_precision.residual(*map(backend.array, (a, vectors, values)))
    defect = _twice_precision.gram_defect(backend.array(vectors))
    with mpmath.workdps(DIGITS):
        exact_a, exact_vectors = mpmath.matrix(a.tolist()), mpmath.matrix(vectors.tolist())
        exact = exact_a * exact_vectors - exact_vectors * mpmath.diag(values.tolist())
        exact_defect = mpmath.eye(len(a)) - exact_vectors.H * exact_vectors
        for found, expected in ((residual, exact), (defect, exact_defect)):
            error = np.array((mpmath.matrix(backend.numpy(found).tolist()) - expected).tolist())
            wanted = np.array(expected.tolist())
            rounding = float(np.finfo(a.dtype).eps)
            allowed = rounding * np.abs(wanted) + 8 * len(a) * rounding**2
            assert np.all(np.abs(error) <= allowed)
