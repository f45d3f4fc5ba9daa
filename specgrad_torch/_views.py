"""Primitives evaluated on NumPy's views of tensors, where that is faster.

On small matrices an operation of PyTorch costs more than the mathematics in it, and more than one of NumPy.
The formulas are the same for both, so nothing is stated twice. Decompositions stay PyTorch's, and parts that
a user wrote for PyTorch are given tensors.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, Evaluate, Primitive
from specgrad.solvers import Solver, solved, without_looking

__all__ = ["VIEWS", "PrimitiveOnViews", "SolverOnTensors", "forward", "vjp"]

S = TypeVar("S")

# Up to how many entries NumPy is faster. In larger products its BLAS starts threads of its own, for which
# those of PyTorch would have to wait; a process that was started on one thread has neither, and there NumPy
# is faster until products outweigh all else.
_ENTRIES = 64 * 64
_ENTRIES_ON_ONE_THREAD = 1_000_000
_STARTED_ON_ONE_THREAD = os.environ.get("OMP_NUM_THREADS") == "1"
_PLAIN = (Tensor, torch.nn.Parameter)
_UNKNOWN_TO_NUMPY = (torch.bfloat16, torch.complex32)
_FAKE = torch._C._TorchDispatchModeKey.FAKE
_CPU = (1, 0)  # of DLPack


def forward(primitive: Primitive, *arrays: Tensor) -> tuple[Tensor, ...]:
    """The outputs of a primitive."""
    seen = _seen("forward", primitive, arrays)
    if seen is None:
        return primitive.forward(*arrays)
    with np.errstate(all="ignore"):
        outputs = primitive.forward(*seen)
    return _tensors(outputs, seen)


def vjp(
    primitive: Primitive,
    binding: Binding,
    arrays: tuple[Tensor | None, ...],
    outputs: tuple[Tensor | None, ...],
    cotangents: tuple[Tensor | None, ...],
) -> tuple[Tensor | None, ...]:
    """Its cotangents."""
    seen = _seen("vjp", primitive, (*arrays, *outputs, *cotangents))
    if seen is None:
        return primitive.vjp(binding, arrays, outputs, cotangents)
    count, last = len(arrays), len(arrays) + len(outputs)
    with np.errstate(all="ignore"):
        found = primitive.vjp(VIEWS, seen[:count], seen[count:last], seen[last:])
    return _tensors(found, seen)


@dataclass(frozen=True)
class PrimitiveOnViews:
    """A primitive that is part of another, evaluated on views even where that is too large for it.

    Parameters
    ----------
    primitive : Primitive
    """

    primitive: Primitive

    @property
    def portable(self) -> tuple[str, ...]:
        return getattr(self.primitive, "portable", ())

    def forward(self, *arrays: Array) -> tuple[Array, ...]:
        if not isinstance(arrays[0], Tensor):  # the whole is evaluated on views
            return self.primitive.forward(*arrays)
        return forward(self.primitive, *arrays)

    def vjp(
        self, binding: Binding, arrays: tuple[Array, ...], *rest: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        if not isinstance(arrays[0], Tensor):
            return self.primitive.vjp(binding, arrays, *rest)
        return vjp(self.primitive, binding, arrays, *rest)

    def jvp(
        self, binding: Binding, arrays: tuple[Array, ...], *rest: tuple[Array, ...]
    ) -> tuple[Array | None, ...]:
        return self.primitive.jvp(binding, arrays, *rest)


@dataclass(frozen=True, repr=False)
class SolverOnTensors:
    """The same solver, which is given tensors whatever the rest is evaluated on.

    Parameters
    ----------
    solver : Solver
    """

    solver: Solver

    def __repr__(self) -> str:
        return repr(self.solver)  # errors name the solver that was given

    def __getattr__(self, name: str) -> Any:
        if name == "solver":  # not there yet, in a copy
            raise AttributeError(name)
        return getattr(self.solver, name)  # whether it has a derivative of its own, say

    def solve(self, a: Array) -> tuple[Array, Array]:
        if isinstance(a, Tensor):
            return self.solver.solve(a)
        writeable = a if a.flags.writeable else a.copy()  # as older NumPy's view of a tensor is not
        values, vectors = solved(self.solver, torch.from_numpy(writeable))
        return values.numpy(force=True), vectors.numpy(force=True)

    def without_looking(self) -> Solver:
        """The same around a solver that looks at no value."""
        return SolverOnTensors(without_looking(self.solver))


class _ViewsBinding(Evaluate):
    """The binding of what is evaluated on NumPy's views, and of what is built while nothing is compiled."""

    def view(self, array: Tensor | np.ndarray) -> np.ndarray | None:
        # As a NumPy array: each operation of PyTorch costs as much as the whole check of a small matrix.
        if isinstance(array, np.ndarray):
            return array
        return None if _is_traced() or not _has_values(array) else _shared(array)

    def adapted(self, solver: S) -> S:
        return cast(S, SolverOnTensors(cast(Solver, solver)))

    def inner(self, primitive: Primitive) -> Primitive:
        return PrimitiveOnViews(primitive)


