r"""Cosine, sine and sign of a Hermitian matrix.

And so unitaries, ``exp(-i A) = cos(A) - i sin(A)``, and projectors, ``(I + sign(A))/2``:

    ``cos[a, b] = -sin((a + b)/2) sinc((a - b)/2)``,   ``sin[a, b] = cos((a + b)/2) sinc((a - b)/2)``

with ``sinc(t) = sin(t)/t``, in which nothing cancels. Errors are of the size of rounding, or of that of the
eigenvalues where these are large. The sign has differences between arguments of opposite sign alone.

Source: N. J. Higham, "Functions of Matrices" (SIAM, 2008), chapters 5 and 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import factorial
from typing import ClassVar

from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.divided_differences import ascending, second_from_first_or_series
from specgrad.domains import Domain, NonZero

__all__ = ["Cos", "Sign", "Sin"]


@dataclass(frozen=True)
class Cos:
    """The cosine: ``f[a, b] = -sin((a + b)/2) sinc((a - b)/2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Cos
    >>> half_pi = np.array([0.5 * np.pi])
    >>> Cos().divided_difference(half_pi, half_pi)  # f' at a tie
    array([-1.])
    """

    domain: ClassVar[None] = None

    def __call__(self, values: Array) -> Array:
        return namespace(values).cos(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return -namespace(x).sin(0.5 * x + 0.5 * y) * _sinc(0.5 * x - 0.5 * y)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp, coefficients = namespace(x), _coefficients((-1, 1, 1, -1))
        return second_from_first_or_series(self, x, y, z, (xp.cos, xp.sin), xp.ones_like, coefficients)


@dataclass(frozen=True)
class Sin:
    """The sine: ``f[a, b] = cos((a + b)/2) sinc((a - b)/2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Cos, Sin, matrix_function
    >>> h = np.array([[0.0, 1.0], [1.0, 0.0]])
    >>> unitary = matrix_function(h, Cos()) - 1j * matrix_function(h, Sin())  # exp(-i h)
    >>> abs(unitary @ unitary.conj().T).round(12)
    array([[1., 0.],
           [0., 1.]])
    """

    domain: ClassVar[None] = None

    def __call__(self, values: Array) -> Array:
        return namespace(values).sin(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return namespace(x).cos(0.5 * x + 0.5 * y) * _sinc(0.5 * x - 0.5 * y)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp, coefficients = namespace(x), _coefficients((-1, -1, 1, 1))
        return second_from_first_or_series(self, x, y, z, (xp.sin, xp.cos), xp.ones_like, coefficients)


@dataclass(frozen=True)
class Sign:
    """The sign, 1 or -1: ``f[a, b] = 2/(|a| + |b|)`` for opposite signs, and 0 for equal ones.

    ``(I - sign(A))/2`` is the projector on the eigenvectors of all negative eigenvalues, however many.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Shifted, Sign, matrix_function
    >>> below = matrix_function(np.diag([1.0, 2.0, 5.0]), Shifted(Sign(), -3.0))
    >>> 0.5 * (np.eye(3) - below)
    array([[1., 0., 0.],
           [0., 1., 0.],
           [0., 0., 0.]])
    """

    domain: ClassVar[Domain] = NonZero()

    def __call__(self, values: Array) -> Array:
        return namespace(values).sign(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp = namespace(x)
        product = self(x) * self(y)
        # Halved, as the distance of both may leave the exponent range.
        half = xp.where(product < 0, 0.5 * xp.abs(x) + 0.5 * xp.abs(y), 1.0)
        across = xp.where(product < 0, 1.0 / half, 0.0)
        return xp.where(xp.abs(product) > 0, across, xp.nan)  # at 0 it has none

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp = namespace(x)
        low, middle, high = ascending(x, y, z)
        rise = self.divided_difference(middle, high) - self.divided_difference(low, middle)
        return 0.5 * rise / xp.where(rise == 0, 1.0, 0.5 * high - 0.5 * low)


def _sinc(t: Array) -> Array:
    xp = namespace(t)
    zero = t == 0
    return xp.where(zero, 1.0, xp.sin(t) / xp.where(zero, 1.0, t))


def _coefficients(signs: tuple[int, ...]) -> Iterator[float]:
    """``1/(m + 2)!`` with the signs of the derivatives, which repeat."""
    return (signs[m % len(signs)] / factorial(m + 2) for m in count())
