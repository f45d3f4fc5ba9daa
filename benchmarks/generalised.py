"""Forward and backward of `generalised_eigh` against the same by a Cholesky factor in torch, one thread."""

import torch
from torch import Tensor

import specgrad_torch
from benchmarks._harness import Row, covariance, interleaved_medians

__all__ = ["generalised_rows"]

_REACHES = {(32, 64, 64): 1.0, (16, 128, 128): 1.0, (512, 512): 1.0, (64, 64): 1.3}


def generalised_rows(seconds: float) -> list[Row]:
    """The ratios of the time table."""
    rows = []
    for shape, reach in _REACHES.items():
        a = covariance(shape)
        b = a.flip(-1, -2).clone()  # of the same kind, and of other eigenvectors
        ratio = _ratio(a.requires_grad_(), b.requires_grad_(), torch.randn(shape), seconds)
        rows.append(
            Row(f"generalised_eigh, {'x'.join(map(str, shape))}", "composed through torch", ratio, reach)
        )
    return rows


def _ratio(a: Tensor, b: Tensor, cotangent: Tensor, seconds: float) -> float:
    medians = interleaved_medians(
        {
            "composed": lambda: torch.autograd.grad(_composed(a, b), (a, b), cotangent),
            "one": lambda: torch.autograd.grad(_one(a, b), (a, b), cotangent),
        },
        seconds,
    )
    return medians["one"] / medians["composed"]


def _one(a: Tensor, b: Tensor) -> Tensor:
    return specgrad_torch.generalised_eigh(a, b).eigenvectors


def _composed(a: Tensor, b: Tensor) -> Tensor:
    """The eigenvectors as one would write it: NaN at ties."""
    lower = torch.linalg.cholesky(b)
    half = torch.linalg.solve_triangular(lower, a, upper=False)
    image = torch.linalg.solve_triangular(lower, half.mT, upper=False)
    vectors = torch.linalg.eigh(0.5 * (image + image.mT)).eigenvectors
    return torch.linalg.solve_triangular(lower.mT, vectors, upper=True)
