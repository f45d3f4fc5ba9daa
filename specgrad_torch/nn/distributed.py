"""Statistics of a batch that is spread over processes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, distributed, nn

from specgrad_torch._modes import without_autocast

__all__ = ["AllProcesses", "convert_sync_whitening", "is_synchronised", "joint_covariance"]


@dataclass(frozen=True)
class AllProcesses:
    """The processes that there are when a layer runs; copies and pickles, as a process group does not."""


def convert_sync_whitening(module: nn.Module, process_group: Any = None) -> nn.Module:
    """Let every whitening and denoising layer of a network synchronise its statistics over processes.

    What `torch.nn.SyncBatchNorm.convert_sync_batchnorm` does for batch normalisation. The layers are changed
    in place; parameters and running statistics stay.

    Parameters
    ----------
    module : torch.nn.Module
    process_group : torch.distributed.ProcessGroup, optional
        By default all processes.

    Returns
    -------
    torch.nn.Module
        The same module.

    Raises
    ------
    RuntimeError
        If `torch.distributed` has not been initialised.

    Examples
    --------
    >>> from torch import distributed, nn
    >>> from specgrad_torch.nn import ZCAWhitening, convert_sync_whitening
    >>> store = distributed.HashStore()
    >>> distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    >>> network = convert_sync_whitening(nn.Sequential(nn.Conv2d(3, 8, 3), ZCAWhitening(8)))
    >>> network[1].process_group
    AllProcesses()
    >>> distributed.destroy_process_group()
    """
    if not distributed.is_initialized():
        raise RuntimeError(
            "convert_sync_whitening needs the processes that it synchronises: call "
            "torch.distributed.init_process_group first."
        )
    layers: Iterable[Any] = module.modules()
    for layer in layers:
        if hasattr(layer, "process_group") and hasattr(layer, "running_matrix"):
            layer.process_group = process_group or AllProcesses()
    return module


def is_synchronised(process_group: Any) -> bool:
    """Whether there is more than one process to take statistics over."""
    if process_group is None or not distributed.is_initialized():
        return False
    return distributed.get_world_size(_group(process_group)) > 1


def joint_covariance(samples: Tensor, groups: int, process_group: Any) -> tuple[Tensor, Tensor]:
    """The mean (C,) and the covariances (groups, d, d) of the samples (C, m) of all processes.

    Each process has a number ``m`` of its own. Two differentiable sums over processes: of the samples and
    their number, then of the centred samples and their products, as products of raw ones would lose the
    digits of a large mean. The first sum is rounded itself, and what it lost comes with the second.
    """
    group = _group(process_group)
    if samples.dtype.itemsize < 4:
        samples = samples.float()
    with without_autocast(samples):
        count = samples.new_full((1,), float(samples.shape[-1]))
        total = _sum_over(group, torch.cat([samples.sum(-1), count]))
        mean, number = total[:-1] / total[-1], total[-1]
        centred = torch.unflatten(samples - mean.unsqueeze(-1), 0, (groups, samples.shape[0] // groups))
        moments = torch.cat([centred.sum(-1, keepdim=True), centred @ centred.mT], -1)
        moments = _sum_over(group, moments) / number
        rest, covariance = moments[..., :1], moments[..., 1:]
        return mean + rest.flatten(), covariance - rest @ rest.mT


def _group(process_group: Any) -> Any:
    return distributed.group.WORLD if isinstance(process_group, AllProcesses) else process_group


class _Sum(torch.autograd.Function):
    """The sum over a group of processes, its own transpose."""

    # Without a tangent: torch.compile takes no operation that has one.

    @staticmethod
    def forward(group: Any, part: Tensor) -> Tensor:
        total = part.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total, group=group)
        return total

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, Tensor], output: Tensor) -> None:
        ctx.group, _ = inputs

    @staticmethod
    def backward(ctx: Any, cotangent: Tensor) -> tuple[None, Tensor]:
        return None, _sum_over(ctx.group, cotangent)


def _sum_over(group: Any, part: Tensor) -> Tensor:
    total: Tensor = _Sum.apply(group, part)
    return total
