"""Hermitian matrices with a given spectrum, as NumPy arrays, reproducible from a generator.

`dense`, `diagonal` and `banded` are structures: functions of eigenvalues, a dtype and a generator that a
`Spectrum` can hold. All compute in double precision and round at the end, so the spectrum of the result
is the given one up to that rounding; only `diagonal` has it exactly.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = ["Matrix", "banded", "dense", "diagonal", "random_hermitian", "random_unitary"]

Matrix: TypeAlias = NDArray[Any]


def random_unitary(n: int, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    """A random orthogonal or, for a complex dtype, unitary matrix, uniform over the group.

    Parameters
    ----------
    n : int
    dtype : floating dtype
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (n, n)
        In double precision, real or complex as `dtype` is.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import random_unitary
    >>> q = random_unitary(3, np.complex64, np.random.default_rng(0))
    >>> bool(np.allclose(q.conj().T @ q, np.eye(3)))
    True
    """
    q, r = np.linalg.qr(_gaussian((n, n), dtype, generator))
    # QR leaves a free phase per column; without it the distribution is not uniform.
    phases = np.diagonal(r).copy()
    return np.asarray(q * (phases / np.abs(phases)))


def random_hermitian(n: int, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    """A random Hermitian matrix with Gaussian entries, of Frobenius norm of order 1.

    Parameters
    ----------
    n : int
    dtype : floating dtype
        Of the result.
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (n, n)
        Exactly Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import random_hermitian
    >>> h = random_hermitian(3, np.complex128, np.random.default_rng(0))
    >>> bool(np.all(h == h.conj().T))
    True
    """
    gaussian = _gaussian((n, n), dtype, generator)
    return np.asarray((gaussian + gaussian.conj().T) / max(2 * n, 1)).astype(dtype)


def dense(values: Matrix, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    """A full matrix: the eigenvalues between random eigenvectors.

    Parameters
    ----------
    values : array, shape (n,)
        Eigenvalues.
    dtype : floating dtype
        Of the result.
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (n, n)
        Exactly Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import dense
    >>> a = dense(np.array([1.0, 2.0]), "float64", np.random.default_rng(0))
    >>> np.linalg.eigvalsh(a).round(12)
    array([1., 2.])
    """
    return _rounded(_conjugated(values, dtype, generator), dtype)


def diagonal(values: Matrix, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    """A diagonal matrix, eigenvalues in random order; the only structure whose ties are exact.

    Parameters
    ----------
    values : array, shape (n,)
        Eigenvalues.
    dtype : floating dtype
        Of the result.
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (n, n)
        Exactly Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import diagonal
    >>> diagonal(np.array([2.0, 2.0]), "float64", np.random.default_rng(0))
    array([[2., 0.],
           [0., 2.]])
    """
    return np.diag(generator.permutation(values)).astype(dtype)


def banded(values: Matrix, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    """A band matrix with about n/3 diagonals on either side, reduced from a full one by reflections.

    Parameters
    ----------
    values : array, shape (n,)
        Eigenvalues.
    dtype : floating dtype
        Of the result.
    generator : numpy.random.Generator

    Returns
    -------
    array, shape (n, n)
        Exactly Hermitian.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import banded
    >>> a = banded(np.arange(1.0, 7.0), "float64", np.random.default_rng(0))
    >>> bool(np.any(np.triu(a, 2))), bool(np.any(np.triu(a, 3)))
    (True, False)
    """
    a = _conjugated(values, dtype, generator)
    n = a.shape[0]
    width = max(1, n // 3)
    for column in range(n - width - 1):
        below = slice(column + width, n)
        reflector = _reflector(a[below, column])
        a[below, :] -= 2 * np.outer(reflector, reflector.conj() @ a[below, :])
        a[:, below] -= 2 * np.outer(a[:, below] @ reflector, reflector.conj())
    position = np.arange(n)
    return _rounded(np.where(abs(position[:, None] - position) <= width, a, 0), dtype)


def _conjugated(values: Matrix, dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    q = random_unitary(len(values), dtype, generator)
    return np.asarray((q * values) @ q.conj().T)


def _rounded(a: Matrix, dtype: DTypeLike) -> Matrix:
    return np.asarray(0.5 * a + 0.5 * a.conj().T).astype(dtype)


def _reflector(x: Matrix) -> Matrix:
    """The unit vector whose reflection sends `x` to a multiple of its first unit vector."""
    largest = np.max(np.abs(x))
    if largest == 0:
        return np.zeros_like(x)
    v = x / largest  # squares of entries near the ends of the exponent range leave it
    phase = v[0] / abs(v[0]) if v[0] != 0 else 1.0
    v[0] += phase * np.linalg.norm(v)
    return np.asarray(v / np.linalg.norm(v))


def _gaussian(shape: tuple[int, ...], dtype: DTypeLike, generator: np.random.Generator) -> Matrix:
    real = generator.standard_normal(shape)
    if np.issubdtype(np.dtype(dtype), np.complexfloating):
        return np.asarray((real + 1j * generator.standard_normal(shape)) / np.sqrt(2))
    return np.asarray(real)
