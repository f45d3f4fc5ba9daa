r"""Gradients of gauge-invariant losses in higher precision, from the matrix *as rounded*.

The entries of the floating-point matrix are taken as exact numbers: the question is what the gradient
at this matrix is, not at the one that was meant before rounding. Two oracles share no step with each
other or with the library.
"""

from typing import Any

import numpy as np

from specgrad.testing._requirements import mpmath
from specgrad.testing.losses import ClusterLoss
from specgrad.testing.matrices import Matrix

__all__ = ["cluster_gradient", "subspace_gradient"]


def cluster_gradient(matrix: Matrix, loss: ClusterLoss, digits: int = 50) -> Matrix:
    r"""The gradient of a `ClusterLoss` from an eigendecomposition with many digits.

    With ``i`` inside a cluster and ``j`` outside of it,

        ``gA = 2 herm sum_c sum_ij v_i (v_i^H W_c v_j) v_j^H / (l_i - l_j)``,

    so gaps inside a cluster are never divided by.

    Parameters
    ----------
    matrix : NumPy array, shape (n, n)
        Hermitian; taken as exact.
    loss : ClusterLoss
        Its columns count ascending eigenvalues.
    digits : int, default 50
        Working precision, decimal.

    Returns
    -------
    NumPy array, shape (n, n)
        In double precision. The cost, in Python, is seconds from n = 32.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import ClusterLoss, cluster_gradient
    >>> loss = ClusterLoss(clusters=((1,),))
    >>> gradient = cluster_gradient(np.diag([1.0, 3.0]), loss)
    >>> bool(np.isclose(gradient[0, 1], loss.weight(0, 2, "float64")[0, 1] / 2))
    True
    """
    n = matrix.shape[-1]
    with mpmath.workdps(digits):
        solve = mpmath.eighe if np.iscomplexobj(matrix) else mpmath.eigsy
        exact = mpmath.matrix(matrix.tolist())
        values, vectors = solve(exact)
        total = mpmath.zeros(n)
        for index, cluster in enumerate(loss.clusters):
            weight = mpmath.matrix(loss.weight(index, n, matrix.dtype).tolist())
            inner = vectors.H * weight * vectors
            for i in range(n):
                for j in range(n):
                    if i in cluster and j not in cluster:
                        pair = inner[i, j] / (values[i] - values[j])
                        total[i, j] += pair
                        total[j, i] += mpmath.conj(pair)
        return _to_numpy(vectors * total * vectors.H, matrix)


def subspace_gradient(matrix: Matrix, loss: ClusterLoss) -> Matrix:
    r"""The gradient of a `ClusterLoss` of the leading subspace, without any eigenvectors.

    The projector on the eigenvalues above a cut is ``(I + sign(A - cut I))/2``, and its Frechet
    derivative is self-adjoint, so the gradient is ``L_sign(A - cut I, W)/2``. Both come from the
    Newton-Schulz iteration ``X <- X (3 I - X^2)/2`` and its tangent, in NumPy's long double (or double,
    for a matrix in single precision). Nothing in it looks inside the subspace, so it is right at every
    gap there, at sizes out of reach for `cluster_gradient`.

    Parameters
    ----------
    matrix : NumPy array, shape (n, n)
        Hermitian; taken as exact.
    loss : ClusterLoss
        Of one cluster: the last columns, up to the largest eigenvalue.

    Returns
    -------
    NumPy array, shape (n, n)
        In double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad.testing import ClusterLoss, cluster_gradient, gap_spectrum, subspace_gradient
    >>> a, loss = gap_spectrum(1e-9).matrix(5), ClusterLoss(clusters=((3, 4),))
    >>> bool(np.allclose(subspace_gradient(a, loss), cluster_gradient(a, loss), rtol=1e-14, atol=1e-14))
    True
    """
    n = matrix.shape[-1]
    (cluster,) = loss.clusters
    wider: Any = {"f": np.float64, "F": np.complex128, "d": np.longdouble, "D": np.clongdouble}
    precision = wider[matrix.dtype.char]
    values = np.linalg.eigvalsh(matrix.astype(np.complex128 if np.iscomplexobj(matrix) else np.float64))
    cut = 0.5 * (values[min(cluster)] + values[min(cluster) - 1])
    radius = max(values[-1] - cut, cut - values[0])
    sign = (matrix.astype(precision) - cut * np.eye(n, dtype=precision)) / radius
    tangent = loss.weight(0, n, matrix.dtype).astype(precision) / radius
    for _ in range(_ITERATIONS):
        square = sign @ sign
        tangent = 1.5 * tangent - 0.5 * (square @ tangent + sign @ tangent @ sign + tangent @ square)
        sign = 1.5 * sign - 0.5 * square @ sign
    return np.asarray(0.5 * tangent).astype(np.complex128 if np.iscomplexobj(matrix) else np.float64)


# A cut a hundredth of the radius away from the spectrum needs 12 steps up to 1 and 6 to double the digits.
_ITERATIONS = 20


def _to_numpy(matrix: Any, like: Matrix) -> Matrix:
    kind = complex if np.iscomplexobj(like) else float
    return np.array([[kind(matrix[i, j]) for j in range(matrix.cols)] for i in range(matrix.rows)])
