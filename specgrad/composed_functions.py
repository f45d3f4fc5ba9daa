"""Functions of a Hermitian matrix made of others: shifted, clamped, or from ``f`` and ``f'`` alone."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from specgrad._namespace import namespace
from specgrad._require import require, require_method
from specgrad._typing import Array
from specgrad.divided_differences import (
    ascending,
    mean_or_quotient,
    second_difference,
    second_from_first,
)
from specgrad.domains import Domain, NonNegative, Reals, answer_of, domain_of
from specgrad.functions import MatrixFunction

__all__ = ["Clamped", "FromDerivative", "Shifted"]


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
class Clamped:
    """``f(max(l, minimum))``: a function of ``A`` with its small eigenvalues raised to a minimum.

    For matrices that may be singular or indefinite. ``Clamped(Power(1), 0.0)`` projects on the positive
    semi-definite matrices, ``Clamped(Power(1), minimum)`` is the rectifier ReEig of SPDNet, and
    ``Clamped(Log(), minimum)`` that and its logarithm at once. It is constant below the minimum. Its slope
    there, and for eigenvalues that are there to rounding, ``n eps max|l|``, is that from above. Across it,
    for ``a < minimum <= b``,

        ``f[a, b] = f[minimum, b] (b - minimum)/(b - a)``,

    in which nothing cancels. The second derivative of two eigenvalues on different sides has the jump of the
    first in it, divided by their distance, and so no bound as both come close to the minimum. To split a
    matrix into a positive and a negative part, take one of them and the rest: two that are clamped each count
    the slope at the minimum twice.

    Parameters
    ----------
    function : MatrixFunction
    minimum : float
        In the units of the eigenvalues, and where the function is defined.

    Raises
    ------
    TypeError, ValueError
        If the minimum is no finite number in the domain of the function, or the function has no method
        ``divided_difference``.

    References
    ----------
    Huang and Van Gool, "A Riemannian network for SPD matrix learning" (AAAI 2017).

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Clamped, Power, matrix_function
    >>> matrix_function(np.diag([-1.0, 2.0]), Clamped(Power(1), 0.5))
    array([[0.5, 0. ],
           [0. , 2. ]])
    """

    function: MatrixFunction
    minimum: float

    def __post_init__(self) -> None:
        require_method(self.function, "divided_difference", "function", "Log()")
        domain = domain_of(self.function)
        needed = "a finite number"
        if domain is not None and not isinstance(domain, Reals):
            least = "at least" if isinstance(domain, NonNegative) else "above"
            needed = f"{needed} {least} {domain.start:g}, where {self.function} is defined,"
        require(self, "minimum", needed, lambda minimum: -inf < minimum < inf and _is_above(domain, minimum))

    @property
    def domain(self) -> Domain:
        """All reals, with a kink at the minimum."""
        inner = domain_of(self.function)
        return Reals(max(self.minimum, inner.start) if isinstance(inner, Reals) else self.minimum)

    def __call__(self, values: Array) -> Array:
        return self.function(namespace(values).clip(values, min=self.minimum))

    def divided_difference(self, x: Array, y: Array) -> Array:
        xp, minimum = namespace(x), self.minimum
        low, high = xp.minimum(x, y), xp.maximum(x, y)
        is_constant, is_across = (low < minimum) & (high <= minimum), (low < minimum) & (high > minimum)
        # Halved first: differences of opposite values may leave the exponent range.
        above, whole = 0.5 * high - 0.5 * minimum, 0.5 * high - 0.5 * low
        share = xp.where(is_across, above / xp.where(is_across, whole, 1.0), 1.0)
        asked = xp.where(is_constant, self._inside, high)
        raised = share * self.function.divided_difference(xp.clip(low, min=minimum), asked)
        return xp.where(is_constant, 0.0, raised)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        xp, minimum = namespace(x), self.minimum
        low, middle, high = ascending(x, y, z)
        is_below, is_across = low < minimum, (low < minimum) & (high >= minimum)
        firsts = self.divided_difference(middle, high) - self.divided_difference(low, middle)
        asked = (xp.where(is_below, self._inside, point) for point in (low, middle, high))
        return xp.where(
            is_across,
            firsts / xp.where(is_across, high - low, 1.0),
            xp.where(is_below, 0.0, second_difference(self.function, *asked)),
        )

    @property
    def _inside(self) -> float:
        """Where the function is asked for a slope that is not used: at its start it may have none."""
        domain = domain_of(self.function)
        is_start = domain is not None and domain.start == self.minimum
        return self.minimum + max(1.0, abs(self.minimum)) if is_start else self.minimum


@dataclass(frozen=True)
class FromDerivative:
    """A matrix function from ``f`` and ``f'``, safe near ties.

    The divided difference of two eigenvalues is the mean of ``f'`` between them where the difference quotient
    confirms it within its own rounding, and the quotient elsewhere. First derivatives are as good as ``f``,
    ``f'`` and the eigenvalues. Second ones take differences of these: where eigenvalues are equal or close,
    as on the diagonal, they err by about ``eps**(2/3) max(1, |l|/h) f'(l)/h``, with ``h`` the distance over
    which ``f'`` changes by its own size; near 0, where `f` may be singular, ``h`` is measured up to 1.

    Parameters
    ----------
    function, derivative : callable
        Elementwise and real, array to array, written for any array library (or for the one you use).
    domain : Domain, optional
        Which eigenvalues the function accepts, such as ``NonNegative()`` from `specgrad.domains` for
        ``-x log x``: others are an error, and those that are 0 to rounding count as 0.

    Raises
    ------
    TypeError
        If one of the two cannot be called, or the domain cannot tell what is outside it.

    Notes
    -----
    `torch.compile` keeps no callables as constants: where it traces, write a frozen dataclass whose methods
    are ``__call__`` and ``divided_difference`` in their place.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import FromDerivative, matrix_function
    >>> step = FromDerivative(np.tanh, lambda l: 1 - np.tanh(l) ** 2)
    >>> matrix_function(np.zeros((2, 2)), step)
    array([[0., 0.],
           [0., 0.]])
    """

    function: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    domain: Domain | None = None

    def __post_init__(self) -> None:
        for name in ("function", "derivative"):
            require_method(getattr(self, name), "__call__", name, "numpy.sin")
        if self.domain is not None:
            require_method(self.domain, "outside", "domain", "NonNegative()")

    def __call__(self, values: Array) -> Array:
        return answer_of(self.function, values)

    def divided_difference(self, x: Array, y: Array) -> Array:
        return mean_or_quotient(self, self._slope, x, y)

    def second_divided_difference(self, x: Array, y: Array, z: Array) -> Array:
        return second_from_first(self, self._slope, x, y, z)

    def _slope(self, values: Array) -> Array:
        return answer_of(self.derivative, values)


def _is_above(domain: Domain | None, minimum: float) -> bool:
    """Whether a domain holds a number and all above it."""
    if domain is None or isinstance(domain, Reals):
        return True
    return minimum > domain.start or (isinstance(domain, NonNegative) and minimum == domain.start)
