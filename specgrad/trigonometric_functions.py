r"""Cosine and sine of a Hermitian matrix, and so the unitary ``exp(-i A) = cos(A) - i sin(A)``.

    ``cos[a, b] = -sin((a + b)/2) sinc((a - b)/2)``,   ``sin[a, b] = cos((a + b)/2) sinc((a - b)/2)``

with ``sinc(t) = sin(t)/t``, in which nothing cancels. Errors are of the size of rounding, or of that of the
eigenvalues where these are large.

Source: N. J. Higham, "Functions of Matrices" (SIAM, 2008), chapter 12.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import factorial
from typing import ClassVar

from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.divided_differences import second_from_first_or_series

__all__ = ["Cos", "Sin"]


@dataclass(frozen=True)
class Cos:
    """The cosine: ``f[a, b] = -sin((a + b)/2) sinc((a - b)/2)``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Cos, matrix_function
    >>> matrix_function(np.zeros((2, 2)), Cos())
    array([[1., 0.],
           [0., 1.]])
    """

    domain: ClassVar[None] = None

    def __call__(self, values: Array) -> Array:
        return namespace(values).cos(values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return -namespace(x).sin(0.5 * (x + y)) * _sinc(0.5 * (x - y))

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
        return namespace(x).cos(0.5 * (x + y)) * _sinc(0.5 * (x - y))

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp, coefficients = namespace(x), _coefficients((-1, -1, 1, 1))
        return second_from_first_or_series(self, x, y, z, (xp.sin, xp.cos), xp.ones_like, coefficients)


def _sinc(t: Array) -> Array:
    xp = namespace(t)
    zero = t == 0
    return xp.where(zero, 1.0, xp.sin(t) / xp.where(zero, 1.0, t))


def _coefficients(signs: tuple[int, ...]) -> Iterator[float]:
    """``1/(m + 2)!`` with the signs of the derivatives, which repeat."""
    return (signs[m % len(signs)] / factorial(m + 2) for m in count())
