"""The named functions of Hermitian matrices: roots, powers, logarithm, exponential."""

from specgrad._typing import Array
from specgrad.bind import Binding, differentiable
from specgrad.functions import Exp, InverseSqrt, Log, Power, Sqrt
from specgrad.gradients import GradientRule
from specgrad.matrix_functions import evaluate
from specgrad.solvers import DenseEigh, RootSolver, Solver
from specgrad.truncation import Truncation

__all__ = ["expm", "inv_sqrtm", "logm", "powm", "sqrtm"]


@differentiable
def sqrtm(
    binding: Binding,
    a: Array,
    *,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The principal square root of Hermitian positive semi-definite matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian and positive semi-definite. On a null space the derivative is infinite: truncate it.
    solver, gradient, truncation, check_finite
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
    GaugeWarning, ConvergenceWarning
        As `matrix_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import sqrtm
    >>> sqrtm(np.diag([4.0, 9.0]))
    array([[2., 0.],
           [0., 3.]])
    """
    return evaluate(binding, a, (Sqrt(), solver, gradient, truncation), check_finite)


@differentiable
def inv_sqrtm(
    binding: Binding,
    a: Array,
    *,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The inverse square root of Hermitian positive definite matrices: the heart of whitening.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian and positive definite, or truncated to where it is.
    solver, gradient, truncation, check_finite
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
    GaugeWarning, ConvergenceWarning
        As `matrix_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import inv_sqrtm
    >>> inv_sqrtm(np.diag([4.0, 0.25]))
    array([[0.5, 0. ],
           [0. , 2. ]])
    """
    return evaluate(binding, a, (InverseSqrt(), solver, gradient, truncation), check_finite)


@differentiable
def powm(
    binding: Binding,
    a: Array,
    exponent: float,
    *,
    solver: Solver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""A real power of Hermitian matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian; positive for exponents that are not integers.
    exponent : float
        Not differentiated; ``expm(p * logm(a))`` of positive matrices has a gradient in ``p`` too.
    solver, gradient, truncation, check_finite
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
    >>> from specgrad import powm
    >>> powm(np.diag([4.0, 9.0]), 1.5)
    array([[ 8.,  0.],
           [ 0., 27.]])
    """
    return evaluate(binding, a, (Power(exponent), solver, gradient, truncation), check_finite)


@differentiable
def logm(
    binding: Binding,
    a: Array,
    *,
    solver: Solver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The principal logarithm of Hermitian positive definite matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian and positive definite, or truncated to where it is.
    solver, gradient, truncation, check_finite
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
    >>> from specgrad import logm
    >>> logm(np.eye(2))
    array([[0., 0.],
           [0., 0.]])
    """
    return evaluate(binding, a, (Log(), solver, gradient, truncation), check_finite)


@differentiable
def expm(
    binding: Binding,
    a: Array,
    *,
    solver: Solver = DenseEigh(),
    gradient: GradientRule | None = None,
    truncation: Truncation | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The exponential of Hermitian matrices.

    Parameters
    ----------
    a : array, shape (..., n, n)
        Hermitian.
    solver, gradient, truncation, check_finite
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
    >>> from specgrad import expm
    >>> expm(np.zeros((2, 2)))
    array([[1., 0.],
           [0., 1.]])
    """
    return evaluate(binding, a, (Exp(), solver, gradient, truncation), check_finite)
