"""Every primitive as an operation of PyTorch's autograd.

One `torch.autograd.Function` serves all primitives; what it does is in the primitive. Three situations:

eager and `torch.func`
    ``Function.apply``. Backward and forward-mode are plain tensor operations, so derivatives of every
    order and `torch.vmap` follow.
`torch.compile`
    The same through `torch.compiler.allow_in_graph`: Dynamo keeps the call whole and AOTAutograd traces
    the rule of the primitive, not that of the operations inside.
`torch.export`
    An exported program is differentiated operation by operation. So the outputs are computed from
    detached inputs, and the tangent map of the primitive is added, evaluated half way between the
    detached and the live input: its value is zero and its first two derivatives are the primitive's.
"""

from typing import Any

import torch
from torch import Tensor

from specgrad.bind import Primitive

__all__ = ["TorchBinding"]


class TorchBinding:
    """Applies primitives under PyTorch autograd."""

    def apply(self, primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
        if torch.compiler.is_exporting():
            return _exported(primitive, *arrays)
        if torch.compiler.is_compiling():
            return _compiled(primitive, *arrays)
        return _Operation.apply(primitive, *arrays)

    def readable(self, array: Tensor) -> bool:
        return (
            not torch.compiler.is_compiling()
            and type(array) in _PLAIN
            and array.device.type == "cpu"
            and not torch._C._functorch.is_functorch_wrapped_tensor(array)
        )


_PLAIN = (Tensor, torch.nn.Parameter)


class _Operation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
        return primitive.forward(*arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        primitive, *arrays = inputs
        ctx.primitive, ctx.count = primitive, len(arrays)
        ctx.set_materialize_grads(False)
        ctx.mark_non_differentiable(*(x for x in output if not x.is_floating_point() and not x.is_complex()))
        ctx.save_for_backward(*arrays, *output)
        ctx.save_for_forward(*arrays, *output)

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        arrays, outputs = _split(ctx)
        return (None, *ctx.primitive.vjp(TORCH, arrays, outputs, cotangents))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        arrays, outputs = _split(ctx)
        known = tuple(
            torch.zeros_like(array) if tangent is None else tangent
            for array, tangent in zip(arrays, tangents, strict=True)
        )
        return ctx.primitive.jvp(TORCH, arrays, outputs, known)


def _split(ctx: Any) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    saved = ctx.saved_tensors
    return saved[: ctx.count], saved[ctx.count :]


@torch.compiler.allow_in_graph
def _compiled(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
    return _Operation.apply(primitive, *arrays)


def _exported(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
    fixed = tuple(array.detach() for array in arrays)
    steps = tuple(array - start for array, start in zip(arrays, fixed, strict=True))
    outputs = tuple(output.detach() for output in primitive.forward(*fixed))
    half_way = tuple(start + 0.5 * step for start, step in zip(fixed, steps, strict=True))
    tangents = primitive.jvp(TORCH, fixed, outputs, steps)
    middle = _moved(outputs, tangents, 0.5)
    return _moved(outputs, primitive.jvp(TORCH, half_way, middle, steps), 1.0)


def _moved(
    outputs: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...], length: float
) -> tuple[Tensor, ...]:
    return tuple(
        output if tangent is None else output + length * tangent
        for output, tangent in zip(outputs, tangents, strict=True)
    )


TORCH = TorchBinding()
