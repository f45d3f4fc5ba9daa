"""What whitening and denoising layers share: parameters, running statistics, shapes. No derivatives."""

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from specgrad._require import require, require_at_least, require_whole
from specgrad.functions import MatrixFunction
from specgrad.gradients import GradientRule
from specgrad.method import Method
from specgrad.solvers import RootSolver, Solver
from specgrad.truncation import Truncation
from specgrad_torch._bind import TORCH, require_tensor
from specgrad_torch._modes import without_autocast
from specgrad_torch.nn.distributed import is_synchronised, joint_covariance

__all__ = ["CovarianceNormalisation"]


class CovarianceNormalisation(nn.Module):
    """A layer that applies a matrix made of the covariance of its input, by batch or by running statistics.

    A subclass says how: `filter` for samples at hand, `matrix` for a covariance, made by its `function`.

    Parameters
    ----------
    num_features, eps, momentum, affine, track_running_stats, bias
        As in `torch.nn.BatchNorm2d`.
    groups, truncation, solver, gradient
        As in `specgrad.zca_whiten`.
    process_group : torch.distributed.ProcessGroup, optional
        Over which batch statistics are synchronised.
    """

    function: ClassVar[MatrixFunction]
    weight: nn.Parameter | None
    bias: nn.Parameter | None
    running_mean: Tensor  # these three are None where no statistics are tracked
    running_matrix: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self,
        num_features: int,
        eps: float,
        momentum: float | None,
        affine: bool,
        track_running_stats: bool,
        groups: int,
        truncation: Truncation | None,
        solver: Solver | RootSolver,
        gradient: GradientRule | None,
        process_group: Any,
        device: Any,
        dtype: Any,
        bias: bool,
    ) -> None:
        super().__init__()
        self.num_features, self.groups = num_features, groups
        require_whole(1, self, "num_features")
        require_whole(1, self, "groups")
        if num_features % groups:
            raise ValueError(
                f"groups={groups} does not divide num_features={num_features}: groups of equal size are "
                "needed."
            )
        self.eps, self.momentum = eps, momentum
        require_at_least(0, self, "eps")
        if momentum is not None:
            require(self, "momentum", "a number in [0, 1], or None,", lambda number: 0 <= number <= 1)
        self.affine, self.track_running_stats = affine, track_running_stats
        self.truncation, self.solver, self.gradient = truncation, solver, gradient
        self.process_group = process_group
        self.require_choices(solver, gradient)
        for name, is_learnt in (("weight", affine), ("bias", affine and bias)):
            parameter = nn.Parameter(torch.empty(num_features, device=device, dtype=dtype))
            self.register_parameter(name, parameter if is_learnt else None)
        size = num_features // groups
        statistics = {
            "running_mean": torch.empty(num_features, device=device, dtype=dtype),
            "running_matrix": torch.empty(groups, size, size, device=device, dtype=dtype),
            "num_batches_tracked": torch.tensor(0, device=device),
        }
        for name, statistic in statistics.items():
            self.register_buffer(name, statistic if track_running_stats else None)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Forget the batches: mean 0 and matrix I."""
        if self.track_running_stats:
            self.running_mean.zero_()
            matrix = self.running_matrix
            matrix.copy_(torch.eye(matrix.shape[-1], dtype=matrix.dtype, device=matrix.device))
            self.num_batches_tracked.zero_()

    def reset_parameters(self) -> None:
        """Forget the batches, and set weight to 1 and bias to 0."""
        self.reset_running_stats()
        if self.weight is not None:
            nn.init.ones_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine}, "
            f"bias={self.bias is not None}, track_running_stats={self.track_running_stats}, "
            f"groups={self.groups}, truncation={self.truncation}, solver={self.solver}, "
            f"gradient={self.gradient}"
        )

    def require_choices(self, solver: Solver | RootSolver, gradient: GradientRule | None) -> None:
        """Raise if the layer could not work with these."""
        Method(self.function, solver, gradient, self.truncation)

    def filter(self, samples: Tensor, weight: Tensor | None, bias: Tensor | None) -> tuple[Tensor, ...]:
        """The output for samples (C, m), and what the running statistics follow: mean and matrix."""
        raise NotImplementedError

    def matrix(self, covariance: Tensor) -> Tensor:
        """The matrices (groups, d, d) for covariances (groups, d, d)."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        self._check(x)
        if not self.training and self.running_mean is not None:
            mean, matrix = self.running_mean, self.running_matrix
            if x.requires_grad:  # a training batch may move them before the gradient of this one is taken
                mean, matrix = mean.clone(), matrix.clone()
            return self._multiplied(x, mean, matrix)
        if self.training and is_synchronised(self.process_group):
            mean, covariance = joint_covariance(self._samples(x), self.groups, self.process_group)
            matrix = self.matrix(covariance)
            y = self._multiplied(x, mean, matrix)
        else:
            if x.numel() == x.shape[1] or x.numel() == 0:
                raise ValueError(
                    f"{type(self).__name__} has one sample or none for each channel in an input of shape "
                    f"{tuple(x.shape)}, and their covariance needs more: give a larger batch, or call eval()."
                )
            bias: Tensor | None = self.bias
            if self.weight is not None and bias is None:
                bias = torch.zeros_like(self.weight)
            flat, mean, matrix = self.filter(self._samples(x), self.weight, bias)
            y = self._like(flat, x)
        if self.training and self.track_running_stats and self.running_mean is not None:
            self._track(mean.detach(), matrix.detach())
        return y

    def _track(self, mean: Tensor, matrix: Tensor) -> None:
        """Move the running statistics, unless those of this batch are not finite."""
        running = self.running_mean.detach(), self.running_matrix.detach()
        mean, matrix = mean.to(running[0].dtype), matrix.to(running[1].dtype)
        good = _are_finite(mean, matrix)
        if good is False:  # they would stay so for good
            return
        count, step = self.num_batches_tracked.add_(good), self.momentum
        share = count.clamp(min=1).to(mean.dtype).reciprocal() if step is None else step
        for old, new in zip(running, (mean, matrix), strict=True):
            # Not in place by `lerp_`, for which torch.vmap has no rule.
            old.copy_(old.lerp(new if good is True else torch.where(good, new, old), share))

    def _multiplied(self, x: Tensor, mean: Tensor, matrix: Tensor) -> Tensor:
        """``diag(weight) matrix (x - mean) + bias`` by plain products, each sample in its place."""
        groups, size, _ = matrix.shape
        mean, matrix = (t.float() if t.dtype.itemsize < 4 else t for t in (mean, matrix))
        with without_autocast(x):
            centred = x.flatten(2) if x.ndim > 2 else x.unsqueeze(-1)
            centred = centred.to(matrix.dtype) - mean.unsqueeze(-1)
            y = (matrix @ torch.unflatten(centred, 1, (groups, size))).flatten(1, 2)
            if self.weight is not None:
                y = self.weight.unsqueeze(-1) * y
            if self.bias is not None:
                y = y + self.bias.unsqueeze(-1)
        return self._in_format(y.reshape(x.shape), x)

    def _check(self, x: Tensor) -> None:
        require_tensor(x, type(self).__name__)
        if not x.is_floating_point():
            raise TypeError(
                f"{type(self).__name__} was given an input of dtype {x.dtype}, and a real floating dtype is "
                "needed: convert it first, for instance by x.float()."
            )
        if x.ndim < 2 or x.shape[1] != self.num_features:
            raise ValueError(
                f"{type(self).__name__}({self.num_features}) was given an input of shape {tuple(x.shape)}, "
                f"and (N, {self.num_features}, ...) is needed: samples first, then channels."
            )

    def _samples(self, x: Tensor) -> Tensor:
        """(N, C, ...) as (C, m)."""
        return x.movedim(1, 0).flatten(1)

    def _like(self, flat: Tensor, x: Tensor) -> Tensor:
        """(C, m) in the shape of `x`."""
        return self._in_format(torch.unflatten(flat, 1, (x.shape[0], *x.shape[2:])).movedim(0, 1), x)

    def _in_format(self, y: Tensor, x: Tensor) -> Tensor:
        """In the precision of `x`, and with channels last in memory where they are so there."""
        y = y.to(x.dtype)
        # Not by the name of a memory format, which torch.vmap does not know.
        if not x.is_contiguous() and x.movedim(1, -1).is_contiguous():
            return y.movedim(1, -1).contiguous().movedim(-1, 1)
        return y.contiguous()


def _are_finite(*tensors: Tensor) -> bool | Tensor:
    """Whether all entries are finite: a bool where they can be seen, else a tensor; nothing waits."""
    for tensor in tensors:
        seen = TORCH.view(tensor)
        if seen is None:
            return torch.stack([torch.isfinite(tensor).all() for tensor in tensors]).all()
        if not np.isfinite(seen).all():
            return False
    return True
