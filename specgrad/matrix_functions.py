r"""Functions of Hermitian matrices with derivatives that are exact at every gap, ties included."""

from typing import cast

from specgrad._array import eps
from specgrad._require import require_method
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, Primitive, differentiable
from specgrad.derivatives.newton_schulz import residual
from specgrad.functions import Domain, InverseSqrt, MatrixFunction, One, Sqrt
from specgrad.gradients import DaleckiiKrein, GradientRule, NewtonSchulzGradient, ThroughSolver
from specgrad.primitives import ApplyFunction, SquareRoot
from specgrad.solvers import (
    DenseEigh,
    RootSolver,
    Solver,
    has_own_derivative,
    is_root_solver,
    prepare,
    require_complete,
)
from specgrad.truncation import Truncation
from specgrad.validation import is_exactly_hermitian, require_domain, require_matrices, to_computing_precision

__all__ = [
    "as_primitive",
    "evaluate",
    "judge",
    "matrix_function",
    "require_choices",
    "spectral_projector",
]


@differentiable
def matrix_function(
    binding: Binding,
    a: Array,
    function: MatrixFunction,
    *,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""Apply a scalar function to the eigenvalues of Hermitian matrices, ``f(A) = V diag(f(l)) V^H``.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Real symmetric or complex Hermitian; float16 and bfloat16 are computed in float32, which is
        then the dtype of the result.
    function : MatrixFunction
        ``f`` with its divided differences, such as `Log`, or `FromDerivative` of a pair of callables.
    solver : Solver, default DenseEigh()
        Computes the decomposition; for square roots also `NewtonSchulz`.
    gradient : GradientRule, optional
        By default that of the solver: the exact `DaleckiiKrein` for a decomposition, its own steps for
        `NewtonSchulz` and `PowerIteration`. `ThroughEigenvectors` gives what composing from eigenvectors
        would, `NewtonSchulzGradient` the derivative of the iteration for an exact forward pass.
    truncation : Truncation, optional
        Which eigenvalues to keep; ``f`` is 0 on the others.
    check_finite : bool, default True
        As in `eigh`.

    Returns
    -------
    array, shape (..., n, n)
        Hermitian.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `eigh`; and ValueError where eigenvalues that are kept lie outside the domain of `function`, in
        host memory. Eigenvalues within ``n eps max|l|`` of 0 count as 0.

    Notes
    -----
    First and second derivatives are exact at every gap, ties included; only the gap at a truncation's
    cut can be small, and there the gap rule of `gradient` decides.

    References
    ----------
    N. J. Higham, "Functions of Matrices" (SIAM, 2008), chapter 3.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import FromDerivative, matrix_function
    >>> cosine = FromDerivative(np.cos, lambda l: -np.sin(l))
    >>> matrix_function(np.zeros((2, 2)), cosine)
    array([[1., 0.],
           [0., 1.]])
    """
    return evaluate(binding, a, function, solver, gradient, truncation, check_finite)


@differentiable
def spectral_projector(
    binding: Binding,
    a: Array,
    truncation: Truncation,
    *,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The orthogonal projector on the eigenvectors that a truncation keeps.

    Its derivative knows the gap at the cut alone: ``F = 1/(l_kept - l_dropped)`` across, 0 inside either
    side, whatever happens among the kept or among the dropped eigenvalues.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian.
    truncation : Truncation
        Which eigenvalues to keep, largest magnitude first.
    solver, gradient, check_finite
        As in `matrix_function`.

    Returns
    -------
    array, shape (..., n, n)

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `matrix_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaxRank, spectral_projector
    >>> spectral_projector(np.diag([3.0, 1.0, 2.0]), MaxRank(2))
    array([[1., 0., 0.],
           [0., 0., 0.],
           [0., 0., 1.]])
    """
    require_method(truncation, "keep", "truncation", "MaxRank(4)")
    return evaluate(binding, a, One(), solver, gradient, truncation, check_finite)


def evaluate(
    binding: Binding,
    a: Array,
    function: MatrixFunction,
    solver: Solver | RootSolver,
    gradient: GradientRule | None,
    truncation: Truncation | None,
    check_finite: bool,
) -> Array:
    """``f(A)`` on a binding, after the checks that all matrix functions share."""
    require_matrices(a, "a")
    require_choices(function, solver, gradient, truncation)
    precision, a = eps(a), to_computing_precision(a)
    if not is_root_solver(solver):
        solver = prepare(cast(Solver, solver), a, binding, check_finite, precision)
    elif check_finite and (seen := binding.view(a)) is not None:
        is_exactly_hermitian(seen, "a", precision)
    outputs = binding.apply(as_primitive(function, solver, gradient, truncation), a)
    judge(binding, outputs, function, solver, truncation)
    return outputs[0]


def require_choices(
    function: MatrixFunction,
    solver: Solver | RootSolver,
    gradient: GradientRule | None,
    truncation: Truncation | None,
) -> None:
    """Raise for values that cannot do what is asked of them, or do not go together."""
    require_method(function, "divided_difference", "function", "Log() or FromDerivative(f, derivative)")
    if truncation is not None:
        require_method(truncation, "keep", "truncation", "MaxRank(4)")
    require_complete(solver)
    if is_root_solver(solver):
        if not isinstance(function, Sqrt | InverseSqrt) or gradient is not None or truncation is not None:
            raise ValueError(
                f"{solver} computes square roots and inverse square roots by products and differentiates its "
                f"own steps; it was given {function}, gradient={gradient} and truncation={truncation}. Pass "
                "gradient=None and truncation=None, or solver=DenseEigh() for other functions and choices."
            )
        return
    require_method(solver, "solve", "solver", "DenseEigh()")
    gradient = _rule(cast(Solver, solver), gradient)
    require_method(gradient, "vjp", "gradient", "DaleckiiKrein()")
    _require_partners(gradient, function, truncation)


def as_primitive(
    function: MatrixFunction,
    solver: Solver | RootSolver,
    gradient: GradientRule | None,
    truncation: Truncation | None,
) -> Primitive:
    """``A -> (f(A), ...)`` for choices that go together and a solver that is prepared for its input."""
    if is_root_solver(solver):
        return SquareRoot(solver=solver, inverse_first=isinstance(function, InverseSqrt))
    solver = cast(Solver, solver)
    rule = _rule(solver, gradient)
    return ApplyFunction(function=function, solver=solver, gradient=rule, truncation=truncation)


def judge(
    binding: Binding,
    outputs: Arrays,
    function: MatrixFunction,
    solver: Solver | RootSolver,
    truncation: Truncation | None,
) -> None:
    """Look at what the primitive put out, where it can be looked at: the residual, or the eigenvalues."""
    if is_root_solver(solver):
        root, inverse = (binding.view(output) for output in outputs)
        if root is not None and inverse is not None:
            solver.residual.judge(residual(root, inverse), solver.steps)
        return
    domain: Domain | None = getattr(function, "domain", None)
    values = binding.view(outputs[-2])
    if domain is not None and values is not None:
        require_domain(values, None if truncation is None else binding.view(outputs[1]), function, domain)


# Made here once: compilers follow the construction of a value less well than its use.
_EXACT = DaleckiiKrein()


def _rule(solver: Solver, gradient: GradientRule | None) -> GradientRule:
    """The gradient rule that was given, or the solver's own."""
    if gradient is not None:
        return gradient
    return ThroughSolver(solver) if has_own_derivative(solver) else _EXACT


def _require_partners(
    gradient: GradientRule, function: MatrixFunction, truncation: Truncation | None
) -> None:
    """Raise for a gradient rule that does not go with the function or a truncation."""
    if isinstance(gradient, NewtonSchulzGradient) and (
        truncation is not None or not isinstance(function, Sqrt | InverseSqrt)
    ):
        raise ValueError(
            f"{gradient} differentiates square roots and inverse square roots without a truncation, and was "
            f"given {function} and truncation={truncation}. Use gradient=DaleckiiKrein()."
        )
    if isinstance(gradient, ThroughSolver) and truncation is not None:
        raise ValueError(
            f"{gradient.solver} differentiates its own steps, which know no truncation. Use "
            "solver=DenseEigh(), or gradient=DaleckiiKrein()."
        )
