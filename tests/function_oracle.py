"""The derivative of a matrix function with 50 digits, without eigenvectors or divided differences.

``f([[A, E], [0, A]]) = [[f(A), L_f(A, E)], [0, f(A)]]`` (Higham, "Functions of Matrices", theorem 3.6), so
a matrix function that knows nothing of Hermitian matrices gives the derivative of one that does.
"""

from collections.abc import Callable, Sequence
from functools import cache

import mpmath
import numpy as np

from specgrad.bounded_functions import Cos, Sin
from specgrad.functions import Exp, InverseSqrt, Log, Power, Sqrt
from specgrad.testing import Spectrum

FUNCTIONS = (
    *(Sqrt(), InverseSqrt(), Power(0.3), Power(1.7), Power(-0.5), Power(3), Power(-2)),
    *(Log(), Exp(), Cos(), Sin()),
)


def _roots(block: mpmath.matrix) -> tuple[mpmath.matrix, mpmath.matrix]:
    """Square root and inverse square root by Denman and Beavers' iteration, with digits to spare."""
    with mpmath.workdps(100):
        y, z = block, mpmath.eye(block.rows)
        for _ in range(200):
            y, z, before = (y + z**-1) / 2, (z + y**-1) / 2, y
            if mpmath.mnorm(y - before) < mpmath.mpf(10) ** -60 * mpmath.mnorm(y):
                return y, z
    raise ArithmeticError("The reference for the square root did not converge.")


_FUNCTIONS = {
    "sqrtm": lambda block: _roots(block)[0],
    "inv_sqrtm": lambda block: _roots(block)[1],
    "logm": mpmath.logm,
    "expm": mpmath.expm,
}


@cache
def frechet(function: str, spectrum: Spectrum, n: int, dtype: str) -> tuple[np.ndarray, ...]:
    """``A``, a direction ``E``, and ``L_f(A, E)`` rounded from 50 digits."""
    a = spectrum.matrix(n, dtype)
    generator = np.random.default_rng(1)
    e = generator.standard_normal((n, n)).astype(dtype)
    if np.iscomplexobj(a):
        e = e + 1j * generator.standard_normal((n, n))
    e = ((e + e.conj().T) / 2).astype(dtype)
    block = np.block([[a, e], [np.zeros_like(a), a]])
    with mpmath.workdps(50):
        image = _FUNCTIONS[function](mpmath.matrix(block.tolist()))
        kind = complex if np.iscomplexobj(a) else lambda number: float(mpmath.re(number))
        derivative = np.array([[kind(image[i, n + j]) for j in range(n)] for i in range(n)])
    return a, e, derivative


def divided_difference(function: Callable[[mpmath.mpf], mpmath.mpf], points: Sequence[float]) -> float:
    """``f[points]`` rounded from 60 digits, of a scalar function; equal points are told apart by 1e-40.

    That much of the largest, so an exact 0 or a wide range of points takes closed forms instead.
    """
    with mpmath.workdps(200):
        numbers = [mpmath.mpf(float(point)) for point in points]
        apart = (max(map(abs, numbers)) or 1) * mpmath.mpf(10) ** -40
        numbers = [number + k * apart for k, number in enumerate(numbers)]
        column = [function(number) for number in numbers]
        for order in range(1, len(numbers)):
            column = [
                (column[k + 1] - column[k]) / (numbers[k + order] - numbers[k])
                for k in range(len(column) - 1)
            ]
        return float(column[0])


def sign_frechet(a: np.ndarray, cut: float, e: np.ndarray) -> np.ndarray:
    """``L_sign(A - cut I, E)``, by Newton's iteration ``X <- (X + X^-1)/2`` on the block matrix."""
    n = a.shape[0]
    shifted = a - cut * np.eye(n)
    block = np.block([[shifted, e], [np.zeros_like(a), shifted]])
    with mpmath.workdps(50):
        x = mpmath.matrix(block.tolist())
        for _ in range(40):
            following = (x + x**-1) / 2
            if mpmath.mnorm(following - x) < mpmath.mpf(10) ** -40:
                break
            x = following
        kind = complex if np.iscomplexobj(a) else lambda number: float(mpmath.re(number))
        return np.array([[kind(x[i, n + j]) for j in range(n)] for i in range(n)])
