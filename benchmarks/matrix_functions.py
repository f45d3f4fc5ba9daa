"""Forward and backward of `inv_sqrtm` against the same composed through torch.linalg.eigh, one thread."""

import torch
from torch import Tensor

import specgrad_torch
from benchmarks._harness import Row, covariance, interleaved_medians

__all__ = ["matrix_function_rows"]

_REACHES = {(32, 64, 64): 1.0, (16, 128, 128): 1.0, (1024, 1024): 0.95, (16, 16): 1.15, (64, 64): 1.05}


def matrix_function_rows(seconds: float) -> list[Row]:
    """The ratios of the time table."""
    rows = []
    for shape, reach in _REACHES.items():
        ratio = _ratio(covariance(shape).requires_grad_(), torch.randn(shape), seconds)
        rows.append(Row(f"inv_sqrtm, {'x'.join(map(str, shape))}", "composed through torch", ratio, reach))
    return rows


def _ratio(matrix: Tensor, cotangent: Tensor, seconds: float) -> float:
    medians = interleaved_medians(
        {
            "composed": lambda: torch.autograd.grad(_composed(matrix), matrix, cotangent),
            "fused": lambda: torch.autograd.grad(specgrad_torch.inv_sqrtm(matrix), matrix, cotangent),
        },
        seconds,
    )
    return medians["fused"] / medians["composed"]


def _composed(matrix: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    return (vectors * values.rsqrt().unsqueeze(-2)) @ vectors.mT
