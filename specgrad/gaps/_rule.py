"""What a gap rule must offer, and the rounding floor that an antisymmetric rule may carry.

Any frozen dataclass with ``matrix(values)`` and ``bound(values)`` is a gap rule. One whose pair matrix
is antisymmetric may carry a field ``noise``, a `RoundingFloor` or None; its ``matrix`` then takes a second
argument, the width below which the floor makes a pair count as a tie.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import as_row, eps, namespace, squared_magnitude
from specgrad._require import require_at_least, require_method
from specgrad._typing import Array

__all__ = ["FlooredGapRule", "GapRule", "RoundingFloor", "no_ties", "require_floor"]


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


class FlooredGapRule(GapRule, Protocol):
    """What an antisymmetric gap rule offers that can carry a rounding floor."""

    noise: "RoundingFloor | None"

    def matrix(self, values: Array, tie_width: Array | None = None) -> Array:
        """The pair matrix, with 0 for pairs whose gap is at most `tie_width`, (..., n, n)."""


@dataclass(frozen=True)
class RoundingFloor:
    r"""Which entries of the cotangent, seen in the eigenbasis, are rounding and not signal.

    With ``Y`` the anti-Hermitian part of ``V^H gV``, an entry counts as rounding when

        ``|Y_ij| <= factor * eps * sqrt(n) * (||gv_i|| + ||gv_j||)``  and  ``|l_j - l_i| < reach * max|l|``.

    For a loss of the subspace that a cluster of eigenvalues spans, ``Y`` vanishes inside the cluster in
    exact arithmetic; what is left there is rounding, and ``rounding / gap`` is all that a rule which
    looks at the gap alone can leave. Setting these entries to zero makes the gradient of such losses
    exact at every gap. It is not linear in the cotangent: vjp and jvp are adjoint to eps/gap only. Norms are
    formed from squares: cotangents whose squares underflow (1e-19 in float32) are left to the mask.

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

    Raises
    ------
    TypeError, ValueError
        If one of these is no number, or is negative.
    """

    factor: float = 8.0
    reach: float = 0.05
    eps: float | None = None

    def __post_init__(self) -> None:
        for name in ("factor", "reach", "eps"):
            require_at_least(0, self, name)

    def tie_width(self, values: Array, signal: Array, vectors_cotangent: Array) -> Array:
        """The gap up to which each pair counts as a tie, shape (..., n, n): 0 where it is no rounding.

        Parameters
        ----------
        values : array, shape (..., n)
            Eigenvalues.
        signal, vectors_cotangent : array, shape (..., n, n)
            ``Y``, and ``gV`` from which it was computed.
        """
        xp = namespace(values)
        unit = self.factor * (eps(values) if self.eps is None else self.eps) * values.shape[-1] ** 0.5
        level = unit * xp.sqrt(xp.sum(squared_magnitude(vectors_cotangent), axis=-2, keepdims=True))
        reach = self.reach * xp.max(xp.abs(values), axis=-1, keepdims=True)
        # As a product: in some libraries a selection takes as long as five of them.
        return as_row(reach) * xp.astype(xp.abs(signal) <= level + level.mT, reach.dtype)


def require_floor(noise: RoundingFloor | None) -> None:
    """Raise unless the rounding floor of a rule is one, or None."""
    if noise is not None:
        require_method(noise, "tie_width", "noise", "RoundingFloor()")


def no_ties(pairs: Array, gaps: Array, tie_width: Array | None) -> Array:
    """The pair matrix with 0 for pairs whose gap is at most the width."""
    if tie_width is None:
        return pairs
    xp = namespace(gaps)
    return xp.where(xp.abs(gaps) > tie_width, pairs, 0.0)
