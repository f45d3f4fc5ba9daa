"""PCA denoising as a layer."""

from typing import Any

from torch import Tensor

from specgrad import DenseEigh, EnergyRatio, Standardise
from specgrad._require import require_method
from specgrad.functions import One
from specgrad.gradients import GradientRule
from specgrad.solvers import RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad_torch import denoising_matrix, pca_denoise
from specgrad_torch.nn.normalisation import CovarianceNormalisation

__all__ = ["PCADenoising"]


class PCADenoising(CovarianceNormalisation):
    r"""Standardise channels and keep their component along the leading eigenvectors of the correlation.

    ``y = diag(weight) P (x - mean)/s + bias`` with the projector ``P`` and the standard deviations ``s`` of
    the batch in training; running averages of the mean and of ``P diag(1/s)`` take their place in `eval()`.

    Parameters
    ----------
    num_features : int
        Channels, the second axis of the input.
    eps : float, default 1e-4
        Added to the variances under the root.
    momentum, affine, track_running_stats
        As in `ZCAWhitening`.
    groups : int, default 1
        Denoise ``num_features/groups`` neighbouring channels at a time.
    truncation : Truncation, default EnergyRatio(0.95)
        How much to keep: a share of the energy, or ``MaxRank(k)``.
    solver, gradient
        As in `specgrad.spectral_projector`; the paper's is
        ``gradient=ThroughEigenvectors(PowerIterationGap(19))``.
    process_group, device, dtype, bias
        As in `ZCAWhitening`.

    Shape
    -----
    As in `ZCAWhitening`.

    Raises
    ------
    TypeError, ValueError
        For options that are out of range or do not go together; for an input of another number of channels
        or an integer dtype, and in training for less than two samples per channel.

    Notes
    -----
    The published layer fixes 16 eigenvectors whatever the number of channels; here the truncation says.

    References
    ----------
    Wang et al., "Backpropagation-friendly eigendecomposition" (NeurIPS 2019), section 3.3.

    Examples
    --------
    >>> import torch
    >>> from specgrad import MaxRank
    >>> from specgrad_torch.nn import PCADenoising
    >>> y = PCADenoising(6, truncation=MaxRank(2))(torch.randn(50, 6))
    >>> int(torch.linalg.matrix_rank(y, tol=1e-3))
    2
    """

    function = One()
    truncation: Truncation
    solver: Solver

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-4,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        groups: int = 1,
        truncation: Truncation = EnergyRatio(0.95),
        solver: Solver = DenseEigh(),
        gradient: GradientRule | None = None,
        process_group: Any = None,
        device: Any = None,
        dtype: Any = None,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features,
            eps,
            momentum,
            affine,
            track_running_stats,
            groups,
            truncation,
            solver,
            gradient,
            process_group,
            device,
            dtype,
            bias,
        )

    def require_choices(self, solver: Solver | RootSolver, gradient: GradientRule | None) -> None:
        require_method(self.truncation, "keep", "truncation", "MaxRank(4)")
        super().require_choices(solver, gradient)

    def filter(self, samples: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(
            pca_denoise(
                samples,
                weight,
                bias,
                truncation=self.truncation,
                groups=self.groups,
                scaling=Standardise(self.eps),
                solver=self.solver,
                gradient=self.gradient,
                check_finite=False,
            )[:3]
        )

    def matrix(self, covariance: Tensor) -> Tensor:
        return denoising_matrix(
            covariance,
            truncation=self.truncation,
            scaling=Standardise(self.eps),
            solver=self.solver,
            gradient=self.gradient,
            check_finite=False,
        )
