"""The leading eigenvalues: what a truncation keeps, as a mask (..., n) and as a rank (...)."""

from specgrad._array import device, positions, take_columns
from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["by_magnitude", "kept_or_leading", "leading", "rank_of"]


def by_magnitude(values: Array, vectors: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors, the largest magnitude first; of equals in the order they came."""
    xp = namespace(values)
    order = xp.argsort(xp.abs(values), axis=-1, descending=True, stable=True)
    return take_columns(order, values, vectors)


def rank_of(marks: Array) -> Array:
    """The length of the leading run of True in `marks` (..., n), at least 1; shape (...)."""
    xp, size = namespace(marks), marks.shape[-1]
    if size == 0:
        return xp.zeros(marks.shape[:-1], dtype=xp.int32, device=device(marks))
    position = xp.astype(positions(size, marks), xp.int32)
    return xp.min(xp.where(marks, size, xp.maximum(position, xp.ones_like(position))), axis=-1)


def leading(rank: Array, size: int) -> Array:
    """The mask (..., size) of the first `rank` positions; `rank` (...) is an integer."""
    rank = rank[..., None]
    return namespace(rank).astype(positions(size, rank), rank.dtype) < rank


def kept_or_leading(values: Array, kept: Array) -> Array:
    """The eigenvalues, with the leading one in place of those dropped, where a function may be undefined."""
    return values if values.shape[-1] == 0 else namespace(values).where(kept, values, values[..., :1])
