r"""Gap rules from a series in the ratio ``q = b/a`` of a pair of eigenvalues, ``|a| >= |b|``.

``1/(a - b) = (1/a) / (1 - q)``, and each rule puts a polynomial or rational function of ``q`` in place
of ``1/(1 - q)``. They are meant for positive semi-definite matrices, ``q`` in [0, 1]. Indefinite spectra are
accepted, but for nearly opposite eigenvalues, ``q`` near -1, a partial sum is 0 or 1 and not 1/2; only the
quotient of `PadeGap` and the mean of two sums in `BalancedPowerIterationGap` are right there too.
"""

from dataclasses import dataclass

from specgrad._array import off_diagonal
from specgrad._namespace import eps, namespace
from specgrad._require import require_above, require_whole
from specgrad._typing import Array
from specgrad.gaps.pairs import antisymmetric_pairs, geometric_sum, largest_reciprocal, signed_pairs
from specgrad.gaps.rule import RoundingFloor, require_floor

__all__ = ["BalancedPowerIterationGap", "PadeGap", "PowerIterationGap", "TaylorGap"]

# Of numerator and denominator of the published approximant.
_DEGREE = 50
# Of eps: what the default of `PadeGap.resolution` leaves for the rounding of both.
_RESOLUTION = 64.0


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

    Raises
    ------
    TypeError, ValueError
        If `steps` is no number, or no integer of at least 1.

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
        leads, weight, t = signed_pairs(values)
        fewer = geometric_sum(t, self.steps - 1)
        last_power = 1.0 - t * fewer  # q^(K-1)
        off = namespace(values).astype(off_diagonal(values), values.dtype)
        return weight * off * (fewer + leads * last_power)

    def bound(self, values: Array) -> Array:
        return self.steps * largest_reciprocal(values)


@dataclass(frozen=True)
class BalancedPowerIterationGap:
    r"""The antisymmetric part of `PowerIterationGap`: ``(f_K(q) + f_{K-1}(q))/(2 a)``, and 0 at ties.

    The same bound ``K/a`` as the published rule, but subspace losses come out right at ties away from 0 (for
    those at 0 add a rounding floor), and the gradient is equivariant under rotations. It is not in the
    papers.

    Parameters
    ----------
    steps : int, default 19
        ``K``; see `required_steps`.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    Raises
    ------
    TypeError, ValueError
        If `steps` is no number, or no integer of at least 1.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import BalancedPowerIterationGap
    >>> BalancedPowerIterationGap(steps=2).matrix(np.array([1.0, 2.0]))
    array([[ 0.   ,  0.625],
           [-0.625,  0.   ]])
    """

    steps: int = 19
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        weight, t = antisymmetric_pairs(values)
        fewer = geometric_sum(t, self.steps - 1)
        return weight * (fewer + 0.5 * (1.0 - t * fewer))

    def bound(self, values: Array) -> Array:
        return self.steps * largest_reciprocal(values)


@dataclass(frozen=True)
class TaylorGap:
    """SVD-Taylor: ``(1 + q + ... + q^degree)/a``, and 0 at ties.

    Parameters
    ----------
    degree : int, default 100
        Degree of the Taylor polynomial of ``1/(1 - q)``. The bound is ``(degree + 1)/a``.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    Raises
    ------
    TypeError, ValueError
        If the degree is no number, or no integer of at least 0.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import TaylorGap
    >>> TaylorGap(degree=2).matrix(np.array([1.0, 2.0]))
    array([[ 0.   ,  0.875],
           [-0.875,  0.   ]])
    """

    degree: int = 100
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_whole(0, self, "degree")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        weight, t = antisymmetric_pairs(values)
        return weight * geometric_sum(t, self.degree + 1)

    def bound(self, values: Array) -> Array:
        return (self.degree + 1) * largest_reciprocal(values)


@dataclass(frozen=True)
class PadeGap:
    r"""SVD-Pade: a rational function of degree [50/50] for ``1/(1 - q)``, and 0 at ties.

    ``1/(1 - q)`` is itself rational, so its Pade system of this degree is singular: every solution is
    ``P/((1 - q) P)`` for some polynomial ``P``. The published recipe solves the system at 20 digits and
    so draws ``P`` from rounding. Its ``P`` changes sign between 0 and 1, and its ``Q(1)``, the denominator
    of the 6.00e36 in the paper's table of bounds, is the rounding of one sum. Here the solution is the one
    with

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

    Raises
    ------
    TypeError, ValueError
        If the resolution is no number above 0.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import PadeGap
    >>> float(PadeGap(resolution=0.5).bound(np.array([1.0, 4.0])))
    0.5
    """

    resolution: float | None = None
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_above(0, self, "resolution")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        weight, t = antisymmetric_pairs(values)
        half_q = 0.5 * (1.0 - t)
        numerator = geometric_sum(1.0 - half_q, _DEGREE)
        denominator = 2.0 - numerator - 2.0 * half_q**_DEGREE
        ratio = namespace(values).maximum(denominator / numerator, self.least_ratio(values) + 0.0 * t)
        return weight / ratio

    def bound(self, values: Array) -> Array:
        return largest_reciprocal(values) / self.least_ratio(values)

    def least_ratio(self, values: Array) -> float:
        """Where ``Q/P`` is held from below."""
        return _RESOLUTION * eps(values) if self.resolution is None else self.resolution
