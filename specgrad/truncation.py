"""Truncations: which eigenvalues to keep, as frozen values that combine with ``&`` and ``|``.

Any frozen dataclass with a method ``keep(a, values, vectors)`` is one. Eigenvalues come largest magnitude
first, and it marks those it would keep. The rank is the length of the leading run of marks, never below 1.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import adjoint, column_products, positions, real_part
from specgrad._namespace import eps, namespace
from specgrad._require import require, require_above, require_whole
from specgrad._typing import Array

__all__ = [
    "Both",
    "EigenvalueFloor",
    "Either",
    "EnergyRatio",
    "MaxRank",
    "RayleighMismatch",
    "Truncation",
]

_ROUNDINGS = 8  # of the largest eigenvalue, by which others may be off


class Truncation(Protocol):
    """What a truncation must offer."""

    def keep(self, a: Array, values: Array, vectors: Array, /) -> Array:
        """Mark the eigenvalues to keep.

        Parameters
        ----------
        a : array, shape (..., n, n)
            The Hermitian matrix.
        values, vectors : array, shapes (..., n) and (..., n, n)
            Its eigenvalues, largest magnitude first, and eigenvectors in the same order.

        Returns
        -------
        boolean array, shape (..., n)
        """


class _Combines:
    """``&`` keeps what both keep, ``|`` what either keeps; the other side may be anyone's truncation."""

    def __and__(self: Truncation, other: Truncation) -> "Both":
        return Both(self, other) if hasattr(type(other), "keep") else NotImplemented

    def __rand__(self: Truncation, other: Truncation) -> "Both":
        return Both(other, self) if hasattr(type(other), "keep") else NotImplemented

    def __or__(self: Truncation, other: Truncation) -> "Either":
        return Either(self, other) if hasattr(type(other), "keep") else NotImplemented

    def __ror__(self: Truncation, other: Truncation) -> "Either":
        return Either(other, self) if hasattr(type(other), "keep") else NotImplemented


@dataclass(frozen=True)
class MaxRank(_Combines):
    """Keep at most `rank` eigenvalues.

    Used alone it slices: the result has ``min(rank, n)`` columns.

    Parameters
    ----------
    rank : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If the rank is no number, or no integer of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaxRank, eigh
    >>> eigh(np.diag([1.0, -3.0, 2.0]), truncation=MaxRank(2)).eigenvalues
    array([-3.,  2.])
    """

    rank: int

    def __post_init__(self) -> None:
        require_whole(1, self, "rank")

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        xp = namespace(values)
        # Not broadcast: made of the eigenvalues, the mask is placed as they are on several devices.
        return xp.zeros_like(values, dtype=xp.bool) | (positions(values.shape[-1], values) < self.rank)


@dataclass(frozen=True)
class EigenvalueFloor(_Combines):
    """Keep eigenvalues above ``absolute + relative * max|l|``.

    The relative part makes "above" mean "above beyond rounding": with ``A = covariance + eps I`` the
    null directions have eigenvalue eps up to rounding, and ``l > eps`` alone would be a coin toss.
    The comparison is signed, so negative eigenvalues (of a covariance: rounding) are not kept, unless one
    leads: the leading eigenvalue always is. In an indefinite matrix a negative eigenvalue ends the run, and
    what is smaller in magnitude is dropped with it: meant for positive semi-definite matrices.

    Parameters
    ----------
    absolute : float, default 0
        In the units of the eigenvalues.
    relative : float, optional
        In units of the largest magnitude; by default n times eps of the dtype.

    Raises
    ------
    TypeError, ValueError
        If one of these is no number.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import EigenvalueFloor, eigh
    >>> int(eigh(np.diag([4.0, 1.0, 1e-20]), truncation=EigenvalueFloor()).rank)
    2
    """

    absolute: float = 0.0
    relative: float | None = None

    def __post_init__(self) -> None:
        for name in ("absolute", "relative"):
            require(self, name, "a number", lambda number: bool(number == number))

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        if values.shape[-1] == 0:
            return values > 0
        relative = values.shape[-1] * eps(values) if self.relative is None else self.relative
        return values > self.absolute + relative * namespace(values).abs(values[..., :1])


