"""What to do about a loss that says what the matrix does not determine: see `specgrad.objections`.

A gauge policy is a frozen value with ``apply``.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import adjoint
from specgrad._require import require_at_least
from specgrad._typing import Array
from specgrad._warn import warn_once
from specgrad.bind import Viewer
from specgrad.objections import Cotangents, objection_to, offending_part

__all__ = [
    "GaugeError",
    "GaugePolicy",
    "GaugeWarning",
    "ProjectGauge",
    "RaiseGauge",
    "WarnGauge",
]


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
        objection = objection_to(values, vectors, cotangents, viewer, self.tolerance)
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
        objection = objection_to(values, vectors, cotangents, viewer, self.tolerance)
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
        return cotangent - vectors @ offending_part(values, adjoint(vectors) @ cotangent)
