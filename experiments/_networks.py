"""Networks in which one layer behind a convolution is open: batch normalisation, whitening, denoising."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Layer", "alexnet", "pooled_network", "resnet", "small_network"]

Layer = Callable[[int], nn.Module]
"""From the number of channels to the layer that normalises them."""

_STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def small_network(
    classes: int,
    first: Layer = nn.BatchNorm2d,
    second: Layer = nn.BatchNorm2d,
    channels: int = 1,
    width: int = 64,
) -> nn.Sequential:
    """Two convolutions for 8 x 8 images.

    Behind the first, `width` channels read patches of 3 x 3 pixels, so their covariance has rank
    ``9 channels`` at most; behind the second it is full.
    """
    return nn.Sequential(
        nn.Conv2d(channels, width, 3, padding=1, bias=False),
        first(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(width, width, 3, padding=1, bias=False),
        second(width),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(4 * width, classes),
    )


def pooled_network(classes: int, pooling: nn.Module, channels: int = 1, width: int = 16) -> nn.Sequential:
    """Two convolutions, and a pooling layer (with ``out_features``) over what positions are left."""
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, width, 3, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        pooling,
        nn.Flatten(),
        nn.Linear(pooling.out_features, classes),
    )


def resnet(depth: int, classes: int, first: Layer = nn.BatchNorm2d, channels: int = 3) -> nn.Sequential:
    """The papers' residual networks for 32 x 32 images, 18, 50 or 101 layers deep.

    A 3 x 3 convolution of stride 1 with the open layer behind it, four stages of strides 1, 2, 2, 2,
    average pooling and one linear layer.
    """
    if depth not in _STAGES:
        raise ValueError(f"There are residual networks of depth {', '.join(map(str, _STAGES))}, not {depth}.")
    expansion = 1 if depth == 18 else 4
    blocks: list[nn.Module] = []
    width = 64
    for stage, count in enumerate(_STAGES[depth]):
        for k in range(count):
            stride = 2 if stage and k == 0 else 1
            blocks.append(_Residual(width, 64 * 2**stage, stride, expansion))
            width = 64 * 2**stage * expansion
    stem = (nn.Conv2d(channels, 64, 3, padding=1, bias=False), first(64), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def alexnet(classes: int, first: Layer = nn.BatchNorm2d, channels: int = 3) -> nn.Sequential:
    """Five convolutions of AlexNet's widths for 32 x 32 images."""

    def convolution(before: int, after: int, layer: Layer) -> Sequence[nn.Module]:
        return nn.Conv2d(before, after, 3, padding=1, bias=False), layer(after), nn.ReLU(inplace=True)

    return nn.Sequential(
        *convolution(channels, 64, first),
        nn.MaxPool2d(2),
        *convolution(64, 192, nn.BatchNorm2d),
        nn.MaxPool2d(2),
        *convolution(192, 384, nn.BatchNorm2d),
        *convolution(384, 256, nn.BatchNorm2d),
        *convolution(256, 256, nn.BatchNorm2d),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Linear(1024, classes),
    )


class _Residual(nn.Module):
    """Two 3 x 3 convolutions, or a bottleneck of three, beside a shortcut."""

    def __init__(self, before: int, width: int, stride: int, expansion: int) -> None:
        super().__init__()
        after = width * expansion
        self.branch = nn.Sequential(*self._branch(before, width, stride, expansion))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.branch(x) + self.shortcut(x))

    @staticmethod
    def _branch(before: int, width: int, stride: int, expansion: int) -> Sequence[nn.Module]:
        relu, norm = nn.ReLU(inplace=True), nn.BatchNorm2d(width)
        last = nn.BatchNorm2d(width * expansion)
        if expansion == 1:
            first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
            return first, norm, relu, nn.Conv2d(width, width, 3, padding=1, bias=False), last
        return (
            nn.Conv2d(before, width, 1, bias=False),
            norm,
            relu,
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            nn.BatchNorm2d(width),
            relu,
            nn.Conv2d(width, width * expansion, 1, bias=False),
            last,
        )
