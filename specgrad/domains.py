"""Which eigenvalues a function of matrices accepts, as frozen values, and what it may answer."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from specgrad._namespace import is_array, is_complex, is_floating, namespace
from specgrad._typing import Array

__all__ = ["Domain", "NonNegative", "NonZero", "Positive", "Reals", "answer_of", "domain_of"]


@dataclass(frozen=True)
class Domain:
    """The eigenvalues at which a function is defined.

    A subclass gives `outside`, which marks the others, and `needed`, the adjective for the error that names
    them, such as "positive". It may give `settled`, by which rounding does not decide on which side of the
    start an eigenvalue is.

    Parameters
    ----------
    start : float, default 0
    """

    start: float = 0.0

    needed: ClassVar[str]

    def outside(self, values: Array, rounding: Array | float) -> Array:
        """Which eigenvalues lie outside, where distances up to `rounding` count as 0."""
        raise NotImplementedError

    def settled(self, values: Array, rounding: Array | float) -> Array:
        """The eigenvalues, with those moved to the start that are there to rounding."""
        return values

    def shifted(self, shift: float) -> "Domain":
        """The domain of ``f(l + shift)``."""
        return replace(self, start=self.start - shift)

    def _distance(self, values: Array) -> Array:
        return values - self.start if self.start else values


class Positive(Domain):
    """``l > start``."""

    needed = "positive"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return self._distance(values) <= rounding


class NonNegative(Domain):
    """``l >= start``."""

    needed = "nonnegative"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return self._distance(values) < -rounding

    def settled(self, values: Array, rounding: Array | float) -> Array:
        xp = namespace(values)
        return xp.where(xp.abs(self._distance(values)) <= rounding, self.start, values)


class Reals(Domain):
    """All, of a function that is constant below a kink at `start`: below it to rounding counts as at it."""

    needed = "real"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        xp = namespace(values)
        return xp.zeros_like(values, dtype=xp.bool)

    def settled(self, values: Array, rounding: Array | float) -> Array:
        # From below alone, where it changes no value of the function.
        distance = self._distance(values)
        return namespace(values).where((distance < 0) & (distance >= -rounding), self.start, values)


class NonZero(Domain):
    """``l != start``."""

    needed = "nonzero"

    def outside(self, values: Array, rounding: Array | float) -> Array:
        return namespace(values).abs(self._distance(values)) <= rounding


def domain_of(function: object) -> Domain | None:
    """The domain of a function that has one."""
    return getattr(function, "domain", None)


def answer_of(function: Callable[[Array], Array], x: Array) -> Array:
    """``f(x)``, or an error unless it is a real number for each entry of `x`, or one for all."""
    xp, answer = namespace(x), function(x)
    if isinstance(answer, int | float):
        return xp.full_like(x, float(answer))
    advice = ""
    if is_array(answer) and tuple(answer.shape) in ((), tuple(x.shape)):
        own = answer if namespace(answer) is xp else xp.asarray(answer)
        if not is_complex(own):
            own = own if is_floating(own) else xp.astype(own, x.dtype)  # 1 and 0 for a condition
            return own if own.ndim else xp.zeros_like(x) + own
        advice = ": take it apart, such as exp(-i t l) into cos(t l) and -sin(t l)"
    raise TypeError(
        f"{function!r} answered with a {type(answer).__name__} of shape {getattr(answer, 'shape', None)} and "
        f"dtype {getattr(answer, 'dtype', None)}, and for an array of shape {tuple(x.shape)} a real number "
        f"for each entry is needed{advice}."
    )
