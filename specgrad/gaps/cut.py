"""Gap rules that cut the exact one down: clipped to a limit, and kept for pairs with a leading value."""

from dataclasses import dataclass
from math import inf

from specgrad._array import as_column, as_row, device, differences, off_diagonal, reciprocal
from specgrad._namespace import namespace, smallest_normal
from specgrad._require import require, require_whole
from specgrad._typing import Array
from specgrad.gaps.rule import RoundingFloor, require_floor

__all__ = ["ClippedGap", "TopNGap"]


@dataclass(frozen=True)
class ClippedGap:
    """SVD-Trunc: the analytic rule clipped to ``[-limit, limit]``, and 0 at ties.

    The limit is absolute, as published, so this rule is not equivariant under ``A -> c A``.

    Parameters
    ----------
    limit : float, default 1e10
        In units of 1/eigenvalue.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    Raises
    ------
    TypeError, ValueError
        If the limit is no number above 0, or infinite.

    References
    ----------
    Song, Sebe and Wang, "Why approximate matrix square root outperforms accurate SVD in global
    covariance pooling?", ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import ClippedGap
    >>> ClippedGap(limit=10.0).matrix(np.array([1.0, 1.001, 3.001]))
    array([[  0.        ,  10.        ,   0.49975012],
           [-10.        ,   0.        ,   0.5       ],
           [ -0.49975012,  -0.5       ,   0.        ]])
    """

    limit: float = 1e10
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require(self, "limit", "a finite number above 0", lambda limit: 0 < limit < inf)
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        xp = namespace(values)
        gaps = differences(values)
        limit = self.largest(values)
        within = xp.abs(gaps) > 1.0 / limit
        return xp.where(within, reciprocal(gaps, where=within), limit * xp.sign(gaps))

    def bound(self, values: Array) -> Array:
        xp = namespace(values)
        return xp.full(values.shape[:-1], self.largest(values), dtype=values.dtype, device=device(values))

    def largest(self, values: Array) -> float:
        """The limit, or the largest reciprocal that the dtype holds in full precision."""
        return min(self.limit, 1.0 / smallest_normal(values))


@dataclass(frozen=True)
class TopNGap:
    """SVD-TopN: the analytic rule for pairs with one of the `count` leading values, 0 elsewhere.

    The forward pass stays full. Ties with a leading value are infinite, and left to be.

    Parameters
    ----------
    count : int
        How many values, by magnitude, count as leading.
    noise : RoundingFloor, optional
        As in `ExactGap`.

    Raises
    ------
    TypeError, ValueError
        If the count is no number, or no integer of at least 1.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import TopNGap
    >>> TopNGap(count=1).matrix(np.array([1.0, 2.0, 4.0]))
    array([[ 0.        ,  0.        ,  0.33333333],
           [ 0.        ,  0.        ,  0.5       ],
           [-0.33333333, -0.5       ,  0.        ]])
    """

    count: int
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_whole(1, self, "count")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        xp = namespace(values)
        by_magnitude = xp.argsort(xp.abs(values), axis=-1, descending=True, stable=True)
        leads = xp.argsort(by_magnitude, axis=-1) < self.count
        gaps = differences(values)
        counted = off_diagonal(values) if self.noise is None else gaps != 0
        return reciprocal(gaps, where=(as_row(leads) | as_column(leads)) & counted)

    def bound(self, values: Array) -> Array:
        xp = namespace(values)
        if values.shape[-1] == 0:
            return xp.zeros(values.shape[:-1], dtype=values.dtype, device=device(values))
        return xp.max(xp.abs(self.matrix(values)), axis=(-2, -1))
