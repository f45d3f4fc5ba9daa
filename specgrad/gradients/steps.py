"""Gradient rules that differentiate the steps of an iteration."""

from dataclasses import dataclass

from specgrad._array import adjoint, as_row, column_products, hermitian_part
from specgrad._require import require_method, require_whole
from specgrad._typing import Array
from specgrad.derivatives import newton_schulz
from specgrad.functions import InverseSqrt, MatrixFunction
from specgrad.gradients.rule import Decomposition, image_and_slope
from specgrad.solvers import DifferentiatedSolver

__all__ = ["NewtonSchulzGradient", "ThroughSolver"]


@dataclass(frozen=True)
class ThroughSolver:
    r"""The derivative of the solver's own steps, composed to that of the function.

    With ``D = diag(f(l))``, ``f(A) = V D V^H`` passes on to the solver, or takes from it,

        ``gV = 2 herm(G) V D,   gl = f'(l) * real(diag(V^H herm(G) V))``                (vjp)
        ``df(A) = 2 herm((dV D + V diag(f'(l) * dl)/2) V^H)``                           (jvp)

    by the product rule.

    Parameters
    ----------
    solver : DifferentiatedSolver
        Such as `PowerIteration`.

    Raises
    ------
    TypeError
        If the solver has no method ``vjp``.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import PowerIteration, ThroughSolver, sqrtm, vjp
    >>> rule = ThroughSolver(PowerIteration(steps=50))
    >>> _, pullback = vjp(sqrtm, np.diag([4.0, 1.0]), gradient=rule)
    >>> pullback(np.eye(2))[0].round(6)
    array([[0.25, 0.  ],
           [0.  , 0.5 ]])
    """

    solver: DifferentiatedSolver

    def __post_init__(self) -> None:
        require_method(self.solver, "vjp", "solver", "PowerIteration(19)")

    def vjp(self, function: MatrixFunction, at: Decomposition, cotangent: Array) -> Array:
        image, slope = image_and_slope(function, at.values, at.kept)
        product = hermitian_part(cotangent) @ at.vectors
        g_values = slope * column_products(at.vectors, product)
        return self.solver.vjp(at.a, (g_values, 2.0 * product * as_row(image)))

    def jvp(self, function: MatrixFunction, at: Decomposition, tangent: Array) -> Array:
        image, slope = image_and_slope(function, at.values, at.kept)
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
