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

from functools import partial

from specgrad._array import adjoint, as_column, as_row, hermitian_part
from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.bind import Binding
from specgrad.divided_differences import second_difference
from specgrad.functions import MatrixFunction
from specgrad.leading import kept_or_leading

__all__ = ["frechet", "second_derivative"]


def frechet(vectors: Array, pairs: Array, direction: Array) -> Array:
    """``L(A, E)``, Hermitian, from ``V``, ``F`` and ``E``, whose Hermitian part counts."""
    inner = adjoint(vectors) @ hermitian_part(direction) @ vectors
    return vectors @ (pairs * inner) @ adjoint(vectors)


def second_derivative(
    binding: Binding,
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
    columns, rows = partial(_stack, axis=-1), partial(_stack, axis=-2)
    stacks = [columns(values), columns(e), rows(e), columns(h), rows(h)]
    if cut is not None:
        kept, pairs, inverse = cut
        stacks += [columns(kept), columns(pairs), rows(pairs), columns(inverse)]

    def term(
        value: Array, e_column: Array, e_row: Array, h_column: Array, h_row: Array, *at_cut: Array
    ) -> Array:
        if cut is None:
            weights = second_difference(function, as_column(values), value[..., None, None], as_row(values))
        else:
            weights = _across_cut(function, values, cut, value, *at_cut)
        return weights * (as_column(e_column) * as_row(h_row) + as_column(h_column) * as_row(e_row))

    return vectors @ binding.total(term, *stacks) @ adjoint(vectors)


def _stack(x: Array, axis: int) -> Array:
    """`x` with an axis first, along which it is taken a slice at a time."""
    first = axis % x.ndim
    # Not by `moveaxis`, for which torch.vmap has no rule.
    return namespace(x).permute_dims(x, (first, *(other for other in range(x.ndim) if other != first)))


def _across_cut(
    function: MatrixFunction,
    values: Array,
    cut: tuple[Array, Array, Array],
    value_k: Array,
    kept_k: Array,
    pairs_ik: Array,
    pairs_kj: Array,
    inverse_ik: Array,
) -> Array:
    """``f[l_i, l_k, l_j]`` at ``[..., i, j]``, where `f` is 0 on the dropped eigenvalues.

    Where the three are not on one side of the cut, two that are on different sides carry the quotient.
    """
    xp, (kept, pairs, inverse) = namespace(values), cut
    safe = kept_or_leading(values, kept)
    safe_k = xp.where(kept_k, value_k, values[..., 0])
    inside = second_difference(function, as_column(safe), safe_k[..., None, None], as_row(safe))
    pairs_ik, pairs_kj = as_column(pairs_ik), as_row(pairs_kj)
    i_against_j = inverse * (pairs_kj - pairs_ik)
    half = as_column(0.5 * inverse_ik) * (pairs_kj - pairs)
    against_k = half + half.mT  # the mean of both quotients, which a biased rule tells apart
    row, column, middle = as_column(kept), as_row(kept), kept_k[..., None, None]
    one_side = xp.where(row & middle, inside, 0.0)
    return xp.where(row != column, i_against_j, xp.where(row != middle, against_k, one_side))
