"""ZCA whitening as a layer."""

from typing import Any

from torch import Tensor

from specgrad import DenseEigh, EigenvalueFloor, EnergyRatio, InverseSqrt
from specgrad.gradients import GradientRule
from specgrad.solvers import RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad_torch import whitening_matrix, zca_whiten
from specgrad_torch.nn.normalisation import CovarianceNormalisation

__all__ = ["ZCAWhitening"]


class ZCAWhitening(CovarianceNormalisation):
    r"""Whiten channels over batch and positions: what batch normalisation does, with correlations.

    ``y = diag(weight) (C + eps I)^(-1/2) (x - mean) + bias``, where `mean` and `C` are those of the batch in
    training; running averages of the mean and of the whitening matrix take their place in `eval()`.

    Parameters
    ----------
    num_features : int
        Channels, the second axis of the input.
    eps : float, default 1e-4
        Added to the diagonal of the covariance.
    momentum : float or None, default 0.1
        Weight of a new batch in the running statistics; None averages over all batches.
    affine : bool, default True
        Whether to learn a weight, which starts at 1, and a bias.
    track_running_stats : bool, default True
        False: use the statistics of the batch in `eval()` too.
    groups : int, default 1
        Whiten ``num_features/groups`` neighbouring channels at a time; with one channel each it is batch
        normalisation, in training. One batched decomposition, whatever their number.
    truncation : Truncation or None
        Which eigenvalues of the covariance to keep, as in `specgrad.zca_whiten`: by default the leading
        ones that hold all but 1e-4 of the energy. Layers behind a convolution of few inputs have a
        covariance of low rank, and whitening its rounding ruins a network.
    solver, gradient
        As in `specgrad.inv_sqrtm`: which method of the papers, by default the exact gradient.
        `NewtonSchulz` knows no truncation: give ``truncation=None``.
    process_group : torch.distributed.ProcessGroup, optional
        Synchronise batch statistics over these processes; see `convert_sync_whitening`.
    device, dtype
        Of parameters and running statistics.
    bias : bool, default True
        Whether an affine layer has a bias, or a weight alone.

    Shape
    -----
    Input ``(N, C)``, ``(N, C, L)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``, in any memory format; output
    the same. Half precision, also under autocast, is computed in float32 and comes back in half.

    Raises
    ------
    TypeError, ValueError
        For options that are out of range or do not go together; for an input of another number of channels
        or an integer dtype, and in training for less than two samples per channel.

    Notes
    -----
    The published layer drops the last eigenvector always (and so whitens one-channel groups to zero),
    starts its weight at random numbers, and multiplies by uninitialised memory with ``affine=False``; this
    one does not. A batch with NaN gives NaN, in its group, and leaves all running statistics as they are.

    References
    ----------
    Wang et al., "Backpropagation-friendly eigendecomposition" (NeurIPS 2019), Algorithm 1.

    Examples
    --------
    >>> import torch
    >>> from specgrad_torch.nn import ZCAWhitening
    >>> layer = ZCAWhitening(4, groups=2)
    >>> y = layer(torch.randn(8, 4, 5, 5)).transpose(0, 1).flatten(1)
    >>> torch.allclose(torch.cov(y, correction=0)[:2, :2], torch.eye(2), atol=1e-3)
    True
    """

    function = InverseSqrt()

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-4,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        *,
        groups: int = 1,
        truncation: Truncation | None = EnergyRatio(1 - 1e-4) & EigenvalueFloor(),
        solver: Solver | RootSolver = DenseEigh(),
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

    def filter(self, samples: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
        return tuple(
            zca_whiten(
                samples,
                weight,
                bias,
                groups=self.groups,
                eps=self.eps,
                truncation=self.truncation,
                solver=self.solver,
                gradient=self.gradient,
                check_finite=False,
            )
        )

    def matrix(self, covariance: Tensor) -> Tensor:
        return whitening_matrix(
            covariance,
            eps=self.eps,
            truncation=self.truncation,
            solver=self.solver,
            gradient=self.gradient,
            check_finite=False,
        )
