"""What a gradient rule must offer: a frozen value with ``vjp`` and ``jvp``."""

from typing import NamedTuple, Protocol

from specgrad._namespace import namespace
from specgrad._typing import Array
from specgrad.functions import MatrixFunction
from specgrad.leading import kept_or_leading

__all__ = ["Decomposition", "GradientRule", "image_and_slope"]


class Decomposition(NamedTuple):
    """What a gradient rule sees.

    Attributes
    ----------
    a : array, shape (..., n, n)
        The input, Hermitian.
    values, vectors : array, shape (..., n), (..., n, n)
        Its eigenvalues and eigenvectors; with a truncation the largest magnitude first.
    kept : array or None, shape (..., n)
        Mask of the eigenvalues that a truncation keeps; None without one.
    """

    a: Array
    values: Array
    vectors: Array
    kept: Array | None


class GradientRule(Protocol):
    """What a gradient rule must offer."""

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array, /) -> Array:
        """The cotangent of ``A``, Hermitian, from that of ``f(A)``."""

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array, /) -> Array:
        """The tangent of ``f(A)`` from that of ``A``, whose Hermitian part counts."""


def image_and_slope(function: MatrixFunction, values: Array, kept: Array | None) -> tuple[Array, Array]:
    """``f(l)`` and ``f'(l)``, 0 where dropped."""
    xp = namespace(values)
    safe = values if kept is None else kept_or_leading(values, kept)
    image, slope = function(safe), function.divided_difference(safe, safe)
    if kept is None:
        return image, slope
    return xp.where(kept, image, 0.0), xp.where(kept, slope, 0.0)
