r"""The first and second derivative of a matrix function ``f(A) = V diag(f(l)) V^H``.

First (the Frechet derivative), linear and self-adjoint in ``E``, so vjp and jvp are one formula:

    ``L(A, E) = V ( F * (V^H E V) ) V^H``,   ``F_ij = f[l_i, l_j]``

Second, with ``E`` and ``H`` in the eigenbasis, ``E~ = V^H E V``:

    ``D2 f(A)[E, H] = V Q V^H``,   ``Q_ij = sum_k f[l_i, l_k, l_j] (E~_ik H~_kj + H~_ik E~_kj)``

Neither has a gap in a denominator, so both are exact at ties. The sum is taken a slice of ``k`` at a
time, in memory n^2. Under a truncation ``f`` is 0 on the dropped eigenvalues, and divided differences
across the cut contain ``1/(l_kept - l_dropped)``, for which the gap rule of the cut stands.

Assumptions: `A` and ``E`` Hermitian; only the Hermitian part of a cotangent counts.

Source: N. J. Higham, "Functions of Matrices" (SIAM, 2008), theorem 3.11, for the first; the second
follows from applying it to the block matrix [[A, E], [0, A]].
"""

from specgrad._array import adjoint, as_column, as_row, hermitian_part
from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.divided_differences import second_difference
from specgrad.functions import MatrixFunction
from specgrad.leading import kept_or_leading

__all__ = ["frechet", "second_derivative"]


def frechet(vectors: Array, pairs: Array, direction: Array) -> Array:
    """``L(A, E)``, Hermitian, from ``V``, ``F`` and ``E``, whose Hermitian part counts."""
    inner = adjoint(vectors) @ hermitian_part(direction) @ vectors
    return vectors @ (pairs * inner) @ adjoint(vectors)


def second_derivative(
    function: MatrixFunction,
    values: Array,
    vectors: Array,
    cut: tuple[Array, Array, Array] | None,
    first: Array,
    second: Array,
) -> Array:
    """``D2 f(A)[E, H]``, Hermitian, bilinear and symmetric in the directions ``E`` and ``H``.

    `cut` is None, or for a truncation the mask of what is kept (..., n), ``F``, and an antisymmetric matrix
    that stands for ``1/(l_j - l_i)`` at the cut.
    """
    e = adjoint(vectors) @ hermitian_part(first) @ vectors
    h = adjoint(vectors) @ hermitian_part(second) @ vectors
    total = namespace(values).zeros_like(e)
    for k in range(values.shape[-1]):
        if cut is None:
            middle = values[..., k, None, None]
            weights = second_difference(function, as_column(values), middle, as_row(values))
        else:
            weights = _across_cut(function, values, *cut, k)
        products = as_column(e[..., :, k]) * as_row(h[..., k, :])
        total = total + weights * (products + as_column(h[..., :, k]) * as_row(e[..., k, :]))
    return vectors @ total @ adjoint(vectors)


def _across_cut(
    function: MatrixFunction, values: Array, kept: Array, pairs: Array, inverse: Array, k: int
) -> Array:
    """``f[l_i, l_k, l_j]`` at ``[..., i, j]``, where `f` is 0 on the dropped eigenvalues.

    Where the three are not on one side of the cut, two that are on different sides carry the quotient.
    """
    xp = namespace(values)
    safe = kept_or_leading(values, kept)
    inside = second_difference(function, as_column(safe), safe[..., k, None, None], as_row(safe))
    pairs_ik, pairs_kj = as_column(pairs[..., :, k]), as_row(pairs[..., k, :])
    i_against_j = inverse * (pairs_kj - pairs_ik)
    half = as_column(0.5 * inverse[..., :, k]) * (pairs_kj - pairs)
    against_k = half + half.mT  # the mean of both quotients, which a biased rule tells apart
    row, column, middle = as_column(kept), as_row(kept), kept[..., k, None, None]
    one_side = xp.where(row & middle, inside, 0.0)
    return xp.where(row != column, i_against_j, xp.where(row != middle, against_k, one_side))
