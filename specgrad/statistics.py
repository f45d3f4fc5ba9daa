"""Covariances of samples, and their pooling, differentiable in the data."""

from specgrad._require import as_nonnegative, as_number
from specgrad._typing import Array
from specgrad.bind import Binding, differentiable
from specgrad.composed_functions import Shifted
from specgrad.functions import MatrixFunction, Sqrt
from specgrad.gradients import GradientRule
from specgrad.method import Choices, Method
from specgrad.primitives import Covariance, PooledCovariance
from specgrad.samples import (
    in_one_precision,
    require_enough_weight,
    require_finite_covariance,
    require_samples,
    require_weights,
)
from specgrad.solvers import DenseEigh, RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad.validation import to_computing_precision

__all__ = ["covariance", "covariance_pool", "shifted"]


@differentiable
def covariance(
    binding: Binding,
    x: Array,
    weights: Array | None = None,
    *,
    correction: float = 1,
    eps: float = 0.0,
    check_finite: bool = True,
) -> Array:
    r"""The covariance of samples in columns, differentiable in the data and in their weights.

    Parameters
    ----------
    x : array, shape (..., p, m)
        ``p`` variables in rows and ``m`` samples, real or complex. float16 and bfloat16 are computed in
        float32, which is then the dtype of the result.
    weights : array, shape (..., m), optional
        Relative importance of the samples, real and nonnegative; their scale does not matter.
        Zero leaves a sample out; its entries must be finite all the same. The axes of batches broadcast:
        (m,) for a whole batch, or (k, m) for k covariances of the same samples.
    correction : float, default 1
        The normaliser is ``m - correction``, or with weights ``W - correction sum w^2 / W``, ``W = sum w``.
    eps : float, default 0
        Added to the diagonal, in the units of the covariance.
    check_finite : bool, default True
        Raise for NaN and infinities in host memory; False, and data elsewhere, give NaN in that
        covariance alone.

    Returns
    -------
    array, shape (..., p, p)
        Hermitian, positive semi-definite to rounding.

    Raises
    ------
    TypeError, ValueError
        If `x` is not a floating array with more than `correction` samples, or has NaN or infinite entries
        in host memory; if the weights do not fit it, or `eps` is negative.

    Notes
    -----
    The data are centred before they are multiplied, so a large mean costs no accuracy. For signals whose
    mean is part of the power, ``x x^H / m`` and `whitening_matrix` take the place of this and `zca_whiten`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import covariance, vjp
    >>> x = np.array([[1.0, 2.0, 3.0], [2.0, 4.0, 6.0]])
    >>> covariance(x)
    array([[1., 2.],
           [2., 4.]])
    >>> c, pullback = vjp(covariance, x)
    >>> pullback(np.array([[1.0, 0.0], [0.0, 0.0]]))[0]  # of the variance of the first variable
    array([[-1.,  0.,  1.],
           [ 0.,  0.,  0.]])
    """
    require_samples(x, "x", correction)
    if weights is not None:
        require_weights(weights, x)
        if check_finite and (seen := binding.view(weights)) is not None:
            require_enough_weight(seen, correction)
    arrays = in_one_precision(x, weights)
    primitive = Covariance(correction=as_number(correction, "correction"), eps=as_nonnegative(eps, "eps"))
    (c,) = binding.apply(primitive, *arrays)
    if check_finite and (seen := binding.view(c)) is not None:
        require_finite_covariance(seen, "x")
    return c


@differentiable
def covariance_pool(
    binding: Binding,
    x: Array,
    *,
    function: MatrixFunction = Sqrt(),
    eps: float = 0.0,
    correction: float = 0,
    truncation: Truncation | None = None,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> Array:
    r"""Global covariance pooling: a function of the covariance of features, as a vector.

    It replaces the average over positions at the end of a network by second-order statistics. The square
    root, `function`'s default, weakens the dominance of large variances.

    Parameters
    ----------
    x : array, shape (..., p, m)
        ``p`` features at ``m`` positions.
    function : MatrixFunction, default Sqrt()
        Applied to the eigenvalues of the covariance, such as ``Power(0.5)`` or ``Log()``.
    eps : float, default 0
        Added to the diagonal of the covariance. Unless positions outnumber features the
        covariance is singular and the root has an infinite derivative, so either this or a truncation
        is needed.
    correction : float, default 0
        The normaliser is ``m - correction``.
    truncation : Truncation, optional
        Which eigenvalues of the covariance, before `eps` is added, to keep; ``f`` is 0 on the others.
    solver, gradient
        As in `matrix_function`; the methods of both papers are pairs of the two.
    check_finite : bool, default True
        As in `covariance`.

    Returns
    -------
    array, shape (..., p (p + 1) / 2)
        The upper triangle of ``f(C)``, row by row.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `covariance` and `matrix_function`.

    Warns
    -----
    GaugeWarning, ConvergenceWarning
        As `matrix_function`.

    References
    ----------
    Li, Xie, Wang and Zuo, "Is second-order information helpful for large-scale visual recognition?" (ICCV
    2017): MPN-COV. Song, Sebe and Wang, "Why approximate matrix square root outperforms accurate SVD in
    global covariance pooling?" (ICCV 2021).

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import covariance_pool
    >>> covariance_pool(np.array([[2.0, -2.0, 2.0, -2.0], [3.0, 3.0, -3.0, -3.0]])).round(6)
    array([2., 0., 3.])
    """
    require_samples(x, "x", correction)
    x = to_computing_precision(x)
    correction, eps = as_number(correction, "correction"), as_nonnegative(eps, "eps")
    choices = (function, solver, gradient, truncation)
    method, pooled = binding.built(_pooled, choices, eps, correction)
    outputs = binding.apply(pooled, x)
    if check_finite and (seen := binding.view(outputs[1])) is not None:
        require_finite_covariance(seen, "x")
    method.report(binding, outputs[2:], check_finite, diagonal="eps")
    return outputs[0]


def shifted(choices: Choices, eps: float) -> tuple[Choices, float]:
    """The choices and the number for the diagonal by which ``f(C + eps I)`` is computed from ``C``.

    With a truncation the shift moves into the function, and nothing is left for the diagonal: a truncation
    should see the covariance itself, whose null directions are 0 to rounding.
    """
    function, solver, gradient, truncation = choices
    if truncation is None or not eps:
        return choices, eps
    return (Shifted(function=function, shift=eps), solver, gradient, truncation), 0.0


def _pooled(
    binding: Binding, choices: Choices, eps: float, correction: float
) -> tuple[Method, PooledCovariance]:
    choices, shift = shifted(choices, eps)
    method = Method(*choices)
    function = method.of_covariance(binding)
    return method, PooledCovariance(function=function, correction=correction, eps=shift)
