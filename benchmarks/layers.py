"""Forward and backward of `ZCAWhitening` against a plain whitening composed in torch, one thread."""

import torch
from torch import Tensor, nn

from benchmarks._harness import Row, interleaved_medians
from specgrad_torch.nn import ZCAWhitening

__all__ = ["Composed", "layer_rows"]


def layer_rows(seconds: float) -> list[Row]:
    """The ratios of the time table."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(32, 64, 8, 8, generator=generator).requires_grad_()
    cotangent = torch.randn(x.shape, generator=generator)
    rows = []
    for groups in (1, 4, 16):
        medians = interleaved_medians(
            {
                name: lambda layer=layer: torch.autograd.grad(layer(x), [x, *layer.parameters()], cotangent)
                for name, layer in (
                    ("composed", Composed(64, groups)),
                    ("layer", ZCAWhitening(64, groups=groups)),
                )
            },
            seconds,
        )
        work = f"ZCAWhitening(64, groups={groups}), 32x64x8x8"
        rows.append(Row(work, "composed through torch", medians["layer"] / medians["composed"], 0.95))
    return rows


class Composed(nn.Module):
    """Whitening by eigenvectors as one would write it: no truncation, and NaN at ties."""

    def __init__(self, num_features: int, groups: int) -> None:
        super().__init__()
        self.groups, size = groups, num_features // groups
        self.weight, self.bias = (
            nn.Parameter(torch.ones(num_features)),
            nn.Parameter(torch.zeros(num_features)),
        )
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_matrix", torch.eye(size).repeat(groups, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        samples = x.transpose(0, 1).reshape(self.groups, x.shape[1] // self.groups, -1)
        mean = samples.mean(-1, keepdim=True)
        centred = samples - mean
        covariance = centred @ centred.mT / samples.shape[-1] + 1e-4 * torch.eye(
            samples.shape[1], device=x.device
        )
        values, vectors = torch.linalg.eigh(covariance)
        matrix = (vectors * values.rsqrt().unsqueeze(-2)) @ vectors.mT
        with torch.no_grad():
            self.running_mean.lerp_(mean.flatten(), 0.1)
            self.running_matrix.lerp_(matrix, 0.1)
        y = (matrix @ centred).reshape(x.shape[1], x.shape[0], *x.shape[2:]).transpose(0, 1)
        return y * self.weight[:, None, None] + self.bias[:, None, None]
