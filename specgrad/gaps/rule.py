"""What a gap rule must offer, and the rounding floor that an antisymmetric rule may carry.

Any frozen dataclass with ``matrix(values)`` and ``bound(values)`` is a gap rule. One whose pair matrix
is antisymmetric may carry a field ``noise``, a `RoundingFloor` or None, which the derivative applies to the
cotangent before the rule meets it.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import as_row, differences, real_product
from specgrad._namespace import eps, is_single, namespace
from specgrad._require import require_at_least, require_method
from specgrad._typing import Array

__all__ = ["GapRule", "RoundingFloor", "require_floor"]


# The default of `RoundingFloor.factor` in single and in double precision.
_SINGLE, _DOUBLE = 8.0, 64.0


class GapRule(Protocol):
    """What a gap rule must offer."""

    def matrix(self, values: Array, /) -> Array:
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

    def bound(self, values: Array, /) -> Array:
        """An upper bound, shape (...), on the magnitude of the entries of ``matrix(values)``."""


@dataclass(frozen=True)
class RoundingFloor:
    r"""Which entries of the cotangent, seen in the eigenbasis, are rounding and not signal.

    With ``Y`` the anti-Hermitian part of ``V^H gV``, an entry counts as rounding when

        ``|Y_ij| <= factor * eps * (||gv_i|| + ||gv_j||)``  and  ``|l_j - l_i| < reach * max|l|``.

    For a loss of the subspace that a cluster of eigenvalues spans, ``Y`` vanishes inside the cluster in
    exact arithmetic; what is left there is rounding, and ``rounding / gap`` is all that a rule which
    looks at the gap alone can leave. Setting these entries to zero makes the gradient of such losses
    exact at every gap. It is not linear in the cotangent: vjp and jvp are adjoint to eps/gap only. Norms are
    formed from squares: cotangents whose squares leave the range of exponents (1e-19 and 1e19 in float32)
    are left to the gap rule.

    Parameters
    ----------
    factor : float, optional
        Largest error of ``Y`` that is expected, in units of eps and the size of the cotangents; by default
        8, and 64 for the eps of double precision, which leaves room for cotangents that were summed over
        many samples, and still takes next to nothing from others.
    reach : float, default 0.05
        Largest gap at which it acts, in units of the largest eigenvalue magnitude. At wider gaps
        rounding does no harm, and small honest entries survive.
    eps : float, optional
        By what a cotangent may be off, relative to itself; by default eps of its dtype. Pass ``2**-8``, the
        rounding error of bfloat16, where cotangents were rounded to that on their way.

    Raises
    ------
    TypeError, ValueError
        If one of these is no number, or is negative.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import RoundingFloor
    >>> y, g = np.array([[0.0, 1e-17], [-1e-17, 0.0]]), np.eye(2)
    >>> RoundingFloor().signal(np.array([1.0, 1.01]), y, g)  # between close eigenvalues
    array([[ 0.,  0.],
           [-0.,  0.]])
    """

    factor: float | None = None
    reach: float = 0.05
    eps: float | None = None

    def __post_init__(self) -> None:
        for name in ("factor", "reach", "eps"):
            require_at_least(0, self, name)

    def signal(self, values: Array, inner: Array, vectors_cotangent: Array) -> Array:
        """``Y`` with 0 for the entries that are rounding, shape (..., n, n).

        Parameters
        ----------
        values : array, shape (..., n)
            Eigenvalues.
        inner, vectors_cotangent : array, shape (..., n, n)
            ``Y``, and ``gV`` from which it was computed.
        """
        counts = self._counts(values, inner, vectors_cotangent, self.reach)
        # As a product: in some libraries a selection takes as long as five of them.
        return namespace(values).astype(counts, values.dtype) * inner

    def signal_vjp(self, values: Array, inner: Array, vectors_cotangent: Array, cotangent: Array) -> Array:
        """The cotangent of ``Y`` from that of ``signal(values, Y, gV)``, as a second derivative needs it.

        An entry may be 0 at one matrix and not at the next, as at the optimum of a loss, and then has a
        derivative, which the mask would hide. One that is 0 for a whole cluster has none, but rounding of
        size ``eps/gap**2``. The mask holds for gaps below ``eps**(1/3) * max|l|``, where that is too much.
        """
        reach = min(self.reach, self._eps(values) ** (1 / 3))
        counts = self._counts(values, inner, vectors_cotangent, reach)
        return namespace(values).astype(counts, values.dtype) * cotangent

    def _eps(self, values: Array) -> float:
        return eps(values) if self.eps is None else self.eps

    def _unit(self, values: Array) -> float:
        """The error of ``Y`` relative to the size of the cotangents."""
        double = self.eps is None and not is_single(values)
        factor = (_DOUBLE if double else _SINGLE) if self.factor is None else self.factor
        return factor * self._eps(values)

    def _counts(self, values: Array, inner: Array, vectors_cotangent: Array, reach: float) -> Array:
        """Mask of the entries that are no rounding, or between eigenvalues further apart than `reach`."""
        xp = namespace(values)
        squares = real_product(vectors_cotangent, vectors_cotangent)
        level = self._unit(values) * xp.sqrt(xp.sum(squares, axis=-2, keepdims=True))
        level = xp.where(xp.isfinite(level), level, 0.0)  # what has overflowed is no level
        widest = reach * xp.max(xp.abs(values), axis=-1, keepdims=True)
        return (xp.abs(inner) > level + level.mT) | (xp.abs(differences(values)) >= as_row(widest))


def require_floor(noise: RoundingFloor | None) -> None:
    """Raise unless the rounding floor of a rule is one, or None."""
    if noise is not None:
        for method in ("signal", "signal_vjp"):
            require_method(noise, method, "noise", "RoundingFloor()")
