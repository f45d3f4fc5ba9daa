"""The layers that the training experiments compare, each from the number of channels."""

from functools import partial

import torch
from torch import Tensor, nn

from experiments._networks import Layer
from specgrad import EnergyRatio, PowerIteration, PowerIterationGap, ThroughEigenvectors
from specgrad.truncation import Truncation
from specgrad_torch.nn import PCADenoising, ZCAWhitening

__all__ = [
    "STEPS",
    "AnalyticDenoising",
    "ComposedWhitening",
    "PowerIterationDenoising",
    "denoising",
    "whitening",
]

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


class _ComposedDenoising(PCADenoising):
    """PCA denoising whose projector PyTorch differentiates."""

    def __init__(self, num_features: int, energy: float) -> None:
        super().__init__(num_features, truncation=EnergyRatio(energy))
        self.energy = energy

    def filter(self, samples: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, ...]:
        mean = samples.mean(-1)
        centred = samples - mean.unsqueeze(-1)
        matrix = self.matrix((centred @ centred.mT / centred.shape[-1]).unsqueeze(0))
        return weight.unsqueeze(-1) * (matrix[0] @ centred) + bias.unsqueeze(-1), mean, matrix

    def matrix(self, covariance: Tensor) -> Tensor:
        scale = (covariance.diagonal(dim1=-2, dim2=-1) + self.eps).rsqrt().unsqueeze(-2)
        return self.projector(scale.mT * covariance * scale) * scale

    def projector(self, covariance: Tensor) -> Tensor:
        """Onto the leading eigenvectors that hold the energy."""
        raise NotImplementedError


class AnalyticDenoising(_ComposedDenoising):
    """PCA denoising by torch.linalg.eigh and its gradient: the paper's SVD, left to fail as it fails."""

    def projector(self, covariance: Tensor) -> Tensor:
        values, vectors = torch.linalg.eigh(covariance)
        smaller = values.cumsum(-1) - values
        kept = smaller + values > (1 - self.energy) * values.sum(-1, keepdim=True)
        return (vectors * kept.unsqueeze(-2)) @ vectors.mT


class PowerIterationDenoising(_ComposedDenoising):
    """PCA denoising by power iteration with deflation: the paper's PI, left to fail as it fails.

    Eigenvectors are found one after the other until they hold the energy, so the solver `PowerIteration`,
    which finds all, is not used; PyTorch differentiates every step.
    """

    def __init__(self, num_features: int, energy: float, steps: int = STEPS) -> None:
        super().__init__(num_features, energy)
        self.steps = steps
        # Drawn from a generator of its own, so that all methods begin with the same weights.
        start = torch.randn(num_features, 1, generator=torch.Generator().manual_seed(0))
        self.register_buffer("start", start)

    def projector(self, covariance: Tensor) -> Tensor:
        rest, left = covariance, (1 - self.energy) * _trace(covariance)
        projector = torch.zeros_like(rest)
        for _ in range(rest.shape[-1]):
            vector = self.start
            for _ in range(self.steps):
                vector = rest @ vector
                vector = vector / vector.norm(dim=-2, keepdim=True)
            projector = projector + vector @ vector.mT
            rest = rest - rest @ vector @ vector.mT
            if _trace(rest) <= left:
                break
        return projector


def _trace(matrix: Tensor) -> float:
    return matrix.detach().diagonal(dim1=-2, dim2=-1).sum().item()


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
