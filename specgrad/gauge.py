r"""What a loss says that the matrix does not determine, and what to do about it.

Eigenvectors are defined up to a phase each, and inside a repeated eigenvalue up to a rotation. A loss
has a gradient in `A` only if it does not depend on that choice: with ``X = V^H gV``,
``imag(diag(X)) = 0``, and ``X`` has no anti-Hermitian part inside a tie. The part that violates this
has no derivative in any library. A gauge policy is a frozen value with ``apply``.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import adjoint, as_row, differences
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


class GaugeWarning(UserWarning):
    """A loss depends on the phase of an eigenvector, or on the basis inside a repeated eigenvalue."""


class GaugeError(ValueError):
    """A loss depends on the phase of an eigenvector or the basis inside a tie; raised by `RaiseGauge`."""


class GaugePolicy(Protocol):
    """What a gauge policy must offer."""

    def apply(self, values: Array, vectors: Array, vectors_cotangent: Array, viewer: Viewer) -> Array:
        """The cotangent ``gV`` (..., n, n) to go on with; the viewer says what can be looked at."""


@dataclass(frozen=True)
class WarnGauge:
    """Warn once per call site, with the size of the part that has no meaning: the default.

    Looks only where values can be looked at (not on a GPU, traced, or under a batching transform).

    Parameters
    ----------
    tolerance : float, optional
        Largest size of the offending part that is taken for rounding, relative to ``sqrt(n)`` times the
        largest entry of the cotangent; by default the square root of eps.

    Raises
    ------
    TypeError, ValueError
        If the tolerance is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import WarnGauge, eigh, vjp
    >>> (_, v), pullback = vjp(eigh, np.diag([1.0, 2.0]), gauge=WarnGauge(tolerance=1e-3))
    >>> pullback((None, np.array([[0.0, 0.0], [1.0, 0.0]])))[0].round(3)
    array([[ 0. , -0.5],
           [-0.5,  0. ]])
    """

    tolerance: float | None = None

    def __post_init__(self) -> None:
        require_at_least(0, self, "tolerance")

    def apply(self, values: Array, vectors: Array, vectors_cotangent: Array, viewer: Viewer) -> Array:
        size = _excess(values, vectors, vectors_cotangent, viewer, self.tolerance)
        if size is not None:
            warn_once(_explain(size), GaugeWarning)
        return vectors_cotangent


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

    def apply(self, values: Array, vectors: Array, vectors_cotangent: Array, viewer: Viewer) -> Array:
        size = _excess(values, vectors, vectors_cotangent, viewer, self.tolerance)
        if size is not None:
            raise GaugeError(_explain(size))
        return vectors_cotangent


@dataclass(frozen=True)
class ProjectGauge:
    """Remove the offending part from the cotangent, and say nothing.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import ProjectGauge, TaylorGap, eigh, vjp
    >>> _, pullback = vjp(eigh, np.diag([1.0, 1.0 + 1e-14]), gap=TaylorGap(), gauge=ProjectGauge())
    >>> abs(pullback((None, np.array([[0.0, 0.0], [1.0, 0.0]])))[0])  # would be 50.5 off the diagonal
    array([[0., 0.],
           [0., 0.]])
    """

    def apply(self, values: Array, vectors: Array, vectors_cotangent: Array, viewer: Viewer) -> Array:
        offending = _offending_part(values, adjoint(vectors) @ vectors_cotangent)
        return vectors_cotangent - vectors @ offending


# What counts as a tie does so for the default rules too.
_TIES, _CUT = MaskedGap(), MaskedCut()


def _offending_part(values: Array, inner: Array) -> Array:
    """The anti-Hermitian part of ``X`` inside ties, the diagonal included."""
    xp = namespace(values)
    tied = xp.abs(differences(values)) <= as_row(_TIES.tie_width(values))
    return xp.where(tied, 0.5 * inner - adjoint(0.5 * inner), 0.0)


def _excess(
    values: Array, vectors: Array, cotangent: Array, viewer: Viewer, tolerance: float | None
) -> float | None:
    """The relative size of the offending part, where it can be seen and is not rounding."""
    seen = viewer.view(values)
    if seen is None:
        return None
    if not is_complex(vectors) and not _may_have_ties(seen):
        return None  # a gauge of signs alone, which no gradient meets
    if viewer.view(cotangent) is None:
        return None
    xp = namespace(values)
    offending = xp.max(xp.abs(_offending_part(values, adjoint(vectors) @ cotangent)), axis=(-2, -1))
    largest = xp.max(xp.abs(cotangent), axis=(-2, -1)) * values.shape[-1] ** 0.5
    allowed = eps(values) ** 0.5 if tolerance is None else tolerance
    if not bool(xp.any(offending > allowed * largest)):
        return None
    return float(xp.max(xp.where(largest > 0, offending / xp.where(largest > 0, largest, 1.0), 0.0)))


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
    tied = (position < size) & (last - next_one <= width) & (next_one > zero)
    if not but_at_zero:
        tied = tied | ((position < size) & (last <= zero))
    return bool(xp.any(tied))


def _explain(size: float) -> str:
    return (
        "The loss depends on the phase of an eigenvector, or on the basis inside a repeated eigenvalue, "
        f"which the matrix does not determine: a part of relative size {size:.1e} of the cotangent of the "
        "eigenvectors has no gradient, and what the gap rule makes of it is arbitrary (the default makes it "
        "0). Write the loss in projectors v v^H of whole clusters, or with a matrix function; "
        "gauge=RaiseGauge() finds the place, gauge=ProjectGauge() removes the part."
    )
