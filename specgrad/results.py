"""What the decompositions return: named tuples, so that they unpack, print and pass through transforms."""

from typing import NamedTuple

from specgrad._typing import Array

__all__ = ["EighResult", "TruncatedEighResult"]


class EighResult(NamedTuple):
    """Eigenvalues in ascending order and the matrix of eigenvectors.

    Attributes
    ----------
    eigenvalues : array, shape (..., n)
        Real, ascending.
    eigenvectors : array, shape (..., n, n)
        Orthonormal columns; column ``j`` belongs to ``eigenvalues[..., j]``.
    """

    eigenvalues: Array
    eigenvectors: Array


class TruncatedEighResult(NamedTuple):
    """The dominant part of an eigendecomposition, largest magnitude first.

    Attributes
    ----------
    eigenvalues : array, shape (..., m)
        Real, by descending magnitude; 0 beyond the rank. ``m`` is ``min(k, n)`` for a bare
        ``MaxRank(k)`` and ``n`` for every other truncation.
    eigenvectors : array, shape (..., n, m)
        Orthonormal columns up to the rank, zero columns beyond it.
    rank : integer array, shape (...)
        How many eigenpairs each matrix keeps, never below 1 (0 for an empty matrix).
    """

    eigenvalues: Array
    eigenvectors: Array
    rank: Array
