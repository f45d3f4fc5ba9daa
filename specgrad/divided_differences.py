r"""Divided differences where no closed form is at hand.

First ones as means of a derivative (Hermite-Genocchi), by Gauss-Legendre quadrature:

    ``f[a, b] = int_0^1 f'(b + s (a - b)) ds``

With 7 points the error is below rounding as long as the arguments differ by at most a quarter of the distance
over which the derivative changes by its own size, such as that from a singularity. Second ones as the Taylor
series about the mean ``u`` of their arguments:

    ``f[a, b, c] = sum_m f^(m+2)(u)/(m+2)! h_m(a - u, b - u, c - u)``,   ``h_m = -e_2 h_(m-2) + e_3 h_(m-3)``

with ``h_m`` the complete homogeneous symmetric polynomials and ``e_k`` the elementary ones, ``e_1 = 0``. In
neither is there a difference of function values, so close arguments do no harm. For others there is the
difference quotient, which loses about one digit; second differences of a power with exponent ``p`` close to 0
or 1 lose ``log10(1/|p|)`` or ``log10(1/|p - 1|)`` more. Where nobody says how long that distance is, the
quotient tells whether the mean can be trusted, within its own rounding.

Source: N. J. Higham, "Functions of Matrices" (SIAM, 2008), appendix B.16; R. P. Stanley, "Enumerative
Combinatorics" 2 (1999), section 7.6, for ``h_m``.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from specgrad._namespace import eps, namespace
from specgrad._typing import Array

__all__ = [
    "NEAR",
    "ascending",
    "mean_or_quotient",
    "second_difference",
    "second_from_first",
    "second_from_first_or_series",
]

# Arguments that differ by less than this share of that distance go to the series.
NEAR = 0.25
# A mean that differs from the quotient by this many times the quotient's rounding error agrees with it.
_AGREE = 3.0
# A derivative that changes by this many roundings is seen to change.
_VISIBLE = 8.0
# Nodes on [-1, 1] and weights of the 7-point Gauss-Legendre rule.
_RULE = (
    (-0.9491079123427585, 0.1294849661688697),
    (-0.7415311855993945, 0.2797053914892766),
    (-0.4058451513773972, 0.3818300505051189),
    (0.0, 0.4179591836734694),
    (0.4058451513773972, 0.3818300505051189),
    (0.7415311855993945, 0.2797053914892766),
    (0.9491079123427585, 0.1294849661688697),
)


class _HasDividedDifference(Protocol):
    def divided_difference(self, x: Array, y: Array, /) -> Array: ...


def mean_or_quotient(
    function: Callable[[Array], Array], derivative: Callable[[Array], Array], x: Array, y: Array
) -> Array:
    """``f[x, y]``: the mean of ``f'`` where the difference quotient confirms it, else the quotient.

    Where the quotient cancels it confirms little, and the mean is the better of the two; where the mean has
    missed a step of ``f``, however narrow, the quotient has not.
    """
    xp = namespace(x)
    centre, half = 0.5 * (x + y), 0.5 * (x - y)
    mean = 0.5 * _RULE[3][1] * derivative(centre)
    for node, weight in _RULE[4:]:  # with its mirror image, so that the order of x and y does not matter
        mean = mean + 0.5 * weight * (derivative(centre + node * half) + derivative(centre - node * half))
    f_x, f_y, gap = function(x), function(y), x - y
    rounding = eps(x) * (xp.abs(f_x) + xp.abs(f_y) + xp.abs(mean) * (xp.abs(x) + xp.abs(y)))
    confirmed = xp.abs(mean * gap - (f_x - f_y)) <= _AGREE * rounding
    # An infinite derivative confirms nothing, as between opposite arguments of 1/x; at a tie it is right.
    close = (confirmed & xp.isfinite(mean)) | (gap == 0)
    return xp.where(close, mean, (f_x - f_y) / xp.where(close, 1.0, gap))


def second_difference(function: _HasDividedDifference, x: Array, y: Array, z: Array) -> Array:
    """``f[x, y, z]`` as the function itself says, or from its first differences."""
    if hasattr(function, "second_divided_difference"):
        own: Array = function.second_divided_difference(x, y, z)
        return own
    return second_from_first(function, lambda u: function.divided_difference(u, u), x, y, z)


def second_from_first(
    function: _HasDividedDifference, derivative: Callable[[Array], Array], x: Array, y: Array, z: Array
) -> Array:
    """``f[x, y, z]`` from differences of ``f[x, y]``, and ``f'`` for their step.

    Near ties it errs by about ``eps**(2/3) max(1, |x|/h) f'/h``, where ``f'`` changes by its own size over
    ``h``.
    """
    xp = namespace(x)
    low, middle, high = ascending(x, y, z)
    step = eps(x) ** (1 / 3) * _length(derivative, y)
    close = high - low <= step
    # Around their mean, which a second difference of close arguments depends on to first order.
    centre = low + ((middle - low) + (high - low)) / 3
    low, high = xp.where(close, centre - step, low), xp.where(close, centre + step, high)
    middle = xp.where(close, centre, middle)
    return (function.divided_difference(high, middle) - function.divided_difference(low, middle)) / (
        high - low
    )


def _length(derivative: Callable[[Array], Array], x: Array) -> Array:
    """About how far from `x` the derivative changes by its own size, at most ``max(|x|, 1)``.

    By probes away from 0, where no singularity is expected. The first is as short as one at 0 demands; the
    second refines it for functions that have none, and so vary little over the size of a small `x`.
    """
    xp = namespace(x)
    size = xp.abs(x)
    longest = xp.where(size > 1.0, size, 1.0)
    length = xp.where(size > 0, size, 1.0)
    here = derivative(x)
    for _ in range(2):
        probe = eps(x) ** (1 / 3) * length
        slope = derivative(x + xp.where(x < 0, -probe, probe))
        change, total = xp.abs(slope - here), xp.abs(slope) + xp.abs(here)
        seen = change > _VISIBLE * eps(x) * total
        length = xp.where(seen, probe * total / xp.where(seen, change, 1.0), longest)
        length = xp.where(length > longest, longest, length)
    return length


def second_from_first_or_series(
    function: _HasDividedDifference,
    x: Array,
    y: Array,
    z: Array,
    sizes: tuple[Callable[[Array], Array], ...],
    distance: Callable[[Array], Array],
    coefficients: Iterator[float],
    near: float = NEAR,
) -> Array:
    """``f[x, y, z]`` from the series for close arguments, from the first differences for others.

    ``f^(m+2)(u)/(m+2)!`` is ``size(u) / distance(u)**m`` times a number, the next of `coefficients`; of
    several sizes the next one, in turn. Close are arguments that differ by at most the share `near` of the
    distance.
    """
    xp = namespace(x)
    low, middle, high = ascending(x, y, z)
    spread = high - low
    is_near = spread <= near * distance(low)
    # Each branch sees arguments that suit it, so that neither overflows where the other is taken.
    start, step, whole = (
        xp.where(is_near, u, v) for u, v in ((low, high), (middle - low, 0.0), (spread, 0.0))
    )
    mean = (step + whole) / 3
    centre = start + mean
    unit = distance(centre)
    unit = xp.where(unit > 0, unit, 1.0)
    a, b, c = -mean / unit, (step - mean) / unit, (whole - mean) / unit
    # No argument is further from the mean than two thirds of their spread.
    e_2, e_3 = a * b + b * c + c * a, a * b * c
    parts = _symmetric_series(coefficients, len(sizes), e_2, e_3, 2 / 3 * near, eps(x))
    series = sum(size(centre) * part for size, part in zip(sizes, parts, strict=True))
    quotient = function.divided_difference(high, middle) - function.divided_difference(low, middle)
    return xp.where(is_near, series, quotient / xp.where(is_near, 1.0, spread))


def _symmetric_series(
    coefficients: Iterator[float], turns: int, e_2: Array, e_3: Array, largest: float, precision: float
) -> list[Array]:
    """``sum_m coefficient_m h_m``, of arguments up to `largest`, as far as it counts in this precision.

    As so many sums, over every so many terms.
    """
    first, _ = next(coefficients), next(coefficients)  # h_1 = e_1 = 0
    sums: list[Array] = [first] + [0.0] * (turns - 1)
    before, last, current, bound = 1.0, 0.0, -e_2, largest**2
    for m, coefficient in enumerate(coefficients, 2):
        if abs(coefficient) * bound < precision * abs(first):
            break
        sums[m % turns] = sums[m % turns] + coefficient * current
        before, last, current = last, current, e_3 * before - e_2 * last
        bound *= largest
    return sums


def ascending(x: Array, y: Array, z: Array) -> tuple[Array, Array, Array]:
    """The three in ascending order, elementwise, with broadcasting."""
    xp = namespace(x)
    low, high = xp.minimum(x, y), xp.maximum(x, y)
    return xp.minimum(low, z), xp.maximum(low, xp.minimum(high, z)), xp.maximum(high, z)
