"""Which eigenvalues a function of matrices accepts, as frozen values."""

from dataclasses import dataclass, replace
from typing import ClassVar

from specgrad._array import namespace
from specgrad._typing import Array

__all__ = ["Domain", "NonNegative", "NonZero", "Positive"]


@dataclass(frozen=True)
class Domain:
    """The eigenvalues that a function accepts: what is `needed` of their distance from `start`.

    A subclass gives `needed`, a word for the error that names the others, and `outside`.

    Parameters
    ----------
    start : float, default 0
    """

    start: float = 0.0

    needed: ClassVar[str]

    def outside(self, values: Array, rounding: Array | float) -> Array:
        """Which eigenvalues lie outside, where distances up to `rounding` count as 0."""
        raise NotImplementedError

    def shifted(self, shift: float) -> "Domain":
        """The domain of ``f(l + shift)``."""
        return replace(self, start=self.start - shift)

    def _distance(self, values: Array) -> Array:
        return values - self.start if self.start else values


class Positive(Domain):
    """Above the start."""

    needed = "positive"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return self._distance(values) <= rounding


class NonNegative(Domain):
    """From the start on."""

    needed = "nonnegative"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return self._distance(values) < -rounding


class NonZero(Domain):
    """On either side of the start."""

    needed = "nonzero"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return namespace(values).abs(self._distance(values)) <= rounding
