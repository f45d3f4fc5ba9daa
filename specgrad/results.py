"""What functions of several outputs return: named tuples, which unpack, print and pass through transforms."""

from typing import NamedTuple

from specgrad._typing import Array

__all__ = ["DenoisingResult", "EighResult", "TruncatedEighResult", "WhiteningResult"]


class EighResult(NamedTuple):
    """Eigenvalues in ascending order and the matrix of eigenvectors.

    Attributes
    ----------
    eigenvalues : array, shape (..., n)
        Real, ascending, in the precision of the eigenvectors.
    eigenvectors : array, shape (..., n, n)
        Columns, orthonormal in the metric if there is one; column ``j`` belongs to ``eigenvalues[..., j]``.
    """

    eigenvalues: Array
    eigenvectors: Array


class TruncatedEighResult(NamedTuple):
    """The dominant part of an eigendecomposition, largest magnitude first.

    Attributes
    ----------
    eigenvalues : array, shape (..., m)
        Real, in the precision of the eigenvectors, by descending magnitude; 0 beyond the rank. ``m`` is
        ``min(k, n)`` for a bare ``MaxRank(k)`` and ``n`` for every other truncation.
    eigenvectors : array, shape (..., n, m)
        Orthonormal columns up to the rank, zero columns beyond it.
    rank : integer array, shape (...)
        How many eigenpairs each matrix keeps, never below 1 (0 for an empty matrix).
    """

    eigenvalues: Array
    eigenvectors: Array
    rank: Array


class WhiteningResult(NamedTuple):
    """Whitened data, and what whitens other data alike: ``matrix @ (x - mean)``, in one dtype with it.

    Attributes
    ----------
    whitened : array, shape (..., p, m)
    mean : array, shape (..., p)
    matrix : array, shape (..., groups, d, d)
        The inverse square root of the covariance of each group of ``d = p/groups`` variables. Where a
        truncation keeps more than the rank of the data, what it does in their null space is arbitrary.
    """

    whitened: Array
    mean: Array
    matrix: Array


class DenoisingResult(NamedTuple):
    """Denoised data, and what denoises other data alike: ``matrix @ (x - mean)``, in one dtype with it.

    Attributes
    ----------
    denoised : array, shape (..., p, m)
    mean : array, shape (..., p)
    matrix : array, shape (..., groups, d, d)
        The projector on the leading eigenvectors of each group of ``d = p/groups`` variables, times the
        scaling; arbitrary in the null space of the data, where more are kept than their rank.
    rank : integer array, shape (..., groups)
        The number of eigenvectors kept.
    """

    denoised: Array
    mean: Array
    matrix: Array
    rank: Array