VIEWS = _ViewsBinding()


def _seen(method: str, primitive: Primitive, tensors: Sequence[Tensor | None]) -> Arrays | None:
    """Views of all, or None where PyTorch's own operations are needed, or faster."""
    if torch.compiler.is_compiling():  # as compiled autograd does a backward pass
        return None
    if torch.is_grad_enabled() or torch.autograd.forward_ad._current_level >= 0:
        return None
    if torch._C._len_torch_dispatch_stack():  # a mode, such as a counter of operations, is to see them
        return None
    if method not in getattr(primitive, "portable", ()) or _is_traced():
        return None
    on_one_thread = _STARTED_ON_ONE_THREAD and torch.get_num_threads() == 1
    limit = _ENTRIES_ON_ONE_THREAD if on_one_thread else _ENTRIES
    for tensor in tensors:
        if tensor is not None and not (_has_values(tensor) and _entries(tensor) <= limit):
            return None
    return tuple(None if tensor is None else _shared(tensor) for tensor in tensors)


def _shared(tensor: Tensor) -> np.ndarray:
    """The tensor's memory as an array."""
    if tensor.is_complex() or tensor.is_neg():
        tensor = tensor.resolve_conj().resolve_neg()
    return np.from_dlpack(_Exchange(tensor))


class _Exchange:
    """A tensor as DLPack passes it on.

    `Tensor.numpy` marks its storage as one that cannot be resized, for good; FSDP resizes that of parameters.
    """

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __dlpack__(self, **_: Any) -> Any:
        # The tensor's own method asks for more than an eager tensor in host memory needs, in twice the time.
        return torch._C._to_dlpack_versioned(self.tensor)

    def __dlpack_device__(self) -> tuple[int, int]:
        return _CPU


def _entries(tensor: Tensor) -> int:
    """How many entries it has, or the covariance of its rows where that is larger."""
    return max(tensor.numel(), tensor.shape[-2] ** 2) if tensor.ndim > 1 else tensor.numel()


def _tensors(arrays: Arrays, given: Arrays) -> Arrays:
    """Tensors that share memory neither with what was given nor among themselves: they may be written to."""
    owners = [id(array) for array in given]
    tensors: list[Tensor | None] = []
    for array in arrays:
        if array is None:
            tensors.append(None)
            continue
        array = np.asarray(array)
        owner = array
        while isinstance(owner.base, np.ndarray):
            owner = owner.base
        if id(owner) in owners or not _is_all_of(array, owner):
            array = owner = array.copy()
        owners.append(id(owner))
        tensors.append(torch.from_numpy(array))
    return tuple(tensors)


def _is_traced() -> bool:
    """Whether operations are recorded or transformed rather than run, with stand-ins or on real tensors."""
    if torch._C._functorch.peek_interpreter_stack() is not None:  # where no tensor can be detached as it is
        return True
    if torch._C._get_tracing_state() is not None:  # of torch.jit
        return True
    if not torch._C._len_torch_dispatch_stack() and not torch._C._len_torch_function_stack():
        return False
    # Of make_fx and torch.func.linearize, or one in which a plain tensor becomes one without values.
    return get_proxy_mode() is not None or torch._C._get_dispatch_mode(_FAKE) is not None


def _is_all_of(array: np.ndarray, owner: np.ndarray) -> bool:
    """Whether an array is all of its owner's memory, which a tensor can take over."""
    is_dense = array is owner or (owner.nbytes == array.nbytes and min(array.strides, default=0) >= 0)
    return is_dense and array.flags.writeable


def _has_values(tensor: Tensor) -> bool:
    """Whether a tensor is a plain one in host memory."""
    return (
        type(tensor) in _PLAIN
        and tensor.is_cpu
        and tensor.layout is torch.strided
        and tensor.dtype not in _UNKNOWN_TO_NUMPY
        and not torch._C._functorch.is_functorch_wrapped_tensor(tensor)
        and not torch._C._functorch.is_legacy_batchedtensor(tensor)  # of autograd.grad(is_grads_batched=True)
    )
