r"""Gap rules from a series in the ratio ``q = b/a`` of a pair of eigenvalues, ``|a| >= |b|``.

``1/(a - b) = (1/a) / (1 - q)``, and each rule puts a polynomial or rational function of ``q`` in place
of ``1/(1 - q)``. They accept indefinite spectra; ``q`` is then in [-1, 1].

All of them rest on the geometric sum ``S_m = 1 + q + ... + q^(m-1)``. In ``t = 1 - q``, which is
computed from the gap without cancellation, ``S_2m = S_m (2 - t S_m)``: this is Newton's iteration for
``1/t``, so the sum comes exact to rounding in log2(m) steps, with smooth derivatives and no branch.
"""

from dataclasses import dataclass

from specgrad._array import (
    as_column,
    as_row,
    device,
    differences,
    eps,
    magnitude_scale,
    namespace,
    off_diagonal,
    reciprocal,
    smallest_normal,
)
from specgrad._require import require_above, require_whole
from specgrad._typing import Array
from specgrad.gaps._rule import RoundingFloor, no_ties

__all__ = ["BalancedPowerIterationGap", "PadeGap", "PowerIterationGap", "TaylorGap", "geometric_sum"]


@dataclass(frozen=True)
class PowerIterationGap:
    r"""SVD-PI: the derivative of `steps` power iterations started at the eigenvectors, in closed form.

    Unrolling Algorithm 1 of Wang et al. (K steps ``v <- A v/||A v||`` per eigenvector, Rayleigh
    quotients, deflation ``A <- A - A v v^H``) and differentiating the whole chain gives exactly, with
    ``l_i > l_j``, ``q = l_j/l_i`` and ``f_K(q) = 1 + q + ... + q^(K-1)``,

    .. math:: K_{ji} = f_K(q)/l_i, \qquad K_{ij} = -f_{K-1}(q)/l_i .

    The matrix is not antisymmetric. At a tie the later of two positions counts as the larger value,
    and subspace losses come out wrong; `BalancedPowerIterationGap` repairs that.

    Parameters
    ----------
    steps : int, default 19
        ``K``; see `required_steps`.

    References
    ----------
    Wang, Dang, Hu, Fua and Salzmann, "Backpropagation-friendly eigendecomposition", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import PowerIterationGap
    >>> PowerIterationGap(steps=2).matrix(np.array([1.0, 2.0]))
    array([[ 0.  ,  0.75],
           [-0.5 ,  0.  ]])
    """

    steps: int = 19

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")

    def matrix(self, values: Array) -> Array:
        leads, weight, t = _pairs(values)
        fewer = geometric_sum(t, self.steps - 1)
        last_power = 1.0 - t * fewer  # q^(K-1)
        off = namespace(values).astype(off_diagonal(values), values.dtype)
        return weight * off * (fewer + leads * last_power)

    def bound(self, values: Array) -> Array:
        return self.steps * _largest_reciprocal(values)


@dataclass(frozen=True)
class BalancedPowerIterationGap:
    r"""The antisymmetric part of `PowerIterationGap`: ``(f_K(q) + f_{K-1}(q))/(2 a)``, and 0 at ties.

    The same bound ``K/a`` as the published rule, but subspace losses come out right at ties, and the
    gradient is equivariant under rotations.

    Parameters
    ----------
    steps : int, default 19
        ``K``; see `required_steps`.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.
    """

    steps: int = 19
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")

    def matrix(self, values: Array, tie_width: Array | None = None) -> Array:
        weight, t = _antisymmetric_pairs(values)
        fewer = geometric_sum(t, self.steps - 1)
        pairs = weight * (fewer + 0.5 * (1.0 - t * fewer))
        return no_ties(pairs, differences(values), tie_width)

    def bound(self, values: Array) -> Array:
        return self.steps * _largest_reciprocal(values)


@dataclass(frozen=True)
class TaylorGap:
    """SVD-Taylor: ``(1 + q + ... + q^degree)/a``, and 0 at ties.

    Parameters
    ----------
    degree : int, default 100
        Degree of the Taylor polynomial of ``1/(1 - q)``. The bound is ``(degree + 1)/a``.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.
    """

    degree: int = 100
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_whole(0, self, "degree")

    def matrix(self, values: Array, tie_width: Array | None = None) -> Array:
        weight, t = _antisymmetric_pairs(values)
        return no_ties(weight * geometric_sum(t, self.degree + 1), differences(values), tie_width)

    def bound(self, values: Array) -> Array:
        return (self.degree + 1) * _largest_reciprocal(values)


