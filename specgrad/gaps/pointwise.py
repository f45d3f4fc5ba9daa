"""Gap rules that are a function of the gap and of a scale: exact, masked, and broadened."""

from dataclasses import dataclass, field

from specgrad._array import as_column, as_row, device, differences, magnitude_scale, off_diagonal, reciprocal
from specgrad._namespace import eps, namespace, smallest_normal
from specgrad._require import require_above, require_at_least
from specgrad._typing import Array
from specgrad.gaps.rule import RoundingFloor, require_floor

__all__ = ["BroadenedGap", "ExactGap", "MaskedCut", "MaskedGap"]


@dataclass(frozen=True)
class ExactGap:
    """The analytic rule ``1/(l_j - l_i)``: infinite at ties, and left to be.

    Parameters
    ----------
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default. With one, ties are 0, as a loss that has
        a gradient leaves nothing but rounding there.

    Raises
    ------
    TypeError
        If `noise` has no method ``signal``.

    References
    ----------
    M. B. Giles, "Collected matrix derivative results for forward and reverse mode algorithmic
    differentiation", 2008. In Song et al. (ICCV 2021) it is the plain "SVD".

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import ExactGap
    >>> ExactGap().matrix(np.array([1.0, 3.0]))
    array([[ 0. ,  0.5],
           [-0.5,  0. ]])
    """

    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        xp, gaps = namespace(values), differences(values)
        if self.noise is not None:
            return reciprocal(gaps, where=gaps != 0)
        # Infinite on the diagonal by a sum, as a selection for each matrix of a batch takes longer.
        infinite = xp.full((), xp.inf, dtype=values.dtype, device=device(values))
        return xp.reciprocal(gaps + xp.where(off_diagonal(values), 0.0, infinite))

    def bound(self, values: Array) -> Array:
        xp = namespace(values)
        return xp.full(values.shape[:-1], xp.inf, dtype=values.dtype, device=device(values))


@dataclass(frozen=True)
class MaskedGap:
    """The analytic rule where the gap exceeds rounding, 0 where it does not: the default.

    With its rounding floor it is exact, at any gap and at ties, for losses that look at a cluster, equal or
    nearly equal eigenvalues, through the subspace of its eigenvectors or a symmetric function of its
    eigenvalues. It is finite for every finite input, and equivariant under ``A -> c A``, where gradients and
    gaps are in the range of the dtype.

    To leave out ties is common; the rounding floor, which makes gaps just above ties right too, is new here.

    Parameters
    ----------
    tolerance : float, optional
        Gaps up to ``tolerance * max|l|`` count as ties; by default ``eps**0.75`` of the dtype.
    noise : RoundingFloor or None
        Applied to the cotangent by the derivative; on by default.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaskedGap
    >>> MaskedGap().matrix(np.array([1.0, 1.0, 3.0]))
    array([[ 0. ,  0. ,  0.5],
           [ 0. ,  0. ,  0.5],
           [-0.5, -0.5,  0. ]])
    """

    tolerance: float | None = None
    # Made by a function: torch.compile cannot take a value out of the signature of a class that it traces.
    noise: RoundingFloor | None = field(default_factory=lambda: RoundingFloor())

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        xp = namespace(values)
        gaps = differences(values)
        return reciprocal(gaps, where=xp.abs(gaps) > as_row(self.tie_width(values)))

    def bound(self, values: Array) -> Array:
        return 1.0 / self.tie_width(values)[..., 0]

    def tie_width(self, values: Array) -> Array:
        """The gap up to which eigenvalues count as tied, shape (..., 1)."""
        return self.width(_largest(values), values)

    def width(self, largest: Array, values: Array) -> Array:
        """The gap up to which eigenvalues count as tied, from their largest magnitude, in their precision."""
        # By default above the rounding of eigenvalues, some eps, and below the gaps that data tell apart.
        tolerance = eps(values) ** 0.75 if self.tolerance is None else self.tolerance
        # A gap whose reciprocal would leave the exponent range counts as a tie too.
        return tolerance * largest + smallest_normal(values)


