"""Functions of a Hermitian matrix that are made of others: shifted, or from ``f`` and ``f'`` alone."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from specgrad._require import require, require_method
from specgrad._typing import Array
from specgrad.divided_differences import mean_or_quotient, second_difference, second_from_first
from specgrad.domains import Domain, answer_of, domain_of
from specgrad.functions import MatrixFunction

__all__ = ["FromDerivative", "Shifted"]


@dataclass(frozen=True)
class Shifted:
    """``f(l + shift)``: a function of ``A + shift I``, while a truncation sees the eigenvalues of ``A``.

    Parameters
    ----------
    function : MatrixFunction
    shift : float
        In the units of the eigenvalues.

    Raises
    ------
    TypeError, ValueError
        If the shift is no finite number, or the function has no method ``divided_difference``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Shifted, Sqrt, matrix_function
    >>> matrix_function(np.diag([3.0, 8.0]), Shifted(Sqrt(), 1.0))
    array([[2., 0.],
           [0., 3.]])
    """

    function: MatrixFunction
    shift: float

    def __post_init__(self) -> None:
        require_method(self.function, "divided_difference", "function", "Log()")
        require(self, "shift", "a finite number", lambda number: -inf < number < inf)

    @property
    def domain(self) -> Domain | None:
        """That of the function, shifted."""
        domain = domain_of(self.function)
        return None if domain is None else domain.shifted(self.shift)

    def __call__(self, values: Array) -> Array:
        return self.function(values + self.shift)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return self.function.divided_difference(x + self.shift, y + self.shift)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        return second_difference(self.function, x + self.shift, y + self.shift, z + self.shift)


@dataclass(frozen=True)
class FromDerivative:
    """A matrix function from ``f`` and ``f'``, safe near ties.

    Eigenvalues use the mean of ``f'`` between them where the difference quotient confirms it within its own
    rounding, others the quotient. First derivatives are as good as ``f``, ``f'`` and the eigenvalues. Second
    ones take differences of these: near ties they err by about ``eps**(2/3) max(1, |l|/h) f'(l)/h``, with
    ``h`` the distance over which ``f'`` changes by its own size; near 0, where `f` may be singular, ``h`` is
    measured up to 1.

    Parameters
    ----------
    function, derivative : callable
        Elementwise and real, array to array, written for any array library (or for the one you use).

    Raises
    ------
    TypeError
        If one of the two cannot be called.

    Notes
    -----
    `torch.compile` keeps no callables as constants: where it traces, write a frozen dataclass whose methods
    are ``__call__`` and ``divided_difference`` in their place.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import FromDerivative, matrix_function
    >>> sine = FromDerivative(np.sin, np.cos)
    >>> matrix_function(np.zeros((2, 2)), sine)
    array([[0., 0.],
           [0., 0.]])
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]

    def __post_init__(self) -> None:
        for name in ("function", "derivative"):
            require_method(getattr(self, name), "__call__", name, "numpy.sin")

    def __call__(self, values: Array) -> Array:
        return answer_of(self.function, values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return mean_or_quotient(self, self._slope, x, y)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        return second_from_first(self, self._slope, x, y, z)

    def _slope(self, values: Array) -> Array:
        return answer_of(self.derivative, values)
