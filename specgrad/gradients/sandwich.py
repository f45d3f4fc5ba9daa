"""Gradient rules ``V (F * (V^H G V)) V^H``: a choice of the matrix ``F``, which is its own transpose."""

from dataclasses import dataclass, field

from specgrad._array import as_column, as_row, identity
from specgrad._namespace import namespace
from specgrad._require import require_method
from specgrad._typing import Array
from specgrad.derivatives.matrix_function import frechet
from specgrad.functions import MatrixFunction
from specgrad.gaps import GapRule, MaskedCut
from specgrad.gradients.rule import Decomposition, image_and_slope
from specgrad.leading import kept_or_leading

__all__ = ["DaleckiiKrein", "ThroughEigenvectors"]


class _Sandwich:
    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        raise NotImplementedError

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array) -> Array:
        return frechet(at.vectors, self.pair_matrix(function, at.values, at.kept), cotangent)

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array) -> Array:
        return self.vjp(function, at, tangent)


@dataclass(frozen=True)
class DaleckiiKrein(_Sandwich):
    r"""The exact derivative: ``F_ij = (f(l_i) - f(l_j))/(l_i - l_j)``, and ``f'`` at ties. The default.

    Nothing in it grows as eigenvalues approach each other. Under a truncation ``f`` is 0 on the dropped
    eigenvalues; across the cut ``F_ij = f(l_kept)/(l_kept - l_dropped)``, and there a gap rule decides, as in
    `ThroughEigenvectors`. In second derivatives its antisymmetric part stands for the outer ``1/gap``.

    Parameters
    ----------
    cut : GapRule, default MaskedCut()
        Stands for ``1/(l_kept - l_dropped)`` across a truncation.

    Raises
    ------
    TypeError
        If the rule at the cut has no method ``matrix``.

    References
    ----------
    Daleckii and Krein (1965); N. J. Higham, "Functions of Matrices" (SIAM, 2008), theorem 3.11.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import DaleckiiKrein, sqrtm, vjp
    >>> _, pullback = vjp(sqrtm, 4.0 * np.eye(2), gradient=DaleckiiKrein())
    >>> pullback(np.ones((2, 2)))[0]  # f'(4) throughout, ties included
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """

    cut: GapRule = field(default_factory=lambda: MaskedCut())

    def __post_init__(self) -> None:
        require_method(self.cut, "matrix", "cut", "MaskedCut()")

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        """``F``, symmetric, (..., n, n), for eigenvalues (..., n) of which the mask (..., n) is kept."""
        if kept is None:
            return function.divided_difference(as_column(values), as_row(values))
        xp = namespace(values)
        safe = kept_or_leading(values, kept)
        inside = function.divided_difference(as_column(safe), as_row(safe))
        image = xp.where(kept, function(safe), 0.0)
        half = self.cut.matrix(values) * as_row(image)
        across = xp.where(as_row(kept), half, half.mT)  # symmetric for every rule, antisymmetric or not
        one_side = as_row(kept) == as_column(kept)
        return xp.where(one_side, xp.where(as_row(kept), inside, 0.0), across)


@dataclass(frozen=True)
class ThroughEigenvectors(_Sandwich):
    r"""What composing the function from its eigenvectors gives.

    ``F_ij = K_ij f(l_j) + K_ji f(l_i)`` and ``F_ii = f'(l_i)``; for an antisymmetric rule the first is
    ``K_ij (f(l_j) - f(l_i))``. It is what the papers do. At a tie an antisymmetric rule gives 0 where the
    truth is ``f'``. Under a truncation ``f`` is 0 on the dropped part.

    Parameters
    ----------
    gap : GapRule
        Gives ``K``.

    Raises
    ------
    TypeError
        If the gap rule has no method ``matrix``.

    References
    ----------
    Wang et al. (NeurIPS 2019); Song et al. (ICCV 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaskedGap, ThroughEigenvectors, sqrtm, vjp
    >>> _, pullback = vjp(sqrtm, 4.0 * np.eye(2), gradient=ThroughEigenvectors(MaskedGap()))
    >>> pullback(np.ones((2, 2)))[0]  # at a tie the truth is 0.25 throughout
    array([[0.25, 0.  ],
           [0.  , 0.25]])
    """

    gap: GapRule

    def __post_init__(self) -> None:
        require_method(self.gap, "matrix", "gap", "MaskedGap()")

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        """``F``, symmetric, (..., n, n), for eigenvalues (..., n) of which the mask (..., n) is kept."""
        image, slope = image_and_slope(function, values, kept)
        half = self.gap.matrix(values) * as_row(image)
        return half + half.mT + as_row(slope) * identity(half)
