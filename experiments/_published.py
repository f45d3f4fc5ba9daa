"""SVD-Pade as published: 20 digits, from a Taylor expansion by differences."""

from functools import cache

import mpmath

__all__ = ["DIGITS", "pade_coefficients", "taylor_coefficients"]

DIGITS = 20


@cache
def taylor_coefficients() -> tuple[mpmath.mpf, ...]:
    """Of ``1/(1 - q)`` at 0, degree 100."""
    with mpmath.workdps(DIGITS):
        return tuple(mpmath.taylor(lambda q: 1 / (1 - q), 0, 100))


@cache
def pade_coefficients() -> tuple[tuple[mpmath.mpf, ...], tuple[mpmath.mpf, ...]]:
    """``P`` and ``Q`` of degree 50, constant first.

    The linear system is singular: ``1/(1 - q)`` is itself rational of degree [0/1], and any polynomial times
    ``1/(1 - q)`` solves it. Rounding decides which one comes out.
    """
    with mpmath.workdps(DIGITS):
        numerator, denominator = mpmath.pade(list(taylor_coefficients()), 50, 50)
        return tuple(numerator), tuple(denominator)
