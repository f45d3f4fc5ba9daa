"""Iterative refinement of another solver's eigendecomposition."""

from dataclasses import dataclass, field
from numbers import Integral

from specgrad._array import (
    adjoint,
    as_column,
    as_row,
    column_products,
    differences,
    hermitian_part,
    identity,
    off_diagonal,
    real_part,
    reciprocal,
    take_columns,
)
from specgrad._namespace import eps, namespace
from specgrad._require import require, require_method
from specgrad._typing import Array
from specgrad.solvers._twice_precision import gram_defect, residual
from specgrad.solvers.dense import DenseEigh
from specgrad.solvers.protocol import Solver, failed, replaced, solved, without_looking

__all__ = ["Refined"]


@dataclass(frozen=True)
class Refined:
    r"""The answer of `solver`, refined to nearly all digits that its dtype can hold.

    A backward stable solver errs by ``u |A|`` in each eigenvalue and by ``u |A|/gap`` in each eigenvector, u
    the rounding unit: small eigenvalues and close eigenvectors may have no right digit. After one step that
    is ``u |l| + u^(5/3) |A|`` and ``u + u^(4/3) |A|/gap``, and after a second one ``u |l| + u^2 |A|`` and
    ``u + u^2 |A|/gap``, up to factors that grow with n. The result is orthonormal, ascending, and in the
    dtype of the input.

    It answers for the matrix as stored. If its entries carry errors of u themselves, as those of a covariance
    do, then so do its eigenvalues, and refinement has little to tell. Of two eigenvalues that are large and
    close both are rounded, so their gap, and the gradient of their eigenvectors, gains less than these do.
    Roots and logarithms take eigenvalues within ``n eps max|l|`` of 0 for 0, whatever the solver: to keep
    smaller ones, compose the function from `eigh`.

    With ``C = V^H A V - diag(l)``, whose diagonal corrects the eigenvalues, those closer than
    ``|offdiag(C)| u^(-1/3)`` count as a cluster. Between clusters eigenvectors are corrected by
    ``C_ij/(l_j - l_i)``, which is then below ``u^(1/3)``; inside one they are decomposed anew by `solver`, on
    the cluster's own scale. So a repeated eigenvalue divides nothing, and a step costs another call of
    `solver`. Where a step overflows, the matrix keeps the answer that it had.

    Residuals are computed as if in twice the precision: those of float32 in float64, by two products in a
    step; those of float64, for which there is no wider dtype, by 30 and more products of slices without
    rounding error. So it takes much longer than `solver` alone, most of all in float64. A compiler that is
    told to reorder sums, as those of PyTorch and JAX are not by default, undoes the slices: the result is
    then that of working precision.

    Parameters
    ----------
    solver : Solver, default DenseEigh()
        Its eigenvectors must be orthonormal up to rounding.
    steps : int, default 1
        1 or 2.

    Raises
    ------
    TypeError, ValueError
        For any other number of steps, and for a solver without a method ``solve``.

    References
    ----------
    Ogita and Aishima, Japan J. Indust. Appl. Math. 2018; for clusters, part II, 2019.

    Examples
    --------
    The smaller eigenvalue of this matrix, of determinant -1, is -5e-9: below the rounding of the larger one.

    >>> import numpy as np
    >>> from specgrad import Refined
    >>> a = np.array([[1e8 + 1, 1e8], [1e8, 1e8 - 1]])
    >>> values, _ = Refined().solve(a)
    >>> print(f"{values[0]:.12e}")
    -5.000000000000e-09
    """

    solver: Solver = field(default_factory=lambda: DenseEigh())
    steps: int = 1

    def __post_init__(self) -> None:
        require_method(self.solver, "solve", "solver", "DenseEigh()")
        # After 2 the dtype holds no more digits.
        require(self, "steps", "the integer 1 or 2", lambda k: isinstance(k, Integral) and k in (1, 2))

    def solve(self, a: Array) -> tuple[Array, Array]:
        found = solved(self.solver, a)
        if a.shape[-1] < 2:
            return found
        for _ in range(self.steps):
            refined = _step(self.solver, a, *found)
            found = replaced(failed(*refined), found, refined)
        return found

    def without_looking(self) -> Solver:
        """The same from a solver that looks at no value."""
        return Refined(without_looking(self.solver), self.steps)


