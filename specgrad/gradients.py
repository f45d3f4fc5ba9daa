"""Gradient rules of matrix functions: which derivative goes with the forward pass.

Each is a frozen value with ``vjp`` and ``jvp``. Most are a choice of the matrix ``F`` in the sandwich
``V (F * (V^H G V)) V^H``, which is its own transpose.
"""

from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from specgrad._array import adjoint, as_column, as_row, column_products, hermitian_part, identity, namespace
from specgrad._require import require_method, require_whole
from specgrad._typing import Array
from specgrad.derivatives import newton_schulz
from specgrad.derivatives.matrix_function import frechet
from specgrad.functions import InverseSqrt, MatrixFunction
from specgrad.gaps import GapRule, MaskedGap
from specgrad.leading import stand_in
from specgrad.solvers import DifferentiatedSolver

__all__ = [
    "DaleckiiKrein",
    "Decomposition",
    "GradientRule",
    "NewtonSchulzGradient",
    "ThroughEigenvectors",
    "ThroughSolver",
]


class Decomposition(NamedTuple):
    """What a gradient rule sees.

    Attributes
    ----------
    a : array, shape (..., n, n)
        The input.
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

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array) -> Array:
        """The cotangent of ``A``, Hermitian, from that of ``f(A)``."""

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array) -> Array:
        """The tangent of ``f(A)`` from that of ``A``, whose Hermitian part counts."""


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
    eigenvalues; across the cut ``F_ij = f(l_kept)/(l_kept - l_dropped)``, and there a gap rule decides.

    Parameters
    ----------
    cut : GapRule, default MaskedGap()
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

    cut: GapRule = field(default_factory=lambda: MaskedGap())

    def __post_init__(self) -> None:
        require_method(self.cut, "matrix", "cut", "MaskedGap()")

    def pair_matrix(self, function: MatrixFunction, values: Array, kept: Array | None) -> Array:
        """``F``, symmetric, (..., n, n), for eigenvalues (..., n) of which the mask (..., n) is kept."""
        if kept is None:
            return function.divided_difference(as_column(values), as_row(values))
        xp = namespace(values)
        safe = stand_in(values, kept)
        inside = function.divided_difference(as_column(safe), as_row(safe))
        image = xp.where(kept, function(safe), 0.0)
        across = self.cut.matrix(values) * (as_row(image) - as_column(image))
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
        image, slope = _image_and_slope(function, values, kept)
        half = self.gap.matrix(values) * as_row(image)
        return half + half.mT + as_row(slope) * identity(values)


@dataclass(frozen=True)
class ThroughSolver:
    r"""The derivative of the solver's own steps, composed to that of the function.

    With ``f = diag(f(l))``, ``f(A) = V f V^H`` passes on to the solver, or takes from it,

        ``gV = 2 herm(G) V f,   gl = f'(l) * real(diag(V^H herm(G) V))``                (vjp)
        ``df(A) = 2 herm((dV f + V diag(f'(l) * dl)/2) V^H)``                           (jvp)

    by the product rule.

    Parameters
    ----------
    solver : DifferentiatedSolver
        Such as `PowerIteration`.

    Raises
    ------
    TypeError
        If the solver has no method ``vjp``.
    """

    solver: DifferentiatedSolver

    def __post_init__(self) -> None:
        require_method(self.solver, "vjp", "solver", "PowerIteration(19)")

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array) -> Array:
        image, slope = _image_and_slope(function, at.values, at.kept)
        product = hermitian_part(cotangent) @ at.vectors
        g_values = slope * column_products(at.vectors, product)
        return self.solver.vjp(at.a, (g_values, 2.0 * product * as_row(image)))

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array) -> Array:
        image, slope = _image_and_slope(function, at.values, at.kept)
        d_values, d_vectors = self.solver.jvp(at.a, tangent)
        moved = d_vectors * as_row(image) + 0.5 * at.vectors * as_row(slope * d_values)
        return 2.0 * hermitian_part(moved @ adjoint(at.vectors))


@dataclass(frozen=True)
class NewtonSchulzGradient:
    """SVD-Newton: the derivative of a Newton-Schulz iteration, while the forward pass stays exact.

    For square roots and inverse square roots, without a truncation.

    Parameters
    ----------
    steps : int, default 5
        Iterations that the derivative runs through.

    Raises
    ------
    TypeError, ValueError
        If the number of steps is no integer, or below 1.

    References
    ----------
    Song, Sebe and Wang, ICCV 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import NewtonSchulzGradient, sqrtm, vjp
    >>> _, pullback = vjp(sqrtm, np.diag([4.0, 1.0]), gradient=NewtonSchulzGradient(12))
    >>> pullback(np.eye(2))[0].round(6)
    array([[0.25, 0.  ],
           [0.  , 0.5 ]])
    """

    steps: int = 5

    def __post_init__(self) -> None:
        require_whole(1, self, "steps")

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array) -> Array:
        if isinstance(function, InverseSqrt):
            return newton_schulz.vjp(at.a, self.steps, None, cotangent)
        return newton_schulz.vjp(at.a, self.steps, cotangent, None)

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array) -> Array:
        root, inverse = newton_schulz.jvp(at.a, self.steps, tangent)
        return inverse if isinstance(function, InverseSqrt) else root


def _image_and_slope(function: MatrixFunction, values: Array, kept: Array | None) -> tuple[Array, Array]:
    """``f(l)`` and ``f'(l)``, 0 where dropped."""
    xp = namespace(values)
    safe = values if kept is None else stand_in(values, kept)
    image, slope = function(safe), function.divided_difference(safe, safe)
    if kept is None:
        return image, slope
    return xp.where(kept, image, 0.0), xp.where(kept, slope, 0.0)
