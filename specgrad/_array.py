"""The few array operations that every formula here uses.

Shapes end in the matrix axes, ``(..., n, n)``; eigenvalues are ``(..., n)``.
"""

from typing import Any

from specgrad._namespace import eps, is_complex, namespace, smallest_normal
from specgrad._typing import Array

__all__ = [
    "adjoint",
    "as_column",
    "as_row",
    "column_products",
    "conj",
    "device",
    "differences",
    "hermitian_part",
    "identity",
    "magnitude_scale",
    "off_diagonal",
    "plus_identity",
    "positions",
    "real_part",
    "real_product",
    "reciprocal",
    "rounding_of",
    "take_columns",
]


def real_part(x: Array) -> Array:
    """The real part; a real array as it is."""
    return namespace(x).real(x) if is_complex(x) else x


def conj(x: Array) -> Array:
    """The complex conjugate; a real array as it is."""
    if not is_complex(x):
        return x
    # By the method of arrays that have one: some libraries only mark what is conjugate, until it is read.
    return x.conj() if hasattr(x, "conj") else namespace(x).conj(x)


def real_product(x: Array, y: Array) -> Array:
    """``Re(conj(x) y)``, elementwise."""
    return real_part(conj(x) * y)


def column_products(left: Array, right: Array) -> Array:
    """``Re <left_j, right_j>`` over pairs of columns: (..., m, n) and (..., m, n) to (..., n)."""
    return namespace(left).sum(real_product(left, right), axis=-2)


def adjoint(a: Array) -> Array:
    """Conjugate transpose of the last two axes."""
    return conj(a.mT)


def hermitian_part(a: Array) -> Array:
    """``(a + a^H)/2``, halved first so that it cannot overflow."""
    a = 0.5 * a  # under its own name, which gives the memory of a temporary array back
    return a + adjoint(a)


def device(x: Array) -> Any:
    """Where an array is; None, which is left to the library, for one that does not say or is on several."""
    place = getattr(x, "device", None)
    return None if hasattr(place, "device_set") else place


def as_row(values: Array) -> Array:
    """``values[j]`` at ``[..., i, j]``, to broadcast."""
    return values[..., None, :]


def as_column(values: Array) -> Array:
    """``values[i]`` at ``[..., i, j]``, to broadcast."""
    return values[..., :, None]


def differences(values: Array) -> Array:
    """``values[j] - values[i]`` at ``[..., i, j]``."""
    return as_row(values) - as_column(values)


def positions(size: int, like: Array) -> Array:
    """``0, 1, ..., size - 1`` along the last axis, with as many axes as `like`, on which JAX may insist."""
    xp = namespace(like)
    return xp.reshape(xp.arange(size, device=device(like)), (*(1,) * (like.ndim - 1), size))


def identity(like: Array) -> Array:
    """The identity in the precision of `like`, shape (..., n, n), and with as many axes."""
    # Not by `eye`, which some compilers take for a write into a view.
    row = positions(like.shape[-1], like)
    return namespace(like).astype(row.mT == row, like.dtype)


def plus_identity(a: Array, shift: float) -> Array:
    """``A + shift I``."""
    return a + shift * identity(a) if shift else a


def off_diagonal(values: Array) -> Array:
    """The mask of pairs that is False on the diagonal, with an axis more than `values`, shape (..., n)."""
    position = positions(values.shape[-1], values)
    return as_row(position) != as_column(position)


def magnitude_scale(values: Array) -> Array:
    """``max |values|`` along the last axis, kept as an axis of length 1.

    It is 1 for an empty spectrum and for one so small that reciprocals would leave the exponent range:
    such a spectrum is zero in every sense that can be computed with.
    """
    xp = namespace(values)
    if values.shape[-1] == 0:
        return xp.ones((*values.shape[:-1], 1), dtype=values.dtype, device=device(values))
    largest = xp.max(xp.abs(values), axis=-1, keepdims=True)
    return xp.where(largest > smallest_normal(values) / eps(values), largest, 1.0)


def rounding_of(values: Array) -> Array:
    """What eigenvalues (..., n), at least one of them, may be off by rounding: ``n eps max|l|``, (..., 1)."""
    xp = namespace(values)
    return values.shape[-1] * eps(values) * xp.max(xp.abs(values), axis=-1, keepdims=True)


def reciprocal(x: Array, where: Array) -> Array:
    """``1/x`` where the mask holds, 0 elsewhere, with finite derivatives of every order."""
    xp = namespace(x)
    return xp.reciprocal(xp.where(where, x, xp.inf))


def take_columns(order: Array, values: Array, vectors: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors in the given order, an integer array of shape (..., m)."""
    xp = namespace(values)
    if hasattr(xp, "gather"):  # which leaves the size of the batch open where it is compiled
        columns = xp.broadcast_to(as_row(order), (*vectors.shape[:-1], order.shape[-1]))
        return xp.gather(values, -1, order), xp.gather(vectors, -1, columns)
    take = xp.take_along_axis
    return take(values, order, axis=-1), take(vectors, as_row(order), axis=-1)
