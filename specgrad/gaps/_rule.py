"""What a gap rule must offer, and the rounding floor that an antisymmetric rule may carry.

Any frozen dataclass with ``matrix(values)`` and ``bound(values)`` is a gap rule. One whose pair matrix
is antisymmetric may carry a field ``noise``, a `RoundingFloor` or None; the derivative applies it.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import as_column, as_row, eps, namespace
from specgrad._typing import Array

__all__ = ["GapRule", "RoundingFloor"]


class GapRule(Protocol):
    """What a gap rule must offer."""

    def matrix(self, values: Array) -> Array:
        """The pair matrix.

        Parameters
        ----------
        values : array, shape (..., n)
            Real eigenvalues, in any order.

        Returns
        -------
        array, shape (..., n, n)
            ``[..., i, j]`` stands for ``1/(values[j] - values[i])``; the diagonal is 0.
        """

    def bound(self, values: Array) -> Array:
        """An upper bound, shape (...), on the magnitude of the entries of ``matrix(values)``."""


@dataclass(frozen=True)
class RoundingFloor:
    r"""Which entries of the cotangent, seen in the eigenbasis, are rounding and not signal.

    With ``Y`` the anti-Hermitian part of ``V^H gV``, an entry counts as rounding when

        ``|Y_ij| <= factor * eps * sqrt(n) * (||gv_i|| + ||gv_j||)``  and  ``|l_j - l_i| < reach * max|l|``.

    For a loss of the subspace that a cluster of eigenvalues spans, ``Y`` vanishes inside the cluster in
    exact arithmetic; what is left there is rounding, and ``rounding / gap`` is all that a rule which
    looks at the gap alone can leave. Setting these entries to zero makes the gradient of such losses
    exact at every gap. It is not linear in the cotangent: vjp and jvp are adjoint to eps/gap only.

    Parameters
    ----------
    factor : float, default 8
        Safety factor on the rounding error of an inner product.
    reach : float, default 0.05
        Largest gap at which it acts, in units of the largest eigenvalue magnitude. At wider gaps
        rounding does no harm, and small honest entries survive.
    eps : float, optional
        Relative rounding error of the cotangent; by default that of its dtype. Pass the one of
        bfloat16, ``2**-8``, where cotangents were rounded to it on their way.
    """

    factor: float = 8.0
    reach: float = 0.05
    eps: float | None = None

    def level(self, vectors_cotangent: Array) -> Array:
        """The level of rounding in ``Y``, shape (..., n, n), from ``gV`` of the same shape."""
        xp = namespace(vectors_cotangent)
        size = vectors_cotangent.shape[-2]
        magnitude = xp.abs(vectors_cotangent)
        largest = xp.max(magnitude, axis=(-2, -1), keepdims=True)
        largest = xp.where(largest > 0, largest, 1.0)
        relative = magnitude / largest  # the square of a large or small cotangent leaves the exponent range
        precision = eps(magnitude) if self.eps is None else self.eps
        norms = xp.sqrt(xp.sum(relative * relative, axis=-2)) * (
            largest[..., 0] * (self.factor * precision * size**0.5)
        )
        return as_row(norms) + as_column(norms)
