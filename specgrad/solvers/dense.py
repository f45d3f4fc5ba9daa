"""Solvers that call the array library's dense decompositions."""

from dataclasses import dataclass

from specgrad._array import adjoint, as_row, column_products, take_columns
from specgrad._namespace import eps, namespace, smallest_normal
from specgrad._typing import Array

__all__ = ["DenseEigh", "DenseSVD"]

# Backward error of a stable SVD, in units of n eps times the largest singular value. A larger residual says
# that singular vectors are no eigenvectors.
_RESIDUAL = 8


@dataclass(frozen=True)
class DenseEigh:
    """The array library's ``linalg.eigh``: the default, and fastest nearly everywhere.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import DenseEigh
    >>> DenseEigh().solve(np.diag([2.0, 1.0]))[0]
    array([1., 2.])
    """

    def solve(self, a: Array) -> tuple[Array, Array]:
        values, vectors = namespace(a).linalg.eigh(a)
        return values, vectors

    def eigenvalues(self, a: Array) -> Array:
        """The eigenvalues alone, in less time."""
        return namespace(a).linalg.eigvalsh(a)


@dataclass(frozen=True)
class DenseSVD:
    """The array library's ``linalg.svd``, as in the papers: for positive semi-definite matrices.

    Singular values are magnitudes; the sign of an eigenvalue is recovered from the two singular vectors.
    Where two eigenvalues differ in sign and agree in magnitude, up to about ``eps**(1/4)``, it cannot be, and
    they are NaN, which `Fallback` takes up: for indefinite matrices use `DenseEigh`, which is also faster.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import DenseSVD
    >>> DenseSVD().solve(np.diag([2.0, -1.0]))[0]
    array([-1.,  2.])
    """

    def solve(self, a: Array) -> tuple[Array, Array]:
        xp = namespace(a)
        left, singular, right = xp.linalg.svd(a, full_matrices=False)
        vectors = adjoint(right)
        if a.shape[-1] == 0:
            return singular, vectors
        values = xp.where(column_products(vectors, left) < 0, -singular, singular)
        # Eigenvalues of opposite sign and about equal magnitude share singular vectors, none of them theirs.
        error = xp.max(xp.abs(a @ vectors - vectors * as_row(values)), axis=-2)
        allowed = max(eps(a) ** 0.75, _RESIDUAL * a.shape[-1] * eps(a)) * singular[..., :1]
        values = xp.where(error <= allowed + smallest_normal(a), values, xp.nan)
        return take_columns(xp.argsort(values, axis=-1), values, vectors)