def _step(solver: Solver, a: Array, values: Array, vectors: Array) -> tuple[Array, Array]:
    xp = namespace(a)
    # With R = I - V^H V, the basis V (I + R/2) is orthonormal and the matrix diag(l) + C in it, both up to
    # terms of second order. As C comes from a residual, its error is small against itself.
    coupling = hermitian_part(adjoint(vectors) @ residual(a, vectors, values))
    # Close eigenvalues differ by less than their rounding errors, so l and the diagonal of C stay apart.
    shifts = real_part(xp.linalg.diagonal(coupling))
    gaps = differences(values) + differences(shifts)
    coupling = xp.where(off_diagonal(values), coupling, 0)
    reach = xp.max(xp.sum(xp.abs(coupling), axis=-1), axis=-1, keepdims=True) * eps(a) ** (-1 / 3)
    cluster = _clusters(xp.linalg.diagonal(gaps, offset=1), reach)
    inside = as_row(cluster) == as_column(cluster)

    # Y is anti-Hermitian and 0 inside clusters: exp(Y) removes C between them, and leaves herm(C Y) inside.
    rotation = coupling * reciprocal(gaps, ~inside)
    block = xp.where(inside, coupling + hermitian_part(coupling @ rotation), 0)
    origin = xp.min(xp.where(inside, as_row(values), xp.inf), axis=-1)
    shifts = shifts + real_part(xp.linalg.diagonal(block))
    block = xp.where(off_diagonal(values), block, 0)
    height = (values - origin) + shifts

    turn = _cluster_eigenvectors(solver, block + as_column(height) * identity(block), cluster, inside)
    # The fourth power of Y, below u^(4/3), is the first to be missed by orthonormality.
    correction = 0.5 * gram_defect(vectors) + rotation + 0.5 * (rotation @ rotation)
    # Rayleigh quotients from where l and C put them, so that the turns round off nothing but the turned part.
    values = values + (shifts + column_products(turn, block @ turn - differences(height) * turn))
    vectors = (vectors + vectors @ correction) @ turn
    return take_columns(xp.argsort(values, axis=-1), values, vectors)


def _clusters(steps: Array, reach: Array) -> Array:
    """The number of the cluster of each eigenvalue, as a float: one ends where a gap exceeds the reach."""
    xp = namespace(steps)
    ends = xp.astype(steps > reach, steps.dtype)
    return xp.cumulative_sum(xp.concat([xp.zeros_like(ends[..., :1]), ends], axis=-1), axis=-1)


def _cluster_eigenvectors(solver: Solver, block: Array, cluster: Array, inside: Array) -> Array:
    """The eigenvectors of a block-diagonal matrix, block by block, and so block-diagonal themselves."""
    xp = namespace(block)
    # Every block is scaled to norm 1 and moved to an interval of its own, [4 k + 1, 4 k + 3]: one call of
    # the solver cannot mix them, and none disappears beside a larger one.
    rows = as_row(xp.sum(xp.abs(block), axis=-1))
    norm = xp.max(xp.where(inside, rows, 0), axis=-1)
    scaled = block * as_column(reciprocal(norm, norm > 0))
    # Where that overflows the step is not taken, and the solver must not fail for the rest of the batch.
    scaled = xp.where(xp.isfinite(scaled), scaled, 0)
    _, eigenvectors = solver.solve(scaled + as_column(4 * cluster + 2) * identity(block))
    return xp.where(inside, eigenvectors, 0)
