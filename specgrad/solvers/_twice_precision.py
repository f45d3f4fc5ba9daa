r"""Products of matrices in about twice the precision, rounded once.

Where the library has a dtype of twice the precision, the products are computed in it. Else each factor is
cut into slices of so few bits that the products of slices have no rounding error, and these are added up
with the error of every sum carried along.

References
----------
Ozaki, Ogita, Oishi and Rump, Numerical Algorithms 2012 (slices); Ogita, Rump and Oishi, SIAM J. Sci.
Comput. 2005 (sums).
"""

import math
from collections.abc import Iterator
from itertools import chain, product

from specgrad._array import adjoint, as_row, device, identity
from specgrad._namespace import eps, is_complex, namespace
from specgrad._typing import Array, Namespace

__all__ = ["gram_defect", "residual"]


def residual(a: Array, vectors: Array, values: Array) -> Array:
    """``A V - V diag(l)``, shape (..., n, n)."""
    row = as_row(values)
    wider = _wider_dtypes(a)
    if wider is None:
        return _sum(chain(_products(a, vectors), _elementwise_products(vectors, -row)))
    xp, (real, dtype) = namespace(a), wider
    vectors = xp.astype(vectors, dtype)
    return xp.astype(xp.astype(a, dtype) @ vectors - vectors * xp.astype(row, real), a.dtype)


def gram_defect(vectors: Array) -> Array:
    """``I - V^H V``, shape (..., n, n)."""
    wider = _wider_dtypes(vectors)
    if wider is None:
        return _sum(chain(_products(-adjoint(vectors), vectors), [identity(vectors)]))
    xp, (_, dtype) = namespace(vectors), wider
    wide = xp.astype(vectors, dtype)
    return xp.astype(identity(wide) - adjoint(wide) @ wide, vectors.dtype)


def _wider_dtypes(a: Array) -> tuple[object, object] | None:
    """The real dtype of twice the precision of `a`, and the one for its products, if the library has them."""
    xp: Namespace = namespace(a)
    if _digits(a) > 24 or "float64" not in xp.__array_namespace_info__().dtypes(device=device(a)):
        return None
    return xp.float64, xp.complex128 if is_complex(a) else xp.float64


def _digits(x: Array) -> int:
    return 1 - round(math.log2(eps(x)))


def _products(left: Array, right: Array) -> Iterator[Array]:
    """Matrices without rounding error whose sum is ``left @ right``, up to twice the precision."""
    terms = left.shape[-1] * (2 if is_complex(left) else 1)
    width = (_digits(left) - math.ceil(math.log2(max(terms, 1)))) // 2
    count = -(-2 * _digits(left) // (width - 1))
    lefts = _slices(left, -1, width, count)
    rights = _slices(right, -2, width, count)
    return (lefts[p] @ rights[q] for p, q in product(range(count), repeat=2) if p + q < count)


def _slices(x: Array, axis: int, width: int, count: int) -> list[Array]:
    """Arrays that sum up to `x`, of at most `width` bits each in units that are common along an axis."""
    xp = namespace(x)
    # Added and taken away again, a number that is this much larger rounds off all but the leading bits.
    # What is left is smaller than the unit of the sum, and its own number smaller in proportion.
    shift = xp.max(xp.abs(x), axis=axis, keepdims=True) * 2.0 ** (_digits(x) + 1 - width)
    if is_complex(x):
        shift = xp.astype(shift, x.dtype) * (1 + 1j)
    slices = []
    for _ in range(count):
        leading = (x + shift) - shift
        slices.append(leading)
        x = x - leading
        shift = shift * 2.0 ** (1 - width)
    return slices


def _elementwise_products(x: Array, y: Array) -> Iterator[Array]:
    """Arrays without rounding error whose sum is ``x * y``."""
    return (part * other for part, other in product(_halves(x), _halves(y)))


def _halves(x: Array) -> tuple[Array, Array]:
    shift = x * 2.0 ** ((_digits(x) + 1) // 2)
    leading = (x + shift) - shift
    return leading, x - leading


def _sum(terms: Iterator[Array]) -> Array:
    """The sum of all, rounded once: the rounding error of each addition is exact, and added at the end."""
    total = next(terms)
    error = namespace(total).zeros_like(total)
    for term in terms:
        larger = total + term
        added = larger - total
        error = error + ((total - (larger - added)) + (term - added))
        total = larger
    return total + error
