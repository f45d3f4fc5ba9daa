"""Every primitive as an operation of PyTorch's autograd.

One `torch.autograd.Function` serves all primitives; what it does is in the primitive. Three situations:

eager and `torch.func`
    ``Function.apply``. Backward and forward-mode are tensor operations and primitives, so higher
    derivatives and `torch.vmap` follow.
`torch.compile`
    The same through `torch.compiler.allow_in_graph`: Dynamo keeps the call whole and AOTAutograd traces
    the rule of the primitive, not that of the operations inside.
`torch.export`, and forward mode over forward mode
    An exported program is differentiated operation by operation, and PyTorch drops the outer tangent of
    a Function under nested forward mode. So the outputs are computed from detached inputs, and the
    tangent map of the primitive is added, evaluated half way between the detached and the live input:
    its value is zero and its first two derivatives are the primitive's, the second made symmetric.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor

from specgrad._namespace import is_array, is_floating, namespace
from specgrad.bind import Evaluate, Primitive
from specgrad.portable import portable_methods
from specgrad_torch import _views
from specgrad_torch._modes import is_forward_mode, is_nested_forward_mode, records_nothing, without_autocast

__all__ = ["TORCH", "TorchBinding", "require_tensor"]

R = TypeVar("R")
_OTHERWISE = ", or use the function of specgrad"
_BUILT: dict[tuple[Any, ...], Any] = {}
_MOST = 256  # such as for a sweep over tolerances
_DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128)


@dataclass(frozen=True)
class TorchBinding(Evaluate):
    """Applies primitives under PyTorch autograd."""

    def apply(self, primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
        for array in arrays:
            require_tensor(array, "specgrad_torch", _OTHERWISE)
        with without_autocast(*arrays):
            if torch.compiler.is_compiling() and not torch.compiler.is_exporting():
                return _compiled(primitive, *arrays)
            if torch._C._get_tracing_state() is not None:  # its check traces again, without gradients
                return _by_operations(primitive, *arrays)
            if torch.compiler.is_exporting():
                if not torch.is_grad_enabled():
                    return primitive.forward(*arrays)
                return _by_operations(primitive, *arrays)
            if torch._C._functorch.peek_interpreter_stack() is None:
                if records_nothing():
                    return _views.forward(primitive, *arrays)
                return _EagerOperation.apply(primitive, *arrays)
            if is_nested_forward_mode():
                return _by_operations(primitive, *arrays)
            return _Operation.apply(primitive, *arrays)

    def records(self, array: Tensor) -> bool:
        require_tensor(array, "specgrad_torch", _OTHERWISE)
        if torch._C._functorch.peek_interpreter_stack() is not None or torch._C._is_any_autocast_enabled():
            return True
        return not records_nothing() and (array.requires_grad or is_forward_mode())

    def view(self, array: Tensor) -> np.ndarray | None:
        return None if torch.compiler.is_compiling() else _views.VIEWS.view(array)

    def built(self, build: Callable[..., R], *values: object) -> R:
        # To build costs as much as the mathematics of a small matrix.
        if torch.compiler.is_compiling():
            return build(_TRACED, *values)
        key = (build, values)
        try:
            found = _BUILT.get(key)
        except Exception:  # a value of the user's that has no hash
            found = None
        if found is None:
            found = build(_views.VIEWS, *values)
            if portable_methods(*values):  # a user's value may hold arrays, and is let go
                if len(_BUILT) >= _MOST:
                    _BUILT.clear()
                _BUILT[key] = found
        return cast(R, found)


@dataclass(frozen=True)  # which Dynamo takes for a constant
class _Traced(Evaluate):
    """The binding of what is built while a compiler traces, and nothing can be looked at."""

    def view(self, array: Tensor) -> None:
        return None


_TRACED = _Traced()


def require_tensor(x: object, name: str, otherwise: str = "") -> None:
    """Raise unless a function or layer of some name is given a dense tensor."""
    if isinstance(x, torch.fx.Proxy):
        raise TypeError(
            f"{name} was given a torch.fx.Proxy, which has no shape to decide by: make it a leaf of a Tracer "
            "of your own (is_leaf_module for a layer, torch.fx.wrap for a function)."
        )
    if not isinstance(x, Tensor):
        raise TypeError(
            f"{name} was given a {type(x).__module__}.{type(x).__name__}, and a torch.Tensor is needed: "
            f"convert it by torch.as_tensor{otherwise}."
        )
    if x.layout is not torch.strided or x.is_nested:
        kind = "nested tensor" if x.is_nested else f"tensor of layout {x.layout}"
        remedy = "torch.nested.to_padded_tensor" if x.is_nested else "its to_dense()"
        raise TypeError(f"{name} was given a {kind}, and a dense one is needed: convert it by {remedy}.")


def _fill_caches() -> None:
    """Look up what the core keeps for each type of arrays and for each dtype.

    Dynamo cannot trace these look-ups, nor write what it finds beside what is known of other libraries, so
    they are done before anything is compiled.
    """
    for dtype in _DTYPES:
        tensor = torch.empty(0, dtype=dtype, device="cpu")
        for array in (tensor, torch.nn.Parameter(tensor)):
            namespace(array)
            is_array(array)
            is_floating(array)


_fill_caches()


class _Operation(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
        return primitive.forward(*arrays)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        primitive, *arrays = inputs
        if not is_forward_mode():
            _keep(ctx, primitive, arrays, output)
        else:  # both lists alike: PyTorch's vmap holds the batch dimensions of one for both
            _keep_list(ctx, primitive, len(arrays), [*arrays, *output])
            ctx.save_for_forward(*arrays, *output)  # not kept beyond this call

    @staticmethod
    def backward(ctx: Any, *cotangents: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        arrays, outputs = saved[: ctx.count], saved[ctx.count :]
        with without_autocast(*saved):
            return (None, *_views.vjp(ctx.primitive, TORCH, arrays, outputs, cotangents))

    @staticmethod
    def jvp(ctx: Any, _: None, *tangents: Tensor | None) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        arrays, outputs = saved[: ctx.count], saved[ctx.count :]
        given = tuple(
            torch.zeros_like(array) if tangent is None else tangent
            for array, tangent in zip(arrays, tangents, strict=True)
        )
        return ctx.primitive.jvp(TORCH, arrays, outputs, given)


class _EagerOperation(_Operation):
    """The same in one step: the separate set-up, which transforms need, costs as much as a small matrix."""

    @staticmethod
    def forward(  # type: ignore[override]
        ctx: Any, primitive: Primitive, *arrays: Tensor
    ) -> tuple[Tensor, ...]:
        # A view among the outputs could not be modified in place, as by an activation behind a layer.
        outputs = tuple(x.detach() if x._is_view() else x for x in _views.forward(primitive, *arrays))
        _keep(ctx, primitive, arrays, outputs)
        if torch.autograd.forward_ad._current_level >= 0:
            ctx.save_for_forward(*arrays, *outputs)
        return outputs

    setup_context = torch.autograd.Function.setup_context


@torch.compiler.allow_in_graph
def _compiled(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
    return _Operation.apply(primitive, *arrays)


def _by_operations(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
    fixed = tuple(array.detach() for array in arrays)
    steps = tuple(array - start for array, start in zip(arrays, fixed, strict=True))
    outputs = tuple(output.detach() for output in primitive.forward(*fixed))
    half_way = tuple(start + 0.5 * step for start, step in zip(fixed, steps, strict=True))
    middle = _moved(outputs, primitive.jvp(_TRACED, fixed, outputs, steps), 0.5)
    return _moved(outputs, primitive.jvp(_FirstOrder(), half_way, middle, steps), 1.0)


class _FirstOrder(_Traced):
    """Applies a derivative that is a primitive, linear in its last array, to first order in the others."""

    def apply(self, primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
        *given, direction = arrays
        fixed = tuple(array.detach() for array in given)
        steps = tuple(array - start for array, start in zip(given, fixed, strict=True))
        outputs = primitive.forward(*fixed, direction)
        along = (*steps, torch.zeros_like(direction))
        return _moved(outputs, primitive.jvp(_TRACED, (*fixed, direction), outputs, along), 1.0)


def _keep(ctx: Any, primitive: Primitive, arrays: Sequence[Tensor], outputs: Sequence[Tensor]) -> None:
    """Save inputs and outputs for backward, None in place of those that no derivative reads."""
    kept: list[Tensor | None] = [*arrays, *outputs]
    for position in getattr(primitive, "unread_inputs", ()):
        kept[position] = None
    for position in getattr(primitive, "unread_outputs", ()):
        kept[len(arrays) + position] = None
    _keep_list(ctx, primitive, len(arrays), kept)


def _keep_list(ctx: Any, primitive: Primitive, count: int, kept: Sequence[Tensor | None]) -> None:
    """Save `count` inputs and the outputs behind them."""
    ctx.primitive, ctx.count = primitive, count
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(*kept)


def _moved(
    outputs: tuple[Tensor, ...], tangents: tuple[Tensor | None, ...], length: float
) -> tuple[Tensor, ...]:
    # An infinite derivative times a step of zero is no number, and must not reach the value. It still reaches
    # the gradient, as the gradient of what is not selected is 0 times infinity.
    return tuple(
        output if tangent is None else torch.where(torch.isfinite(tangent), output + length * tangent, output)
        for output, tangent in zip(outputs, tangents, strict=True)
    )


TORCH = TorchBinding()
