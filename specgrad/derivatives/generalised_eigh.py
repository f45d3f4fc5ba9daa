r"""The derivative of a generalised eigendecomposition ``A X = B X diag(l)``, ``X^H B X = I``.

``K[i, j]`` stands for ``1/(l_j - l_i)``, zero on the diagonal, and comes from a gap rule;
``herm(Y) = (Y + Y^H)/2``; ``*`` is elementwise; ``L = diag(l)``; a ``g`` in front marks a cotangent.

    ``S = X^H dB X,   T = X^H dA X - (L S + S L)/2``
    ``dl = real(diag(T)),   dX = X ( K * T - S/2 )``                              (jvp)

    ``Y = X^H gX,   M = herm( K * Y ) + diag(gl)``
    ``gA = X M X^H,   gB = - X ( L M + M L + herm(Y) ) X^H / 2``                  (vjp)

For ``B = I`` and ``dB = 0`` these are those of `specgrad.derivatives.eigh`. Only ``T`` meets the gap rule;
``S/2``, which keeps the columns normalised, is exact for every rule. With the exact rule ``K * T - S/2`` is
the textbook's ``(X^H dA X - S L)_ij / (l_j - l_i)`` off the diagonal.

Assumptions: `A` and `B` are Hermitian, and only Hermitian tangents count; `B` is positive definite. Those of
`specgrad.derivatives.eigh` on the gauge hold for ``X^H gX``. Complex cotangents follow ``dL = Re <g, dA>``.

Source: R. L. Fox and M. P. Kapoor, "Rates of change of eigenvalues and eigenvectors" (AIAA Journal, 1968).
The vjp is the adjoint.
"""

from specgrad._array import adjoint, as_column, as_row, column_products, hermitian_part, identity
from specgrad._typing import Array
from specgrad.gaps import GapRule

__all__ = ["jvp", "vjp"]


def vjp(
    values: Array, vectors: Array, values_cotangent: Array | None, inner: Array | None, gap: GapRule
) -> tuple[Array, Array]:
    """The cotangents of ``A`` and ``B``, Hermitian to rounding, shape (..., n, n).

    Parameters
    ----------
    values, vectors : array
        ``l`` (..., n) and ``X`` (..., n, n).
    values_cotangent, inner : array or None
        ``gl`` and ``Y = X^H gX`` of the same shapes; None for zero, one of them at most.
    gap : GapRule
        Gives ``K``.
    """
    middle = None if inner is None else hermitian_part(gap.matrix(values) * inner)
    if values_cotangent is not None:
        along = as_row(values_cotangent) * identity(vectors)
        middle = along if middle is None else middle + along
    for_metric = (as_column(values) + as_row(values)) * middle
    if inner is not None:
        for_metric = for_metric + hermitian_part(inner)
    back = adjoint(vectors)
    return vectors @ middle @ back, vectors @ (-0.5 * for_metric) @ back


def jvp(
    values: Array, vectors: Array, tangent: Array, metric_tangent: Array, gap: GapRule
) -> tuple[Array, Array]:
    """The tangents ``dl`` (..., n) and ``dX`` (..., n, n) from ``dA`` and ``dB``."""
    back = adjoint(vectors)
    stretch = back @ hermitian_part(metric_tangent) @ vectors
    turn = back @ hermitian_part(tangent) @ vectors - 0.5 * (as_column(values) + as_row(values)) * stretch
    unit = identity(turn)
    return column_products(unit, turn), vectors @ (gap.matrix(values) * turn - 0.5 * stretch)
