"""Which modes of PyTorch's autodiff and of its precision are on."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["is_forward_mode", "is_nested_forward_mode", "records_nothing", "without_autocast"]

_NOTHING = nullcontext()
_JVP = torch._C._functorch.TransformType.Jvp


def records_nothing() -> bool:
    """Whether neither mode of autodiff is on, as in a backward pass."""
    return not torch.is_grad_enabled() and torch.autograd.forward_ad._current_level < 0


def without_autocast(*arrays: Tensor | None) -> AbstractContextManager[Any]:
    """Products in the precision of their factors, which autocast would lower."""
    if torch._C._is_any_autocast_enabled():
        device = next(array.device for array in arrays if array is not None)
        return torch.autocast(device.type, enabled=False)
    return _NOTHING


@torch.compiler.disable  # what is compiled behind a break in a graph would warn of the look-up
def is_forward_mode() -> bool:
    """Whether forward mode is on, also in what a compiler traces, which enters no level of it."""
    if torch.autograd.forward_ad._current_level >= 0:
        return True
    return any(level.key() == _JVP for level in torch._C._functorch.get_interpreter_stack() or ())


def is_nested_forward_mode() -> bool:
    """Whether two transforms of forward mode are active, as in ``jacfwd(jacfwd(f))``."""
    levels = [level.key() for level in torch._C._functorch.get_interpreter_stack()]
    forward_modes = levels.count(_JVP)
    derivatives = forward_modes + levels.count(torch._C._functorch.TransformType.Grad)
    if forward_modes > 1 and derivatives > 2:
        raise NotImplementedError(
            f"{forward_modes} levels of forward mode are nested in a derivative of order {derivatives}, and "
            "PyTorch supports that around a custom derivative up to order 2: use forward mode once and "
            "reverse mode for the others, such as jacfwd(jacrev(jacrev(f)))."
        )
    return forward_modes > 1
