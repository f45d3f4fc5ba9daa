r"""Functions of a Hermitian matrix, ``f(A) = V diag(f(l)) V^H``, as frozen values.

The derivative of ``f(A)`` needs divided differences of ``f`` in place of ``1/gap``:

    ``f[a, b] = (f(a) - f(b))/(a - b)``, and ``f'(a)`` at a tie;
    ``f[a, b, c] = (f[a, b] - f[b, c])/(a - c)`` for the second derivative.

Taken literally they cancel. Each function here has them in a form that does not.

Any frozen dataclass with ``__call__(values)`` and ``divided_difference(x, y)`` is a matrix function; one
with ``second_divided_difference(x, y, z)`` has second derivatives exact at ties too, and one with a
``domain`` gets its eigenvalues checked.
"""

from dataclasses import dataclass
from itertools import count
from math import factorial, inf
from typing import ClassVar, Protocol

from specgrad._namespace import eps, namespace, smallest_normal
from specgrad._require import require
from specgrad._typing import Array
from specgrad.divided_differences import NEAR, second_from_first_or_series
from specgrad.domains import Domain, NonNegative, NonZero, Positive
from specgrad.power_differences import power_coefficients, power_difference, second_power_difference

__all__ = [
    "Exp",
    "InverseSqrt",
    "Log",
    "MatrixFunction",
    "One",
    "Power",
    "Sqrt",
]


class MatrixFunction(Protocol):
    """What a matrix function must offer."""

    def __call__(self, values: Array, /) -> Array:
        """``f`` of each entry, real."""

    def divided_difference(self, x: Array, y: Array, /) -> Array:
        """``f[x, y]``, symmetric, elementwise with broadcasting; ``f'(x)`` where they agree."""


