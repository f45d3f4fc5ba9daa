"""The layers that the training experiments compare, each from the number of channels."""

from functools import partial

import torch
from torch import Tensor, nn

from experiments._networks import Layer
from specgrad import PowerIteration, PowerIterationGap, ThroughEigenvectors
from specgrad.truncation import Truncation
from specgrad_torch.nn import PCADenoising, ZCAWhitening

__all__ = ["STEPS", "ComposedWhitening", "denoising", "whitening"]

_EPS = 1e-4
STEPS = 19


class ComposedWhitening(nn.Module):
    """Whitening as one would write it with torch.linalg.eigh: the analytic SVD, left to fail as it fails.

    The leading eigenvalues of ``C + eps I`` that hold all but 1e-4 of the energy are kept, as in Algorithm 1
    of Wang et al.; the gradient is PyTorch's own.
    """

    def __init__(self, num_features: int, groups: int) -> None:
        super().__init__()
        self.groups, size = groups, num_features // groups
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(groups, size, 1))
        self.register_buffer("running_matrix", torch.eye(size).repeat(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        samples = x.movedim(1, 0).reshape(self.groups, x.shape[1] // self.groups, -1)
        mean, matrix = self.running_mean, self.running_matrix
        if self.training:
            mean = samples.mean(-1, keepdim=True)
            matrix = self._matrix(samples - mean)
            with torch.no_grad():
                self.running_mean.lerp_(mean, 0.1)
                self.running_matrix.lerp_(matrix, 0.1)
        y = (matrix @ (samples - mean)).reshape(x.shape[1], x.shape[0], *x.shape[2:]).movedim(0, 1)
        return y * self.weight[:, None, None] + self.bias[:, None, None]

    def _matrix(self, centred: Tensor) -> Tensor:
        identity = torch.eye(centred.shape[1], device=centred.device)
        covariance = centred @ centred.mT / centred.shape[-1] + _EPS * identity
        values, vectors = torch.linalg.eigh(covariance)
        smaller = values.cumsum(-1) - values
        kept = values.sum(-1, keepdim=True) - smaller - values < (1 - _EPS) * values.sum(-1, keepdim=True)
        # Beyond rounding above eps: what is below has no variance of its own.
        kept = kept & (values > _EPS + values.shape[-1] * 1.2e-7 * values[..., -1:])
        scale = torch.where(kept, values, 1.0).rsqrt() * kept
        return (vectors * scale.unsqueeze(-2)) @ vectors.mT


def whitening(group_size: int) -> dict[str, Layer]:
    """Whitening of groups of this size by each method of the papers, and batch normalisation."""

    def layer(**options: object) -> Layer:
        return lambda channels: ZCAWhitening(channels, groups=channels // group_size, **options)

    return {
        "BatchNorm": nn.BatchNorm2d,
        "SVD": lambda channels: ComposedWhitening(channels, channels // group_size),
        "PI": layer(truncation=None, solver=PowerIteration(STEPS)),
        "SVD-PI": layer(gradient=ThroughEigenvectors(PowerIterationGap(STEPS))),
        "exact": layer(),
    }


def denoising(truncation: Truncation, steps: int | None = None) -> Layer:
    """PCA denoising with the exact gradient, or that of `steps` power iterations."""
    gradient = None if steps is None else ThroughEigenvectors(PowerIterationGap(steps))
    return partial(PCADenoising, truncation=truncation, gradient=gradient)
