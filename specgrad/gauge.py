r"""What a loss says that the matrix does not determine, and what to do about it.

Eigenvectors are defined up to a phase each, and inside a repeated eigenvalue up to a rotation. A loss
has a gradient in `A` only if it does not depend on that choice: with ``X = V^H gV``,
``imag(diag(X)) = 0``, and ``X`` has no anti-Hermitian part inside a tie. The part that violates this
has no derivative in any library. A loss of ``V f(L) V^H``, composed from both, may have a gradient, but the
part of it inside a tie is in neither cotangent: what tells of it are unequal ``gl`` of equal eigenvalues. A
gauge policy is a frozen value with ``apply``.
"""

from dataclasses import dataclass
from typing import Protocol, TypeAlias

from specgrad._array import adjoint, as_column, as_row, differences
from specgrad._namespace import eps, is_complex, namespace
from specgrad._require import require_at_least
from specgrad._typing import Array
from specgrad._warn import warn_once
from specgrad.bind import Viewer
from specgrad.gaps import MaskedCut, MaskedGap

__all__ = [
    "GaugeError",
    "GaugePolicy",
    "GaugeWarning",
    "ProjectGauge",
    "RaiseGauge",
    "WarnGauge",
    "cuts_a_tie",
]


Cotangents: TypeAlias = tuple[Array | None, Array]
"""``gl``, None for zero, and ``gV``."""


class GaugeWarning(UserWarning):
    """A loss depends on the gauge, or weighs equal eigenvalues unequally, or a truncation cuts a tie."""


class GaugeError(ValueError):
    """A loss depends on the gauge, or weighs equal eigenvalues unequally; raised by `RaiseGauge`."""


class GaugePolicy(Protocol):
    """What a gauge policy must offer."""

    def apply(self, values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer, /) -> Array:
        """The cotangent ``gV`` (..., n, n) to go on with, from ``gl`` or None for zero, and ``gV``.

        The viewer says what can be looked at.
        """


@dataclass(frozen=True)
class WarnGauge:
    """Warn once per call site of a loss that depends on the gauge, or weighs equal eigenvalues unequally.

    Looks only where values can be looked at (not on a GPU, traced, or under a batching transform).

    Parameters
    ----------
    tolerance : float, optional
        Largest size of the offending part that is taken for rounding, relative to ``sqrt(n)`` times the
        largest entry of the cotangent; by default the square root of eps. And the largest difference of
        cotangents of equal eigenvalues, relative to the largest of them; by default the fourth root.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import warnings
    >>> import numpy as np
    >>> from specgrad import WarnGauge, eigh, vjp
    >>> _, pullback = vjp(eigh, np.eye(2), gauge=WarnGauge(tolerance=1e-3))
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     gradient = pullback((None, np.array([[0.0, 0.0], [1.0, 0.0]])))
    >>> caught[0].category.__name__
    'GaugeWarning'
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def apply(self, values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer) -> Array:
        objection = _objection(values, vectors, cotangents, viewer, self.tolerance)
        if objection is not None:
            warn_once(objection, GaugeWarning)
        return cotangents[1]


@dataclass(frozen=True)
class RaiseGauge:
    """Raise `GaugeError` where `WarnGauge` would warn.

    Parameters
    ----------
    tolerance : float, optional
        As in `WarnGauge`.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import RaiseGauge, eigh, vjp
    >>> (_, v), pullback = vjp(eigh, np.eye(2), gauge=RaiseGauge())
    >>> pullback((None, np.array([[0.0, 0.0], [1.0, 0.0]])))
    Traceback (most recent call last):
        ...
    specgrad.gauge.GaugeError: The loss depends on the phase of an eigenvector, ...
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def apply(self, values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer) -> Array:
        objection = _objection(values, vectors, cotangents, viewer, self.tolerance)
        if objection is not None:
            raise GaugeError(objection)
        return cotangents[1]


@dataclass(frozen=True)
class ProjectGauge:
    """Remove the part that depends on the gauge from the cotangent, and say nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import ProjectGauge, TaylorGap, eigh, vjp
    >>> _, pullback = vjp(eigh, np.diag([1.0, 1.0 + 1e-14]), gap=TaylorGap(), gauge=ProjectGauge())
    >>> abs(pullback((None, np.array([[0.0, 0.0], [1.0, 0.0]])))[0])  # would be 50.5 off the diagonal
    array([[0., 0.],
           [0., 0.]])
    """

    def apply(self, values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer) -> Array:
        _, cotangent = cotangents
        return cotangent - vectors @ _offending_part(values, adjoint(vectors) @ cotangent)


# What counts as a tie does so for the default rules too.
_TIES, _CUT = MaskedGap(), MaskedCut()


def _offending_part(values: Array, inner: Array) -> Array:
    """The anti-Hermitian part of ``X`` inside ties, the diagonal included."""
    xp = namespace(values)
    tied = xp.abs(differences(values)) <= as_row(_TIES.tie_width(values))
    return xp.where(tied, 0.5 * inner - adjoint(0.5 * inner), 0.0)