@dataclass(frozen=True)
class Sqrt:
    """The square root: ``f[a, b] = 1/(sqrt a + sqrt b)``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Sqrt
    >>> Sqrt().divided_difference(np.array([4.0]), np.array([9.0]))
    array([0.2])
    """

    domain: ClassVar[Domain] = NonNegative()

    def __call__(self, values: Array) -> Array:
        return namespace(values).sqrt(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return namespace(x).reciprocal(self(x) + self(y))

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        a, b, c = self(x), self(y), self(z)
        return -1.0 / ((a + b) * (b + c) * (a + c))


@dataclass(frozen=True)
class InverseSqrt:
    """The inverse square root: ``f[a, b] = -1/(sqrt a sqrt b (sqrt a + sqrt b))``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import InverseSqrt
    >>> InverseSqrt().divided_difference(np.array([1.0]), np.array([4.0])).round(6)
    array([-0.166667])
    """

    domain: ClassVar[Domain] = Positive()

    def __call__(self, values: Array) -> Array:
        xp = namespace(values)
        return xp.reciprocal(xp.sqrt(values))

    def divided_difference(self, x: Array, y: Array) -> Array:
        a, b = self(x), self(y)
        product = a * b
        return product * (product / (-a - b))

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        a, b, c = self(x), self(y), self(z)
        # In this order no intermediate leaves the exponent range before the result does.
        means = (a * b / (a + b)) * (b * c / (b + c)) * (a * c / (a + c))
        return means * (a * b + b * c + a * c)


@dataclass(frozen=True)
class Power:
    r"""The power ``l**exponent``.

    With ``b`` the smaller of the two for exponents below 1, the larger from 1 up, and ``t = (a - b)/b``,
    ``f[a, b] = b^(p-1) expm1(p log1p t)/t``; in the other order it cancels after all. Integer exponents
    take `power_difference` instead, by sums and products alone, and accept negative eigenvalues.

    Parameters
    ----------
    exponent : float

    Raises
    ------
    TypeError, ValueError
        If the exponent is no finite number.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Power
    >>> Power(3).divided_difference(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    array([ 7., 12.])
    """

    exponent: float

    def __post_init__(self) -> None:
        require(self, "exponent", "a finite number", lambda number: -inf < number < inf)

    @property
    def domain(self) -> Domain | None:
        """All reals for integers, the others start at 0; without 0 for negative exponents."""
        if self._is_integer:
            return None if self.exponent >= 0 else NonZero()
        return NonNegative() if self.exponent > 0 else Positive()

    @property
    def _is_integer(self) -> bool:
        # Floats from 2**53 on are all integers; their powers are taken as those of any large number.
        return float(self.exponent).is_integer() and abs(self.exponent) < 2**53

    def __call__(self, values: Array) -> Array:
        return values**self.exponent

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp, p = namespace(x), self.exponent
        if self._is_integer:
            return power_difference(x, y, int(p))
        smaller, larger = xp.minimum(x, y), xp.maximum(x, y)
        base, other = (smaller, larger) if p < 1 else (larger, smaller)
        positive = base > 0
        safe = xp.where(positive, base, 1.0)
        t = xp.where(positive, (other - base) / safe, 0.0)
        t = xp.where(t > -1.0, t, eps(t) - 1.0)  # of `other` nothing is left then, and log1p(-1) is infinite
        zero = t == 0
        ratio = xp.expm1(p * xp.log1p(xp.where(zero, 1.0, t))) / xp.where(zero, 1.0, t)
        general = safe ** (p - 1) * xp.where(zero, p, ratio)
        return xp.where(positive, general, larger ** (p - 1))  # f[a, 0]

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        p = self.exponent
        if self._is_integer:
            return second_power_difference(x, y, z, int(p))
        # A large power changes e-fold over u/|p|, and the series follows over four times that.
        near = NEAR / max(1.0, abs(p) / 4)
        return second_from_first_or_series(
            self, x, y, z, (lambda u: u ** (p - 2),), lambda u: u, power_coefficients(p), near
        )


@dataclass(frozen=True)
class Log:
    """The natural logarithm: ``f[a, b] = log1p(t)/(b t)``, ``b`` the smaller and ``t = (a - b)/b``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Log
    >>> Log().divided_difference(np.array([2.0]), np.array([2.0]))  # f' at a tie
    array([0.5])
    """

    domain: ClassVar[Domain] = Positive()

    def __call__(self, values: Array) -> Array:
        return namespace(values).log(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp = namespace(x)
        base = xp.minimum(x, y)
        gap = xp.maximum(x, y) - base
        zero, is_far = gap == 0, base < 4 * smallest_normal(base) * gap
        t = xp.where(is_far, 1.0, gap) / xp.where(is_far, 1.0, base)
        # Where the ratio of both would leave the exponent range, their logarithms do not cancel.
        difference = xp.where(is_far, xp.abs(self(x) - self(y)), xp.log1p(t))
        return xp.where(zero, 1.0 / base, difference / xp.where(zero, 1.0, gap))

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        coefficients = ((-1) ** (m + 1) / (m + 2) for m in count())
        return second_from_first_or_series(self, x, y, z, (lambda u: 1.0 / u / u,), lambda u: u, coefficients)


@dataclass(frozen=True)
class Exp:
    """The exponential: ``f[a, b] = exp(b) expm1(a - b)/(a - b)``, ``b`` the larger.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Exp
    >>> Exp().divided_difference(np.array([0.0]), np.array([0.0]))
    array([1.])
    """

    domain: ClassVar[None] = None

    def __call__(self, values: Array) -> Array:
        return namespace(values).exp(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp = namespace(x)
        larger = xp.maximum(x, y)
        gap = xp.minimum(x, y) - larger
        zero = gap == 0
        return xp.exp(larger) * xp.where(zero, 1.0, xp.expm1(gap) / xp.where(zero, 1.0, gap))

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp, coefficients = namespace(x), (1 / factorial(m + 2) for m in count())
        return second_from_first_or_series(self, x, y, z, (xp.exp,), xp.ones_like, coefficients)


@dataclass(frozen=True)
class One:
    """The constant 1: with a truncation it makes the projector on the kept eigenvectors."""

    domain: ClassVar[None] = None

    def __call__(self, values: Array) -> Array:
        return namespace(values).ones_like(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp = namespace(x)
        return xp.zeros_like(x) + xp.zeros_like(y)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        return self.divided_difference(x, y) + namespace(x).zeros_like(z)