@dataclass(frozen=True)
class PadeGap:
    r"""SVD-Pade: a rational function of degree [50/50] for ``1/(1 - q)``, and 0 at ties.

    ``1/(1 - q)`` is itself rational, so its Pade system of this degree is singular: every solution is
    ``P/((1 - q) P)`` for some polynomial ``P``. The published recipe solves the system at 20 digits and
    so draws ``P`` from rounding. Its ``P`` changes sign between 0 and 1, and its value at ``q = 1``, the
    6.00e36 of the paper's table of bounds, is the rounding of one sum. Here the solution is the one with

    .. math:: P(q) = \sum_{k<50} (q/2)^k, \qquad Q(q) = 2 - P(q) - 2 (q/2)^{50},

    whose coefficients are powers of two and whose ``P`` is positive on [-1, 1]. The two sums resolve
    ``Q/P`` to a few eps, so ``Q/P`` is held at ``resolution`` from below: that gives the finite bound
    ``1/(resolution a)``, with the right sign. The rule approximates an exact function by the rounding
    errors it was meant to avoid; `BroadenedGap` is the well-conditioned rational function.

    Parameters
    ----------
    resolution : float, optional
        Smallest ``Q/P``; by default 64 eps of the dtype.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.
    """

    resolution: float | None = None
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_above(0, self, "resolution")

    def matrix(self, values: Array, tie_width: Array | None = None) -> Array:
        weight, t = _antisymmetric_pairs(values)
        half_q = 0.5 * (1.0 - t)
        numerator = geometric_sum(1.0 - half_q, 50)
        denominator = 2.0 - numerator - 2.0 * half_q**50
        ratio = namespace(values).maximum(denominator / numerator, self._floor(values) + 0.0 * t)
        return no_ties(weight / ratio, differences(values), tie_width)

    def bound(self, values: Array) -> Array:
        return _largest_reciprocal(values) / self._floor(values)

    def _floor(self, values: Array) -> float:
        return 64 * eps(values) if self.resolution is None else self.resolution


def geometric_sum(t: Array, terms: int) -> Array:
    """``1 + q + ... + q^(terms - 1)`` with ``q = 1 - t`` in [-1, 1]; 0 for no terms."""
    xp = namespace(t)
    if terms < 2:
        return xp.full_like(t, terms)
    bits = f"{int(terms):b}"  # a compiler's symbol has no binary digits
    total = 2.0 - t if bits[1] == "0" else 3.0 - t * (3.0 - t)
    for bit in bits[2:]:
        total = total * (2.0 - t * total)
        if bit == "1":
            total = total + (1.0 - t * total)
    return total


def _pairs(values: Array) -> tuple[Array, Array, Array]:
    """For each pair: 1 where the column's value leads, the signed ``1/a``, and ``t = (a - b)/a``.

    The sign is that of ``1/(l_j - l_i)``. Where ``a`` is 0 beyond rounding, ``1/a`` is 0.
    """
    xp = namespace(values)
    by_magnitude = xp.argsort(xp.abs(values), axis=-1, stable=True)
    rank = xp.astype(xp.argsort(by_magnitude, axis=-1), values.dtype)  # of equals, the later one leads
    leads = as_row(rank) >= as_column(rank)
    inverse = _reciprocals(values)
    weight = xp.where(leads, as_row(inverse), -as_column(inverse))
    # Halved first: differences of opposite values may leave the exponent range, and t stays within 2.
    return xp.astype(leads, values.dtype), weight, 2.0 * (differences(0.5 * values) * weight)


def _antisymmetric_pairs(values: Array) -> tuple[Array, Array]:
    """The signed ``1/a``, 0 at ties, where the sign is lost, and ``t = (a - b)/a``."""
    _, weight, t = _pairs(values)
    return weight * namespace(values).astype(t != 0, t.dtype), t


def _reciprocals(values: Array) -> Array:
    """``1/l``, and 0 for eigenvalues that are 0 beyond rounding."""
    xp = namespace(values)
    precision = eps(values)
    negligible = xp.maximum(
        precision**2 * magnitude_scale(values),
        xp.full((), smallest_normal(values) / precision, dtype=values.dtype, device=device(values)),
    )
    return reciprocal(values, where=xp.abs(values) > negligible)


def _largest_reciprocal(values: Array) -> Array:
    """The largest ``1/a`` over pairs, ``a`` the larger magnitude of each; shape (...)."""
    xp = namespace(values)
    if values.shape[-1] < 2:
        return xp.zeros(values.shape[:-1], dtype=values.dtype, device=device(values))
    leads_some_pair = xp.argsort(xp.abs(values), axis=-1)[..., 1:]
    return xp.max(xp.take_along_axis(xp.abs(_reciprocals(values)), leads_some_pair, axis=-1), axis=-1)
