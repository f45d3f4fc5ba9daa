"""Primitives evaluated on NumPy's views of tensors, where that is faster.

On small matrices an operation of PyTorch costs more than the mathematics in it, three times what NumPy's
does. The formulas are the same for both, so nothing is stated twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from specgrad.bind import Binding, Evaluate, PortablePrimitive, Primitive

__all__ = ["OnHost", "as_numpy", "on_host"]

_PLAIN = (Tensor, torch.nn.Parameter)
# From here on PyTorch divides an elementwise operation among its threads.
_DIVIDED = 32768


def on_host(primitive: Primitive) -> Primitive:
    """The primitive, to be evaluated on NumPy's views where it can be."""
    return OnHost(primitive) if hasattr(type(primitive), "portable") else primitive


@dataclass(frozen=True)
class OnHost:
    """The same primitive; all but its solver on NumPy's views of small tensors in host memory.

    Parameters
    ----------
    primitive : PortablePrimitive
    """

    primitive: PortablePrimitive

    @property
    def unread_inputs(self) -> tuple[int, ...]:
        return getattr(self.primitive, "unread_inputs", ())

    def forward(self, a: Tensor) -> tuple[Tensor, ...]:
        if not hasattr(self.primitive, "finish"):
            return self.primitive.forward(a)
        solved = self.primitive.solve(a)
        seen = self._views((a, *solved))
        if seen is None:
            return self.primitive.finish(a, *solved)
        with np.errstate(all="ignore"):
            outputs = self.primitive.finish(*seen)
        given = {id(view): tensor for view, tensor in zip(seen[1:], solved, strict=True)}
        return tuple(given[id(x)] if id(x) in given else _tensor(x) for x in outputs)

    def vjp(
        self,
        binding: Binding,
        arrays: Sequence[Tensor],
        outputs: Sequence[Tensor],
        cotangents: Sequence[Tensor | None],
    ) -> tuple[Tensor | None, ...]:
        seen = self._views((*arrays, *outputs, *cotangents))
        if seen is None:
            return self.primitive.vjp(binding, arrays, outputs, cotangents)
        count, last = len(arrays), len(arrays) + len(outputs)
        with np.errstate(all="ignore"):
            found = self.primitive.vjp(_ON_VIEWS, seen[:count], seen[count:last], seen[last:])
        return tuple(None if x is None else _tensor(x) for x in found)

    def jvp(
        self, binding: Binding, arrays: Sequence[Tensor], outputs: Sequence[Tensor], tangents: Sequence[Tensor]
    ) -> tuple[Tensor | None, ...]:
        return self.primitive.jvp(binding, arrays, outputs, tangents)

    def _views(self, tensors: Sequence[Tensor | None]) -> tuple[Any, ...] | None:
        """Views of all, or None where PyTorch's own operations are needed, or faster."""
        if torch.is_grad_enabled() or torch.autograd.forward_ad._current_level >= 0 or _is_traced():
            return None
        limit = _DIVIDED if torch.get_num_threads() > 1 else float("inf")
        views = []
        for tensor in tensors:
            if tensor is None:
                views.append(None)
            elif _has_values(tensor) and tensor.numel() < limit:
                views.append(tensor.numpy(force=True))
            else:
                return None
        return tuple(views) if self.primitive.portable else None


class _OnViews(Evaluate):
    """The binding of what is evaluated on NumPy's views, all of which can be looked at."""

    def view(self, array: np.ndarray) -> np.ndarray:
        return array


_ON_VIEWS = _OnViews()


def as_numpy(tensor: Tensor) -> np.ndarray | None:
    """A view of a tensor, or None where its values cannot be looked at cheaply."""
    return tensor.numpy(force=True) if not _is_traced() and _has_values(tensor) else None


def _tensor(array: Any) -> Tensor:
    """A tensor that owns its memory: autograd may add to a gradient in place."""
    array = np.asarray(array)  # NumPy's numbers have no memory to share
    return torch.from_numpy(array if array.flags.owndata else array.copy())


def _is_traced() -> bool:
    """Whether operations are recorded rather than run, with stand-ins or on real tensors."""
    if torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:  # the latter of torch.jit
        return True
    watched = torch._C._len_torch_dispatch_stack() or torch._C._len_torch_function_stack()
    return bool(watched) and get_proxy_mode() is not None  # of make_fx and torch.func.linearize


def _has_values(tensor: Tensor) -> bool:
    """Whether a tensor is a plain one in host memory."""
    return (
        type(tensor) in _PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)  # of autograd.grad(is_grads_batched=True)
    )
