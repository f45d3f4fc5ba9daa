"""PCA denoising of samples, and the matrix that denoises, differentiable."""

from dataclasses import dataclass
from math import inf

from specgrad._array import real_part
from specgrad._namespace import eps, namespace
from specgrad._places import first_index, place
from specgrad._require import as_number, require, require_method
from specgrad._typing import Array
from specgrad.bind import Binding, Primitive, differentiable
from specgrad.functions import One
from specgrad.gradients import GradientRule
from specgrad.method import Choices, Method
from specgrad.primitives import SpectralFilter, Standardised
from specgrad.results import DenoisingResult
from specgrad.samples import (
    in_one_precision,
    require_affine,
    require_finite_covariance,
    require_groups,
    require_samples,
)
from specgrad.solvers import DenseEigh, Solver
from specgrad.truncation import EnergyRatio, Truncation
from specgrad.validation import hermitian_input

__all__ = ["Standardise", "denoising_matrix", "pca_denoise"]


@dataclass(frozen=True)
class Standardise:
    """Divide each variable by its standard deviation, ``sqrt(variance + eps)``.

    Parameters
    ----------
    eps : float, default 0
        In the units of the variances.

    Raises
    ------
    TypeError, ValueError
        If eps is no number, or is negative or infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaxRank, Standardise, pca_denoise
    >>> x = np.array([[2.0, 0.0], [0.0, 0.0]])  # the second variable is constant
    >>> pca_denoise(x, truncation=MaxRank(1), scaling=Standardise(eps=1e-5)).denoised.round(2)
    array([[ 1., -1.],
           [ 0.,  0.]])
    """

    eps: float = 0.0

    def __post_init__(self) -> None:
        require(self, "eps", "a finite number of at least 0", lambda number: 0 <= number < inf)


@differentiable
def pca_denoise(
    binding: Binding,
    x: Array,
    weight: Array | None = None,
    bias: Array | None = None,
    *,
    truncation: Truncation = EnergyRatio(0.95),
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
        As `covariance` and `spectral_projector`; ValueError for groups that do not divide ``p``, and for a
        variable that is constant and divided by its standard deviation.

    Warns
    -----
    GaugeWarning
        As `matrix_function`.

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
    require_samples(x, "x", correction)
    require_groups(groups, x)
    require_affine(weight, bias, x)
    require_method(truncation, "keep", "truncation", "MaxRank(4)")
    correction = as_number(correction, "correction")
    choices = (One(), solver, gradient, truncation)
    method, filtered = binding.built(_filter, choices, scaling, groups, correction)
    outputs = binding.apply(filtered, *in_one_precision(x, weight, bias))
    if check_finite and (seen := binding.view(outputs[-1])) is not None:
        require_finite_covariance(seen, "x", groups)
        _require_variances(seen, scaling, groups)
    method.report(binding, outputs[2:-2], check_finite, groups, but_at_zero=True)
    return DenoisingResult(*outputs[:4])


@differentiable
def denoising_matrix(
    binding: Binding,
    covariance: Array,
    *,
    truncation: Truncation = EnergyRatio(0.95),
    scaling: Standardise | None = Standardise(),
    solver: Solver = DenseEigh(),
    gradient: GradientRule | None = None,
    check_finite: bool = True,
) -> Array:
    r"""The matrix by which `pca_denoise` denoises, ``P diag(1/s)``, from a covariance at hand.

    Parameters
    ----------
    covariance : array, shape (..., d, d)
        Hermitian and positive semi-definite.
    truncation, scaling, solver, gradient, check_finite
        As in `pca_denoise`.

    Returns
    -------
    array, shape (..., d, d)

    Raises
    ------
    TypeError, ValueError, ConvergenceError
        As `spectral_projector`; ValueError for an eigenvalue below 0, and for a variance of 0 to
        be divided by.

    Warns
    -----
    GaugeWarning
        As `matrix_function`.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import MaxRank, denoising_matrix
    >>> denoising_matrix(np.array([[4.0, 2.0], [2.0, 4.0]]), truncation=MaxRank(1))
    array([[0.25, 0.25],
           [0.25, 0.25]])
    """
    require_method(truncation, "keep", "truncation", "MaxRank(4)")
    method, matrix = binding.built(_matrix, (One(), solver, gradient, truncation), scaling)
    c, _ = hermitian_input(binding, covariance, "covariance", check_finite)
    if check_finite and (seen := binding.view(c)) is not None:
        _require_variances(seen, scaling, None)
    outputs = binding.apply(matrix, c)
    method.report(binding, outputs, check_finite, precision=eps(covariance))
    return outputs[0]


def _filter(
    binding: Binding, choices: Choices, scaling: Standardise | None, groups: int, correction: float
) -> tuple[Method, SpectralFilter]:
    method = Method(*choices)
    matrix = _scaled(method.of_covariance(binding), scaling)
    return method, SpectralFilter(function=matrix, groups=groups, correction=correction, eps=0.0)


def _matrix(binding: Binding, choices: Choices, scaling: Standardise | None) -> tuple[Method, Primitive]:
    method = Method(*choices)
    return method, _scaled(method.primitive(None, binding), scaling)


def _scaled(projector: Primitive, scaling: Standardise | None) -> Primitive:
    """``C -> (M, ...)`` from ``R -> (P, ...)``."""
    if scaling is not None and not isinstance(scaling, Standardise):
        raise TypeError(f"scaling is {scaling!r}, and Standardise() or None is needed.")
    return projector if scaling is None else Standardised(function=projector, eps=scaling.eps)


def _require_variances(covariance: Array, scaling: Standardise | None, groups: int | None) -> None:
    """Raise if a variable cannot be divided by its standard deviation; `covariance` must be readable."""
    if scaling is None:
        return
    xp = namespace(covariance)
    variances = real_part(xp.linalg.diagonal(covariance)) + scaling.eps
    if bool(xp.all(variances > 0)):
        return
    *batch, variable = index = first_index(~(variances > 0))
    raise ValueError(
        f"Variable {variable} of the covariance at {place(tuple(batch), groups)} has a variance of "
        f"{float(variances[index]):.3g} and cannot be divided by its standard deviation: take it out, or add "
        "to the variances with scaling=Standardise(eps=1e-5)."
    )