@dataclass(frozen=True)
class MaskedCut:
    """The analytic rule across the cut of a truncation, 0 where the cut goes through a tie.

    Gaps are judged beside the larger of the two eigenvalues, not beside the largest of all. So a small one
    that is kept and one of 0 that is dropped are no tie, which they may be to `MaskedGap`.

    Parameters
    ----------
    tolerance : float, optional
        Gaps up to ``tolerance * max(|l_i|, |l_j|)`` count as ties, by default ``eps**0.75`` of the dtype; so
        do gaps up to ``2 eps max|l|``, and two eigenvalues that are 0 to rounding, ``n eps max|l|``.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaskedCut, MaskedGap
    >>> values = np.array([1.0, 1e-12, 0.0])
    >>> float(MaskedCut().matrix(values)[1, 2]), float(MaskedGap().matrix(values)[1, 2])
    (-1000000000000.0, 0.0)
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def matrix(self, values: Array) -> Array:
        xp, gaps, largest = namespace(values), differences(values), as_row(_largest(values))
        magnitudes = xp.abs(values)
        larger = xp.maximum(as_row(magnitudes), as_column(magnitudes))
        beyond_rounding = larger > values.shape[-1] * eps(values) * largest
        separated = xp.abs(gaps) > self.width(larger, largest, values)
        return reciprocal(gaps, where=beyond_rounding & separated)

    def bound(self, values: Array) -> Array:
        return 1.0 / self.width(0.0, _largest(values)[..., 0], values)

    def width(self, larger: Array | float, largest: Array, values: Array) -> Array:
        """The gap up to which two eigenvalues count as tied, from the larger and from the largest of all."""
        tolerance = eps(values) ** 0.75 if self.tolerance is None else self.tolerance
        return tolerance * larger + 2 * eps(values) * largest + smallest_normal(values)


@dataclass(frozen=True)
class BroadenedGap:
    """Lorentzian broadening ``d/(d^2 + w^2)`` of ``1/d``, ``d = l_j - l_i``.

    Parameters
    ----------
    width : float, optional
        ``w`` in units of ``max|l|``; by default ``eps**0.75`` of the dtype. The bias on a gap d is
        ``w^2/(d^2 + w^2)`` relative, the bound ``1/(2 w)``.
    noise : RoundingFloor, optional
        Applied to the cotangent by the derivative; none by default.

    Raises
    ------
    TypeError, ValueError
        If the width is no number above 0.

    References
    ----------
    Liao, Liu, Wang and Xiang, "Differentiable programming tensor networks", Phys. Rev. X 9 (2019).

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import BroadenedGap
    >>> float(BroadenedGap(width=0.5).bound(np.array([0.0, 2.0])))
    0.5
    """

    width: float | None = None
    noise: RoundingFloor | None = None

    def __post_init__(self) -> None:
        require_above(0, self, "width")
        require_floor(self.noise)

    def matrix(self, values: Array) -> Array:
        scale = magnitude_scale(values)
        # A compiler may contract a difference of scaled values, which then is not 0 at ties, and make one
        # division of two, whose divisor underflows. A half is exact, and keeps large differences finite.
        unit = as_row(1.0 / scale)
        gaps = differences(0.5 * values) * (2.0 * unit)
        # The derivative at gap 0 is 1/w^2; on the diagonal reverse mode would add it up and take it away.
        gaps = namespace(values).where(off_diagonal(values), gaps, 0.0)
        return gaps / (gaps * gaps + self.relative_width(values) ** 2) * unit

    def bound(self, values: Array) -> Array:
        return 0.5 / (self.relative_width(values) * magnitude_scale(values)[..., 0])

    def relative_width(self, values: Array) -> float:
        """``w`` in units of ``max|l|``."""
        width: float = eps(values) ** 0.75 if self.width is None else self.width
        least: float = smallest_normal(values) ** 0.5  # its square must not be 0
        return max(width, least)


def _largest(values: Array) -> Array:
    """``max|l|``, shape (..., 1); 1 for no values."""
    xp = namespace(values)
    if values.shape[-1] == 0:
        return xp.ones((*values.shape[:-1], 1), dtype=values.dtype, device=device(values))
    return xp.max(xp.abs(values), axis=-1, keepdims=True)
