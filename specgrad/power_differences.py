r"""Divided differences of integer powers in closed form, by sums and products of terms of one sign.

Of ``f(u) = u^p``, for a positive p

    ``f[a, b]    = sum_{i+j=p-1} a^i b^j``
    ``f[a, b, c] = sum_{i+j+k=p-2} a^i b^j c^k``

in ``log2 p`` steps; a negative power is a positive one of reciprocals. They are right to rounding at ties,
and for arguments of opposite sign to rounding of the largest term.

Source: N. J. Higham, "Functions of Matrices" (SIAM, 2008), appendix B.16.
"""

from collections.abc import Iterator
from itertools import count

from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.divided_differences import ascending

__all__ = ["power_coefficients", "power_difference", "second_power_difference"]


def power_difference(x: Array, y: Array, p: int) -> Array:
    """``f[x, y]`` of ``u**p`` for an integer p: ``x^(p-1) + x^(p-2) y + ... + y^(p-1)`` for a positive one.

    In ``log2 p`` steps: ``(x + y) g[x^2, y^2]`` with ``g = u^(p/2)``, ``x^(p-1) + y g[x, y]`` with
    ``g = u^(p-1)``. The squares make terms of one sign, so arguments of opposite sign do not cancel either.
    """
    xp = namespace(x)
    if p < 0:
        r, s = xp.reciprocal(x), xp.reciprocal(y)
        return -r * s * power_difference(r, s, -p)
    if p < 2:
        return xp.full_like(x + y, p)
    if p == 2:
        return x + y
    if p % 2:
        return x ** (p - 1) + y * power_difference(x, y, p - 1)
    return (x + y) * power_difference(x * x, y * y, p // 2)


def second_power_difference(x: Array, y: Array, z: Array, p: int) -> Array:
    """``f[x, y, z]`` of ``u**p`` for an integer p: the sum of all ``x^i y^j z^k`` of degree p - 2."""
    xp = namespace(x)
    if p < 0:
        r, s, t = xp.reciprocal(x), xp.reciprocal(y), xp.reciprocal(z)
        return r * s * t * second_power_difference(r, s, t, 1 - p)
    low, middle, high = ascending(x, y, z)
    # The first of the three by magnitude: its sums with the other two then have one sign.
    is_low = -low > high
    first, last = xp.where(is_low, low, high), xp.where(is_low, high, low)
    return _ordered_second_power_difference(first, middle, last, p)


def _ordered_second_power_difference(x: Array, y: Array, z: Array, p: int) -> Array:
    if p <= 2:
        return namespace(x).full_like(x, p // 2)
    if p % 2:
        return x * _ordered_second_power_difference(x, y, z, p - 1) + power_difference(y, z, p - 1)
    of_squares = _ordered_second_power_difference(x * x, y * y, z * z, p // 2)
    return (x + y) * (x + z) * of_squares + power_difference(y * y, z * z, p // 2)


def power_coefficients(p: float) -> Iterator[float]:
    """``p (p-1) .. (p-m-1)/(m+2)!`` for m = 0, 1, ..: of Taylor's series for ``f[x, y, z]`` of any power."""
    coefficient = 0.5 * p * (p - 1)
    for m in count(2):
        yield coefficient
        coefficient *= (p - m) / (m + 1)
