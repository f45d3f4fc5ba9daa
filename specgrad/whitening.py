"""Whitening of samples, and the matrix that whitens, differentiable."""

from specgrad._require import as_nonnegative, as_number
from specgrad._typing import Array
from specgrad.bind import Binding, differentiable
from specgrad.functions import InverseSqrt
from specgrad.gradients import GradientRule
from specgrad.matrix_functions import evaluate
from specgrad.method import Choices, Method
from specgrad.primitives import SpectralFilter
from specgrad.results import WhiteningResult
from specgrad.samples import (
    in_one_precision,
    require_affine,
    require_finite_covariance,
    require_groups,
    require_samples,
)
from specgrad.solvers import DenseEigh, RootSolver, Solver
from specgrad.statistics import shifted
from specgrad.truncation import EigenvalueFloor, EnergyRatio, Truncation

__all__ = ["whitening_matrix", "zca_whiten"]


@differentiable
def zca_whiten(
    binding: Binding,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    groups: int = 1,
    eps: float = 0.0,
    correction: float = 0,
    truncation: Truncation | None = EnergyRatio(1 - 1e-4) & EigenvalueFloor(),
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> WhiteningResult:
    r"""Whiten data by the inverse square root of their covariance (zero-phase component analysis).

    ``y = diag(weight) C^(-1/2) (x - mean) + bias``: of all the transformations whose result has
    covariance ``I``, the one that changes the data least. The smallest directions, which together
    hold less than 1e-4 of the energy, are dropped unless `truncation` says otherwise, which variables
    in units of different size may want.

    Parameters
    ----------
    x : array, shape (..., p, m)
        ``p`` variables in rows and ``m`` samples, real or complex; each item of the batch is whitened by
        its own covariance. float16 and bfloat16 are computed in float32.
    weight, bias : array, shape (p,), optional
        Both or neither.
    groups : int, default 1
        Whitens ``p/groups`` neighbouring variables at a time, in one batched decomposition of the
        diagonal blocks. ``groups=p`` is standardisation.
    eps : float, default 0
        Added to the diagonal of the covariance, in its units.
    correction : float, default 0
        The covariance is normalised by ``m - correction``.
    truncation : Truncation or None
        Which eigenvalues of the covariance, before `eps` is added, to keep; the data have no component
        along the others afterwards. By default the text of Algorithm 1 of Wang et al.: stop when the
        energy left is below 1e-4, and at zero beyond rounding. (Taken literally the algorithm always
        drops the last eigenvector: ``EnergyRatio(1 - 1e-4, include_crossing=False)``.)
    solver, gradient
        As in `matrix_function`; `NewtonSchulz` goes with ``truncation=None``.
    check_finite : bool, default True
        Raise for NaN and infinities in host memory, and for a singular covariance; False, and data
        elsewhere, give non-finite results in that item alone.

    Returns
    -------
    WhiteningResult
        ``(whitened, mean, matrix)``.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `covariance` and `matrix_function`; ValueError for groups that do not divide ``p``.

    Warns
    -----
    GaugeWarning, ConvergenceWarning
        As `matrix_function`.

    Notes
    -----
    The gradient is exact at every gap. Composed from eigenvectors it is wrong where whitening drives its
    input, all eigenvalues equal: see `ThroughEigenvectors`. It has the power -3/2 of the covariance in it,
    which float32 holds for standard deviations, of the directions that are kept, from 1e-12 to 1e12, and
    float64 from 1e-100 to 1e100.

    References
    ----------
    Wang et al., "Backpropagation-friendly eigendecomposition" (NeurIPS 2019); Huang et al., "Decorrelated
    batch normalization" (CVPR 2018).

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import covariance, zca_whiten
    >>> x = np.array([[1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 1.0, 0.0]])
    >>> abs(covariance(zca_whiten(x).whitened, correction=0)).round(12)
    array([[1., 0.],
           [0., 1.]])
    """
    require_samples(x, "x", correction)
    require_groups(groups, x)
    require_affine(weight, bias, x)
    correction, eps = as_number(correction, "correction"), as_nonnegative(eps, "eps")
    choices = (InverseSqrt(), solver, gradient, truncation)
    method, filtered = binding.built(_filter, choices, groups, eps, correction)
    outputs = binding.apply(filtered, *in_one_precision(x, weight, bias))
    if check_finite and (seen := binding.view(outputs[-1])) is not None:
        require_finite_covariance(seen, "x", groups)
    method.report(binding, outputs[2:-2], check_finite, groups, "eps", but_at_zero=True)
    return WhiteningResult(*outputs[:3])


@differentiable
def whitening_matrix(
    binding: Binding,
    covariance: Array,
    *,
    eps: float = 0.0,
    truncation: Truncation | None = EnergyRatio(1 - 1e-4) & EigenvalueFloor(),
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The matrix by which `zca_whiten` whitens, ``(C + eps I)^(-1/2)``, from a covariance at hand.

    For covariances that come from elsewhere: shrunk, averaged over batches, or summed over processes.

    Parameters
    ----------
    covariance : array, shape (..., d, d)
        Hermitian and positive semi-definite.
    eps, truncation, solver, gradient, check_finite
        As in `zca_whiten`.

    Returns
    -------
    array, shape (..., d, d)

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `inv_sqrtm`; ValueError for an eigenvalue below 0.

    Warns
    -----
    GaugeWarning, ConvergenceWarning
        As `matrix_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import whitening_matrix
    >>> whitening_matrix(np.diag([4.0, 1.0, 0.0]))
    array([[0.5, 0. , 0. ],
           [0. , 1. , 0. ],
           [0. , 0. , 0. ]])
    """
    choices, shift = shifted((InverseSqrt(), solver, gradient, truncation), as_nonnegative(eps, "eps"))
    return evaluate(binding, covariance, choices, check_finite, shift, is_covariance=True)


def _filter(
    binding: Binding, choices: Choices, groups: int, eps: float, correction: float
) -> tuple[Method, SpectralFilter]:
    choices, shift = shifted(choices, eps)
    method = Method(*choices)
    function = method.of_covariance(binding)
    return method, SpectralFilter(function=function, groups=groups, correction=correction, eps=shift)
