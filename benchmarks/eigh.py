"""Forward and backward of `eigh` against torch.linalg.eigh, one thread, one process."""

from collections.abc import Callable

import torch
from torch import Tensor

import specgrad_torch
from benchmarks._harness import Row, covariance, interleaved_medians
from specgrad import ExactGap, MaskedGap, PowerIteration, PowerIterationGap
from specgrad.gaps import GapRule

__all__ = ["eigh_rows", "memory_rows"]

_BATCHES = ((32, 64), (16, 128), (10, 256))


def eigh_rows(seconds: float) -> list[Row]:
    """The ratios of the time table."""
    rows = []
    for count, size in _BATCHES:
        rows += _against_torch(
            (count, size, size),
            {ExactGap(): 1.05, MaskedGap(): 1.15, PowerIterationGap(19): 1.35},
            seconds,
        )
    rows += _against_torch((64, 64), {MaskedGap(): 1.5}, seconds)
    rows += _against_torch((4, 4), {MaskedGap(): 2.2}, seconds)
    rows.append(_against_unrolled(seconds))
    return rows


def memory_rows() -> list[Row]:
    """Bytes saved for backward, relative to the outputs."""
    matrix = covariance((64, 64)).requires_grad_()
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        saved[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        outputs = specgrad_torch.eigh(matrix)
    allowed = sum(output.nbytes for output in outputs)
    return [Row("eigh saves for backward", "its outputs", sum(saved.values()) / allowed, 1.0)]


def _against_torch(shape: tuple[int, ...], reaches: dict[GapRule, float], seconds: float) -> list[Row]:
    matrix = covariance(shape).requires_grad_()
    cotangent = torch.randn(shape)
    contestants: dict[str, Callable[[], object]] = {
        "torch": lambda: _backward(torch.linalg.eigh(matrix), matrix, cotangent)
    }
    for gap in reaches:
        contestants[repr(gap)] = lambda gap=gap: _backward(
            specgrad_torch.eigh(matrix, gap=gap), matrix, cotangent
        )
    medians = interleaved_medians(contestants, seconds)
    return [
        Row(
            f"eigh, {type(gap).__name__}, {'x'.join(map(str, shape))}",
            "torch.linalg.eigh",
            medians[repr(gap)] / medians["torch"],
            reach,
        )
        for gap, reach in reaches.items()
    ]


def _against_unrolled(seconds: float) -> Row:
    matrix = covariance((64, 64)).requires_grad_()
    cotangent = torch.randn(64, 64)
    medians = interleaved_medians(
        {
            "closed": lambda: _backward(
                specgrad_torch.eigh(matrix, gap=PowerIterationGap(19)), matrix, cotangent
            ),
            "unrolled": lambda: _backward(
                specgrad_torch.eigh(matrix, solver=PowerIteration(19)), matrix, cotangent
            ),
        },
        seconds,
    )
    return Row(
        "eigh, PowerIterationGap(19), 64x64",
        "times faster than unrolled",
        medians["unrolled"] / medians["closed"],
        40.0,
        larger_is_better=True,
    )


def _backward(outputs: tuple[Tensor, Tensor], matrix: Tensor, cotangent: Tensor) -> None:
    torch.autograd.grad(outputs[1], matrix, cotangent)
