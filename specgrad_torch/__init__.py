"""specgrad under PyTorch autograd: the same functions, on tensors that carry gradients."""

import specgrad
from specgrad_torch._bind import TORCH

__all__ = ["eigh", "eigvalsh"]

eigh = specgrad.eigh.bound(TORCH)
eigvalsh = specgrad.eigvalsh.bound(TORCH)
