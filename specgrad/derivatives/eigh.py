r"""The derivative of a Hermitian eigendecomposition ``A = V diag(l) V^H``.

``K[i, j]`` stands for ``1/(l_j - l_i)``, zero on the diagonal, and comes from a gap rule;
``herm(X) = (X + X^H)/2``; ``*`` is elementwise; a ``g`` in front marks a cotangent.

    ``gA = herm( V ( K * (V^H gV) + diag(gl) ) V^H )``                            (vjp)
    ``S  = V^H dA V,   dl = real(diag(S)),   dV = V ( K * S )``                   (jvp)

Assumptions: `A` is Hermitian and only Hermitian tangents count, hence ``herm``. ``V`` is unitary. The
phase of each eigenvector (and the basis inside a tie) is free, so ``diag(V^H gV)`` is real and
``V^H gV`` has no anti-Hermitian part inside a tie for every loss that has a gradient at all; what
violates this is left to the gap rule, and reported by `specgrad.gauge`. Complex cotangents follow
``dL = Re <g, dA>``.

Source: M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
differentiation" (2008), sections 3.1 and 3.2.
"""

from collections.abc import Callable

from specgrad._array import adjoint, as_column, column_products, hermitian_part
from specgrad._typing import Array
from specgrad.gaps import GapRule

__all__ = ["jvp", "vjp"]


def vjp(
    values: Array,
    vectors: Array,
    values_cotangent: Array | None,
    vectors_cotangent: Array | None,
    gap: GapRule,
    signal: Callable[[Array, Array, Array], Array] | None = None,
) -> Array:
    """The cotangent of ``A``, Hermitian to rounding, shape (..., n, n).

    Parameters
    ----------
    values, vectors : array
        ``l`` (..., n) and ``V`` (..., n, n), in any order.
    values_cotangent, vectors_cotangent : array or None
        ``gl`` and ``gV`` of the same shapes; None for zero.
    gap : GapRule
        Gives ``K``.
    signal : callable, optional
        The rounding floor of an antisymmetric rule: from ``l``, the anti-Hermitian part of ``V^H gV`` and
        ``gV`` it gives that part with 0 for the entries that are rounding.
    """
    adjoint_vectors = adjoint(vectors)
    if vectors_cotangent is None:
        return vectors @ (as_column(values_cotangent) * adjoint_vectors)
    inner = adjoint_vectors @ vectors_cotangent
    if signal is None:
        middle = hermitian_part(gap.matrix(values) * inner)
    else:  # an antisymmetric rule meets the anti-Hermitian part alone, and makes it Hermitian
        inner = 0.5 * inner
        inner = inner - adjoint(inner)
        middle = gap.matrix(values) * signal(values, inner, vectors_cotangent)
    product = middle @ adjoint_vectors
    if values_cotangent is not None:
        product = product + as_column(values_cotangent) * adjoint_vectors
    return vectors @ product


def jvp(values: Array, vectors: Array, tangent: Array, gap: GapRule) -> tuple[Array, Array]:
    """The tangents ``dl`` (..., n) and ``dV`` (..., n, n) from ``dA``, whose Hermitian part counts."""
    image = hermitian_part(tangent) @ vectors
    inner = adjoint(vectors) @ image
    return column_products(vectors, image), vectors @ (gap.matrix(values) * inner)
