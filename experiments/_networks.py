"""Networks in which one layer behind a convolution is open: batch normalisation, whitening, denoising."""

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from experiments._options import Network

__all__ = ["Layer", "alexnet", "network", "pooled_network", "resnet", "small_network"]

Layer = Callable[[int], nn.Module]
"""From the number of channels to the layer that normalises or pools them."""

_STAGES = {18: (2, 2, 2, 2), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}


def network(
    name: Network,
    classes: int,
    first: Layer = nn.BatchNorm2d,
    second: Layer = nn.BatchNorm2d,
    channels: int = 3,
) -> nn.Sequential:
    """The network of this name, that ends with an average over positions, ``Flatten`` and a linear layer.

    `first` stands behind the first convolution. `second` stands behind the second convolution of the small
    network and of AlexNet, and in a residual network for every normalisation of the first group of blocks,
    "Block1" in paper 1, those of its shortcuts included.
    """
    build: Callable[..., nn.Sequential] = {
        Network.small: small_network,
        Network.resnet18: partial(resnet, 18),
        Network.resnet50: partial(resnet, 50),
        Network.resnet101: partial(resnet, 101),
        Network.alexnet: alexnet,
    }[name]
    return build(classes, first, second, channels)


def pooled_network(name: Network, classes: int, pooling: Layer, channels: int = 3) -> nn.Sequential:
    """A network with a pooling layer (with ``out_features``) in place of the average over positions.

    Where the small network is asked for, its second convolution has fewer channels and nothing stands between
    the two, so that 8 x 8 images have more positions than channels.
    """
    if name is Network.small:
        features, width = _small_features(channels), 16
    else:
        features, width = network(name, classes, channels=channels)[:-3], _WIDTHS[name]
    pool = pooling(width)
    return nn.Sequential(*features, pool, nn.Flatten(), nn.Linear(pool.out_features, classes))


# Channels in front of the average.
_WIDTHS = {Network.resnet18: 512, Network.resnet50: 2048, Network.resnet101: 2048, Network.alexnet: 256}


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


def _small_features(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 32, 3, padding=1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.Conv2d(32, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
    )


def resnet(
    depth: int,
    classes: int,
    first: Layer = nn.BatchNorm2d,
    second: Layer = nn.BatchNorm2d,
    channels: int = 3,
) -> nn.Sequential:
    """The papers' residual networks for 32 x 32 images, 18, 50 or 101 layers deep.

    A 3 x 3 convolution of stride 1 with the open layer behind it, four stages of strides 1, 2, 2, 2,
    average pooling and one linear layer. `second` is every normalisation of the first stage.
    """
    if depth not in _STAGES:
        raise ValueError(f"There are residual networks of depth {', '.join(map(str, _STAGES))}, not {depth}.")
    expansion = 1 if depth == 18 else 4
    blocks: list[nn.Module] = []
    width = 64
    for stage, count in enumerate(_STAGES[depth]):
        for k in range(count):
            stride = 2 if stage and k == 0 else 1
            norm = nn.BatchNorm2d if stage else second
            blocks.append(_Residual(width, 64 * 2**stage, stride, expansion, norm))
            width = 64 * 2**stage * expansion
    stem = (nn.Conv2d(channels, 64, 3, padding=1, bias=False), first(64), nn.ReLU(inplace=True))
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes))


def alexnet(
    classes: int, first: Layer = nn.BatchNorm2d, second: Layer = nn.BatchNorm2d, channels: int = 3
) -> nn.Sequential:
    """Five convolutions of AlexNet's widths for 32 x 32 images; two have an open layer behind them."""

    def convolution(before: int, after: int, layer: Layer) -> Sequence[nn.Module]:
        return nn.Conv2d(before, after, 3, padding=1, bias=False), layer(after), nn.ReLU(inplace=True)

    return nn.Sequential(
        *convolution(channels, 64, first),
        nn.MaxPool2d(2),
        *convolution(64, 192, second),
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

    def __init__(self, before: int, width: int, stride: int, expansion: int, norm: Layer) -> None:
        super().__init__()
        after = width * expansion
        self.branch = nn.Sequential(*self._branch(before, width, stride, expansion, norm))
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), norm(after))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.branch(x) + self.shortcut(x))

    @staticmethod
    def _branch(before: int, width: int, stride: int, expansion: int, norm: Layer) -> Sequence[nn.Module]:
        relu, last = nn.ReLU(inplace=True), norm(width * expansion)
        if expansion == 1:
            first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
            return first, norm(width), relu, nn.Conv2d(width, width, 3, padding=1, bias=False), last
        return (
            nn.Conv2d(before, width, 1, bias=False),
            norm(width),
            relu,
            nn.Conv2d(width, width, 3, stride, 1, bias=False),
            norm(width),
            relu,
            nn.Conv2d(width, width * expansion, 1, bias=False),
            last,
        )
