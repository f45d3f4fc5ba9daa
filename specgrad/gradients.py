"""Gradient rules of matrix functions: which derivative goes with an exact forward pass.

Each is a frozen value with ``pair_matrix``: the derivative of ``f(A)`` is the sandwich
``V (F * (V^H G V)) V^H``, and a rule is its choice of ``F``.
"""

from dataclasses import dataclass
from typing import Protocol

from specgrad._array import as_column, as_row, identity, namespace
from specgrad._typing import Array
from specgrad.functions import MatrixFunction
from specgrad.gaps import GapRule, MaskedGap

__all__ = ["DaleckiiKrein", "GradientRule", "ThroughEigenvectors"]


class GradientRule(Protocol):
    """What a gradient rule must offer."""

    @property
    def gap(self) -> GapRule:
        """The gap rule for what reaches the eigenvectors themselves."""

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        """``F``, symmetric, (..., n, n), for eigenvalues (..., n) of which the mask (..., n) is kept."""


@dataclass(frozen=True)
class DaleckiiKrein:
    r"""The exact derivative: ``F_ij = (f(l_i) - f(l_j))/(l_i - l_j)``, and ``f'`` at ties. The default.

    Nothing in it grows as eigenvalues approach each other. Under a truncation ``f`` is 0 on the dropped
    eigenvalues; across the cut ``F_ij = f(l_kept)/(l_kept - l_dropped)``, and there a gap rule decides.

    Parameters
    ----------
    cut : GapRule, default MaskedGap()
        Stands for ``1/(l_kept - l_dropped)`` across a truncation.

    References
    ----------
    Daleckii and Krein (1965); N. J. Higham, "Functions of Matrices" (SIAM, 2008), theorem 3.11.
    """

    cut: GapRule = MaskedGap()

    @property
    def gap(self) -> GapRule:
        return self.cut

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        if kept is None:
            return function.divided_difference(as_column(values), as_row(values))
        xp = namespace(values)
        safe = stand_in(values, kept)
        inside = function.divided_difference(as_column(safe), as_row(safe))
        image = xp.where(kept, function(safe), 0.0)
        across = self.cut.matrix(values) * (as_row(image) - as_column(image))
        both = as_row(kept) & as_column(kept)
        either = as_row(kept) | as_column(kept)
        return xp.where(both, inside, xp.where(either, across, 0.0))


@dataclass(frozen=True)
class ThroughEigenvectors:
    r"""What composing the function from its eigenvectors gives.

    ``F_ij = K_ij f(l_j) + K_ji f(l_i)`` and ``F_ii = f'(l_i)``; for an antisymmetric rule the first is
    ``K_ij (f(l_j) - f(l_i))``. It is what the papers do. At a tie every regularised rule gives 0 where the
    truth is ``f'``. Under a truncation ``f`` is 0 on the dropped part.

    Parameters
    ----------
    gap : GapRule
        Gives ``K``.

    References
    ----------
    Wang et al. (NeurIPS 2019); Song et al. (ICCV 2021).
    """

    gap: GapRule

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        xp = namespace(values)
        safe = values if kept is None else stand_in(values, kept)
        image, slope = function(safe), function.divided_difference(safe, safe)
        if kept is not None:
            image, slope = xp.where(kept, image, 0.0), xp.where(kept, slope, 0.0)
        half = self.gap.matrix(values) * as_row(image)
        return half + half.mT + as_row(slope) * identity(values)


def stand_in(values: Array, kept: Array) -> Array:
    """The eigenvalues with the leading one in place of those dropped, where a function may be undefined."""
    return namespace(values).where(kept, values, values[..., :1])