@dataclass(frozen=True)
class EnergyRatio(_Combines):
    """Keep the leading eigenvalues that hold a share `ratio` of the energy ``sum |l|``.

    Parameters
    ----------
    ratio : float
        In (0, 1]; 1 keeps all.
    include_crossing : bool, default True
        Whether to keep the eigenvalue at which the cumulative energy reaches the ratio. True keeps the
        fewest that reach it (PCA denoising; "stop when the energy left is below 1 - ratio"). False
        stops before it: the literal test ``gamma_i >= ratio`` of Algorithm 1 in Wang et al. (NeurIPS
        2019), by which a ratio below 1 never keeps the last of several (the identity gets rank n - 1).

    Raises
    ------
    TypeError, ValueError
        If the ratio is no number, or is not in (0, 1]; if `include_crossing` is no truth value.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import EnergyRatio, eigh
    >>> a = np.diag([6.0, 3.0, 1.0])
    >>> int(eigh(a, truncation=EnergyRatio(0.8)).rank)
    2
    >>> int(eigh(a, truncation=EnergyRatio(0.8, include_crossing=False)).rank)
    1
    """

    ratio: float
    include_crossing: bool = True

    def __post_init__(self) -> None:
        require(self, "ratio", "a number in (0, 1]", lambda ratio: 0 < ratio <= 1)
        require(self, "include_crossing", "True or False", lambda choice: choice in (True, False))

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        xp = namespace(values)
        if self.ratio == 1 or values.shape[-1] == 0:
            return values == values  # all but NaN
        size, unit = values.shape[-1], eps(values)
        energy = xp.abs(values) * (1.0 / size)  # so that no sum leaves the range
        rest = xp.flip(xp.cumulative_sum(xp.flip(energy, axis=-1), axis=-1), axis=-1)
        left = rest if self.include_crossing else rest - energy
        # Summed from the smallest, a small rest is as exact as a large one. At the ratio up to rounding
        # counts as reached: 0.9 of 6, 3, 1 is two eigenvalues.
        rounding = min(_ROUNDINGS, size) * unit * energy[..., :1] + size * unit * left
        return left - rounding > (1.0 - self.ratio) * rest[..., :1]


@dataclass(frozen=True)
class RayleighMismatch(_Combines):
    """Keep eigenvalues that agree with the Rayleigh quotient on the deflated matrix.

    Algorithm 1 of Wang et al. (NeurIPS 2019) recomputes each eigenvalue as
    ``l~_i = v_i^H A_i v_i`` with ``A_i = A - sum_{j<i} A v_j v_j^H`` and stops where it is off. To
    first order in rounding, ``l~_i = R_ii - sum_{j<i} R_ij O_ji`` with ``R = V^H A V``, ``O = V^H V``.

    Parameters
    ----------
    tolerance : float, default 0.1
        Largest ``|l~_i - l_i| / |l_i|`` that is kept.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number above 0.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import RayleighMismatch, eigh
    >>> int(eigh(np.diag([3.0, 2.0, 1.0]), truncation=RayleighMismatch()).rank)
    3
    """

    tolerance: float = 0.1

    def __post_init__(self) -> None:
        require_above(0, self, "tolerance")

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        xp = namespace(values)
        image = a @ vectors
        earlier = xp.tril(adjoint(vectors) @ image, k=-1) * (adjoint(vectors) @ vectors).mT
        rayleigh = column_products(vectors, image) - real_part(xp.sum(earlier, axis=-1))
        return xp.abs(rayleigh - values) < self.tolerance * xp.abs(values)


@dataclass(frozen=True)
class Both(_Combines):
    """Keep what both truncations keep: what ``MaxRank(4) & EigenvalueFloor()`` makes."""

    first: Truncation
    second: Truncation

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        return self.first.keep(a, values, vectors) & self.second.keep(a, values, vectors)


@dataclass(frozen=True)
class Either(_Combines):
    """Keep what either truncation keeps: what ``MaxRank(4) | EnergyRatio(0.9)`` makes."""

    first: Truncation
    second: Truncation

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        return self.first.keep(a, values, vectors) | self.second.keep(a, values, vectors)
