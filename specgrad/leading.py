"""The leading eigenvalues: what a truncation keeps, as a mask (..., n) and as a rank (...)."""

from specgrad._array import device, namespace, take_columns
from specgrad._typing import Array

__all__ = ["by_magnitude", "leading", "leading_run", "rank_of", "stand_in"]


def by_magnitude(values: Array, vectors: Array) -> tuple[Array, Array]:
    """Eigenvalues and eigenvectors, the largest magnitude first; of equals in the order they came."""
    xp = namespace(values)
    order = xp.argsort(xp.abs(values), axis=-1, descending=True, stable=True)
    return take_columns(order, values, vectors)


def leading_run(marks: Array) -> Array:
    """The leading run of True in `marks`, at least one long: a mask of the same shape (..., n)."""
    xp = namespace(marks)
    breaks = xp.cumulative_sum(xp.astype(~marks, xp.int32), axis=-1, dtype=xp.int32)
    return (breaks == 0) | (xp.arange(marks.shape[-1], device=device(marks)) == 0)


def rank_of(kept: Array) -> Array:
    """How many a mask keeps, shape (...)."""
    xp = namespace(kept)
    return xp.sum(xp.astype(kept, xp.int32), axis=-1, dtype=xp.int32)


def leading(rank: Array, size: int) -> Array:
    """The mask (..., size) of the first `rank` positions; `rank` (...) is an integer."""
    return namespace(rank).arange(size, dtype=rank.dtype, device=device(rank)) < rank[..., None]


def stand_in(values: Array, kept: Array) -> Array:
    """The eigenvalues with the leading one in place of those dropped, where a function may be undefined."""
    return namespace(values).where(kept, values, values[..., :1])
