r"""Functions of Hermitian matrices with derivatives that are exact at every gap, ties included."""

from specgrad._array import plus_identity
from specgrad._namespace import eps
from specgrad._require import require_method
from specgrad._typing import Array
from specgrad.bind import Binding, Primitive, differentiable
from specgrad.functions import MatrixFunction, One
from specgrad.gradients import GradientRule
from specgrad.method import Choices, Method
from specgrad.solvers import DenseEigh, RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad.validation import hermitian_input

__all__ = ["evaluate", "matrix_function", "spectral_projector"]


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
        Computes the decomposition; for `Sqrt` and `InverseSqrt` also a root solver, `NewtonSchulz`.
    gradient : GradientRule, optional
        By default that of the solver: the exact `DaleckiiKrein` for a decomposition, its own steps for
        `NewtonSchulz` and `PowerIteration`. `ThroughEigenvectors` gives what composing from eigenvectors
        would, `NewtonSchulzGradient` the derivative of the iteration for an exact forward pass.
    truncation : Truncation, optional
        Which eigenvalues to keep; ``f`` is 0 on the others. None for what differentiates its own steps.
    check_finite : bool, default True
        As in `eigh`; with False, eigenvalues outside the domain give NaN or infinities, and no error.

    Returns
    -------
    array, shape (..., n, n)
        Hermitian.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `eigh`; ValueError for choices that do not go together; and where eigenvalues that are kept lie
        outside the domain of `function`, in host memory. Eigenvalues within ``n eps max|l|`` of 0 count as 0.

    Warns
    -----
    GaugeWarning
        Where a truncation is seen to keep some of several equal eigenvalues: which of them is arbitrary.
    ConvergenceWarning
        Where `NewtonSchulz` is seen not to have converged.

    Notes
    -----
    First and second derivatives are exact at every gap, ties included, but for the second ones of
    `FromDerivative`, which are differences, and of `Clamped` across its minimum. A gap in a denominator
    is that of `Sign` across 0, or that at a truncation's cut, where the gap rule of `gradient` decides. Third
    derivatives are exact off ties, and finite but not exact at them.

    References
    ----------
    Nicholas J. Higham, "Functions of Matrices" (SIAM, 2008), chapter 3.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Cos, matrix_function
    >>> matrix_function(np.zeros((2, 2)), Cos())
    array([[1., 0.],
           [0., 1.]])
    """
    return evaluate(binding, a, (function, solver, gradient, truncation), check_finite)


@differentiable
def spectral_projector(
    binding: Binding,
    a: Array,
    truncation: Truncation,
    *,
    solver: Solver = DenseEigh(),
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

    Warns
    -----
    GaugeWarning
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
    return evaluate(binding, a, (One(), solver, gradient, truncation), check_finite)


def evaluate(
    binding: Binding,
    a: Array,
    choices: Choices,
    check_finite: bool,
    shift: float = 0.0,
    is_covariance: bool = False,
) -> Array:
    """``f(A + shift I)`` on a binding, by the method of these choices, after the checks that all share."""
    name, diagonal = ("covariance", "eps") if is_covariance else ("a", "the diagonal")
    matrix, exactly_hermitian = hermitian_input(binding, a, name, check_finite)
    method, primitive = binding.built(_prepared, choices, exactly_hermitian)
    outputs = binding.apply(primitive, plus_identity(matrix, shift))
    precision = eps(a) if is_covariance else None
    method.report(binding, outputs, check_finite, diagonal=diagonal, precision=precision)
    return outputs[0]


def _prepared(binding: Binding, choices: Choices, exactly_hermitian: bool | None) -> tuple[Method, Primitive]:
    method = Method(*choices)
    return method, method.primitive(exactly_hermitian, binding)
