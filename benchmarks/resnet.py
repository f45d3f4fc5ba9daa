"""One training step of ResNet-18 on images of CIFAR's shape, against batch normalisation there."""

from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from benchmarks._harness import Row, interleaved_medians
from experiments._networks import resnet
from specgrad import PowerIterationGap, ThroughEigenvectors
from specgrad_torch.nn import PCADenoising, ZCAWhitening

__all__ = ["resnet_rows"]

_REACH = 1.10
_GRADIENT = ThroughEigenvectors(PowerIterationGap(2))


def resnet_rows(seconds: float, batches: tuple[int, ...] = (32, 128)) -> list[Row]:
    """The ratios of the time table."""
    layers = {
        "BatchNorm2d": nn.BatchNorm2d,
        "ZCAWhitening": ZCAWhitening,
        "PCADenoising, K = 2": lambda channels: PCADenoising(channels, gradient=_GRADIENT),
    }
    rows = []
    for batch in batches:
        steps = {name: _step(resnet(18, 10, first=layer), batch) for name, layer in layers.items()}
        medians = interleaved_medians(steps, seconds)
        rows += [
            Row(
                f"ResNet-18, batch {batch}, {name}",
                "BatchNorm2d",
                medians[name] / medians["BatchNorm2d"],
                _REACH,
            )
            for name in layers
            if name != "BatchNorm2d"
        ]
    return rows


def _step(network: nn.Module, batch: int) -> Callable[[], None]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, 3, 32, 32, generator=generator)
    labels = torch.randint(0, 10, (batch,), generator=generator)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)

    def step() -> None:
        optimizer.zero_grad()
        functional.cross_entropy(network(x), labels).backward()
        optimizer.step()

    return step
