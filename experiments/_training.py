"""Training with seeds that are fixed, and failures that are counted and not patched."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from experiments._data import Images
from specgrad import ConvergenceError

__all__ = ["Run", "train"]

_BATCH = 64


@dataclass
class Run:
    """What came of one training: errors in per cent by epoch, and whether it broke off."""

    errors: list[float] = field(default_factory=list)
    top5: list[float] = field(default_factory=list)
    failed_in_epoch: int | None = None

    @property
    def final(self) -> float:
        """The error after the last epoch, NaN if it broke off."""
        return float("nan") if self.failed_in_epoch is not None else self.errors[-1]

    @property
    def best(self) -> float:
        """The smallest error of all epochs that were finished."""
        return min(self.errors, default=float("nan"))


def train(
    build: Callable[[], nn.Module],
    images: Images,
    seed: int,
    epochs: int,
    rate: float = 0.05,
    milestones: tuple[float, ...] = (0.6, 0.85),
    after_epoch: Callable[[nn.Module, int], None] = lambda network, epoch: None,
    device: str = "cpu",
) -> Run:
    """Train by stochastic gradient descent with momentum; break off at a loss or gradient that is not finite.

    `milestones` are shares of the epochs after which the rate falls to a tenth; `after_epoch` is called with
    the network and the number of finished epochs.
    """
    torch.manual_seed(seed)
    network = build().to(device)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=5e-4)
    steps = sorted({max(1, round(share * epochs)) for share in milestones})
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, steps)
    images = Images(*(tensor.to(device) for tensor in images))
    size = min(_BATCH, len(images.train))
    run = Run()
    for epoch in range(epochs):
        network.train()
        for batch in torch.randperm(len(images.train), device=device).split(size):
            if len(batch) < size:
                continue
            optimizer.zero_grad()
            try:
                loss = functional.cross_entropy(network(images.train[batch]), images.train_labels[batch])
                loss.backward()
            except (torch.linalg.LinAlgError, ConvergenceError):  # a failure of the method
                run.failed_in_epoch = epoch
                return run
            if not _finite(loss, network):
                run.failed_in_epoch = epoch
                return run
            optimizer.step()
        scheduler.step()
        try:
            error, top5 = _test_errors(network, images)
        except (torch.linalg.LinAlgError, ConvergenceError):
            error = top5 = float("nan")
        if error != error:
            run.failed_in_epoch = epoch
            return run
        run.errors.append(error)
        run.top5.append(top5)
        after_epoch(network, epoch + 1)
    return run


def _finite(loss: Tensor, network: nn.Module) -> bool:
    gradients = (parameter.grad for parameter in network.parameters() if parameter.grad is not None)
    return bool(torch.isfinite(loss)) and all(bool(torch.isfinite(g).all()) for g in gradients)


@torch.no_grad()
def _test_errors(network: nn.Module, images: Images) -> tuple[float, float]:
    """Shares of test images, in per cent, whose label is not the first guess, and not among five.

    NaN, both, if a score is not finite.
    """
    network.eval()
    scores = torch.cat([network(part) for part in images.test.split(256)])
    if not torch.isfinite(scores).all():
        return float("nan"), float("nan")
    order = scores.topk(min(5, scores.shape[-1]), dim=-1).indices
    hits = order == images.test_labels.unsqueeze(-1)
    return (
        100.0 * (1.0 - hits[:, 0].float().mean().item()),
        100.0 * (1.0 - hits.any(-1).float().mean().item()),
    )