def _objection(
    values: Array, vectors: Array, cotangents: Cotangents, viewer: Viewer, tolerance: float | None
) -> str | None:
    """What is wrong with the cotangents, where it can be seen and is not rounding."""
    seen = viewer.view(values)
    if seen is None:
        return None
    may_have_ties = _may_have_ties(seen)
    if not is_complex(vectors) and not may_have_ties:
        return None  # a gauge of signs alone, which no gradient meets
    if any(cotangent is not None and viewer.view(cotangent) is None for cotangent in cotangents):
        return None
    size = _excess(values, vectors, cotangents[1], tolerance)
    if size is not None:
        return _DEPENDS.format(size)
    return _UNEVEN if may_have_ties and _is_uneven(values, *cotangents, tolerance) else None


def _excess(values: Array, vectors: Array, cotangent: Array, tolerance: float | None) -> float | None:
    """The relative size of the offending part, where it is not rounding."""
    xp = namespace(values)
    offending = xp.max(xp.abs(_offending_part(values, adjoint(vectors) @ cotangent)), axis=(-2, -1))
    largest = xp.max(xp.abs(cotangent), axis=(-2, -1)) * values.shape[-1] ** 0.5
    allowed = eps(values) ** 0.5 if tolerance is None else tolerance
    if not bool(xp.any(offending > allowed * largest)):
        return None
    return float(xp.max(xp.where(largest > 0, offending / xp.where(largest > 0, largest, 1.0), 0.0)))


def _is_uneven(
    values: Array, values_cotangent: Array | None, vectors_cotangent: Array, tolerance: float | None
) -> bool:
    """Whether the loss weighs equal eigenvalues differently whose eigenvectors it looks at too."""
    if values_cotangent is None:
        return False
    xp, magnitudes = namespace(values), namespace(values).abs(values)
    largest = as_row(xp.max(magnitudes, axis=-1, keepdims=True))
    larger = xp.maximum(as_row(magnitudes), as_column(magnitudes))
    # Zeros are no copies: in a covariance of few samples the data have no part in their eigenvectors.
    equal = (xp.abs(differences(values)) <= _CUT.width(larger, largest, values)) & (
        larger > values.shape[-1] * eps(values) * largest
    )
    weights = xp.where(xp.isfinite(values_cotangent), values_cotangent, 0.0)
    allowed = eps(values) ** 0.25 if tolerance is None else tolerance
    unequal = xp.abs(differences(weights)) > allowed * as_row(xp.max(xp.abs(weights), axis=-1, keepdims=True))
    looked_at = xp.any(vectors_cotangent != 0, axis=-2)
    return bool(xp.any(equal & unequal & as_row(looked_at) & as_column(looked_at)))


def _may_have_ties(values: Array) -> bool:
    """Whether any matrix of the batch may have a tie; `values` must be readable."""
    if 0 in values.shape or values.shape[-1] == 1:
        return False
    xp = namespace(values)
    magnitudes = xp.abs(values)
    # Ascending or by magnitude, equal eigenvalues are neighbours. One width for the batch is wide enough.
    smallest = float(xp.min(xp.abs(magnitudes[..., 1:] - magnitudes[..., :-1])))
    # The way round that is no for NaN, which one matrix may have and the others not.
    return not smallest > _TIES.width(float(xp.max(magnitudes)), values)


def cuts_a_tie(values: Array, rank: Array, but_at_zero: bool) -> bool:
    """Whether the first `rank` (...) of eigenvalues (..., n) end among ones of equal magnitude.

    Both arrays must be readable. What is 0 to rounding is equal to no other than that.
    """
    xp, size = namespace(values), values.shape[-1]
    if bool(xp.all(rank == size)):
        return False
    magnitudes, position = xp.abs(values), xp.astype(rank, xp.int64)[..., None]
    after = xp.where(position < size, position, 0)
    last, next_one = (xp.take_along_axis(magnitudes, p, axis=-1) for p in (position - 1, after))
    zero = size * eps(values) * magnitudes[..., :1]
    width = _CUT.width(last, magnitudes[..., :1], values)
    tied = (position < size) & (last - next_one <= width) & (last > zero)
    if not but_at_zero:
        tied = tied | ((position < size) & (last <= zero))
    return bool(xp.any(tied))


_DEPENDS = (
    "The loss depends on the phase of an eigenvector, or on the basis inside a repeated eigenvalue, "
    "which the matrix does not determine: a part of relative size {:.1e} of the cotangent of the "
    "eigenvectors has no gradient, and what the gap rule makes of it is arbitrary (the default makes it "
    "0). Write the loss in projectors v v^H of whole clusters, or with a matrix function; "
    "gauge=RaiseGauge() finds the place, gauge=ProjectGauge() removes the part."
)
_UNEVEN = (
    "The loss looks at eigenvectors of a repeated eigenvalue, and weighs its copies differently, as one of "
    "V f(l) V^H does: the part of its gradient between these eigenvectors is lost, whatever the gap rule. "
    "Use a matrix function in place of the composition, such as sqrtm(a), or sqrtm(a) @ V with a constant V "
    "in place of V sqrt(l); gauge=RaiseGauge() finds the place."
)
