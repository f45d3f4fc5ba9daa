"""Whitening and PCA denoising of samples, differentiable in the data."""

from dataclasses import dataclass

from specgrad._array import identity
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, differentiable
from specgrad.functions import InverseSqrt, One
from specgrad.gradients import GradientRule
from specgrad.matrix_functions import judge, require_choices
from specgrad.primitives import SpectralFilter, Standardised
from specgrad.results import DenoisingResult, WhiteningResult
from specgrad.samples import (
    in_precision_of,
    require_affine,
    require_finite_covariance,
    require_groups,
    require_samples,
)
from specgrad.solvers import DenseEigh, RootSolver, Solver
from specgrad.statistics import of_covariance
from specgrad.truncation import EigenvalueFloor, EnergyRatio, Truncation
from specgrad.validation import to_computing_precision

__all__ = ["Standardise", "pca_denoise", "zca_whiten"]

_LEADING_ENERGY = EnergyRatio(1 - 1e-4) & EigenvalueFloor()
_MOST_ENERGY = EnergyRatio(0.95)


@dataclass(frozen=True)
class Standardise:
    """Divide each variable by its standard deviation, ``sqrt(variance + eps)``.

    Parameters
    ----------
    eps : float, default 0
        In the units of the variances.
    """

    eps: float = 0.0


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
    truncation: Truncation | None = _LEADING_ENERGY,
    solver: Solver | RootSolver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> WhiteningResult:
    r"""Whiten data by the inverse square root of their covariance (zero-phase component analysis).

    ``y = diag(weight) C^(-1/2) (x - mean) + bias``: of all the transformations whose result has
    covariance ``I``, the one that changes the data least.

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

    Notes
    -----
    The gradient is exact at every gap. Composed from eigenvectors it is wrong by up to 80 % where
    whitening drives its input, all eigenvalues equal: see `ThroughEigenvectors`.

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
    function = InverseSqrt()
    require_samples(x, "x", correction)
    require_groups(groups, x)
    require_affine(weight, bias, x)
    require_choices(function, solver, gradient, truncation)
    if truncation is not None and eps:
        truncation = _BeforeShift(truncation=truncation, shift=eps)
    image = of_covariance(function, solver, gradient, truncation)
    filtered = SpectralFilter(function=image, groups=groups, correction=correction, eps=eps)
    outputs = binding.apply(filtered, *_in_one_precision(x, weight, bias))
    view = binding.view(outputs[-1])
    if check_finite and view is not None:
        require_finite_covariance(view, "x")
        judge(binding, outputs[2:-2], function, solver, truncation)
    return WhiteningResult(*outputs[:3])


@differentiable
def pca_denoise(
    binding: Binding,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    truncation: Truncation = _MOST_ENERGY,
    groups: int = 1,
    scaling: Standardise | None = Standardise(),
    correction: float = 0,
    solver: Solver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> DenoisingResult:
    r"""Keep the part of the data that lies along the leading eigenvectors of their covariance.

    ``y = diag(weight) P (x - mean)/s + bias`` with the projector ``P`` on what the truncation keeps, and
    the standard deviations ``s``.

    Parameters
    ----------
    x : array, shape (..., p, m)
        ``p`` variables in rows and ``m`` samples, as in `zca_whiten`.
    weight, bias : array, shape (p,), optional
        Both or neither.
    truncation : Truncation, default EnergyRatio(0.95)
        Which eigenvectors to keep: a share of the energy, or ``MaxRank(k)``.
    groups : int, default 1
        Denoises ``p/groups`` neighbouring variables at a time.
    scaling : Standardise or None
        What to divide each variable by first. By default its standard deviation, so that the covariance
        is a correlation; a constant variable needs ``Standardise(eps=1e-5)``, say. None: PCA of the data
        in their own units.
    correction : float, default 0
        The covariance is normalised by ``m - correction``.
    solver, gradient
        As in `spectral_projector`: only the gap at the cut matters, and there a gap rule decides.
    check_finite : bool, default True
        As in `covariance`.

    Returns
    -------
    DenoisingResult
        ``(denoised, mean, matrix, rank)``. The rank has no derivative.

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `covariance` and `spectral_projector`.

    References
    ----------
    Wang et al., "Backpropagation-friendly eigendecomposition" (NeurIPS 2019), section 3.3.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaxRank, pca_denoise
    >>> x = np.array([[1.0, 2.0, 3.0], [1.1, 1.9, 3.0]])
    >>> result = pca_denoise(x, truncation=MaxRank(1), scaling=None)
    >>> (result.denoised + result.mean[:, None]).round(2)
    array([[1.03, 1.95, 3.02],
           [1.07, 1.95, 2.98]])
    """
    function = One()
    require_samples(x, "x", correction)
    require_groups(groups, x)
    require_affine(weight, bias, x)
    require_choices(function, solver, gradient, truncation)
    image = of_covariance(function, solver, gradient, truncation)
    if scaling is not None:
        image = Standardised(function=image, eps=scaling.eps)
    filtered = SpectralFilter(function=image, groups=groups, correction=correction, eps=0.0)
    outputs = binding.apply(filtered, *_in_one_precision(x, weight, bias))
    view = binding.view(outputs[-1])
    if check_finite and view is not None:
        require_finite_covariance(view, "x")
    return DenoisingResult(*outputs[:4])


@dataclass(frozen=True)
class _BeforeShift:
    """A truncation that sees the covariance before its diagonal is shifted: null is 0 to rounding there."""

    truncation: Truncation
    shift: float

    def keep(self, a: Array, values: Array, vectors: Array) -> Array:
        return self.truncation.keep(a - self.shift * identity(a), values - self.shift, vectors)


def _in_one_precision(x: Array, weight: Array | None, bias: Array | None) -> Arrays:
    """The arrays that there are, the data in their computing precision and the others promoted to fit."""
    x = to_computing_precision(x)
    if weight is None or bias is None:
        return (x,)
    return x, in_precision_of(x, weight), in_precision_of(x, bias)
