"""Eigenvalues and eigenvectors with many digits, and the errors of others against them."""

from functools import lru_cache

import numpy as np
import pytest

mpmath = pytest.importorskip("mpmath")

DIGITS = 60


@lru_cache(maxsize=512)
def exact_eigenpairs(spectrum, n, dtype, seed=0):
    """The matrix, its eigenvalues and eigenvectors with many digits."""
    matrix = spectrum.matrix(n, dtype, seed)
    with mpmath.workdps(DIGITS):
        solve = mpmath.eighe if np.iscomplexobj(matrix) else mpmath.eigsy
        values, vectors = solve(mpmath.matrix(matrix.tolist()))
    return matrix, np.array(list(values)), np.array(vectors.tolist())


def errors(found, exact):
    """Of eigenvalues and, as the sine of an angle, of eigenvectors; both per pair, against many digits."""
    (values, vectors), (expected_values, expected_vectors) = found, exact
    with mpmath.workdps(DIGITS):
        of_values = np.array(
            [abs(mpmath.mpf(float(x)) - y) for x, y in zip(values, expected_values, strict=True)]
        )
        conjugate = np.vectorize(mpmath.conj, otypes=[object])(expected_vectors)
        overlap = conjugate.T @ np.array(mpmath.matrix(vectors.tolist()).tolist())
        sines = np.array([mpmath.norm(np.delete(overlap[:, i], i).tolist()) for i in range(len(values))])
    return of_values.astype(float), sines.astype(float)
