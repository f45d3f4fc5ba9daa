"""Error of whitening against batch normalisation by group size, in residual networks (paper 1, Table 3).

On CIFAR-100 with ResNet-18 and ResNet-50, where the files are there; on digits with the small network.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from torch import nn

from experiments._data import load
from experiments._harness import Cell, Data, Experiment, Options, Row, Table
from experiments._layers import whitening
from experiments._networks import Layer, resnet, small_network
from experiments._training import train

__all__ = ["EXPERIMENT"]

_SIZES = (4, 16, 64)


def _run(options: Options, network: str, size: int, seed: int, epochs: int) -> list[Row]:
    images = load(options)
    layer: Layer = nn.BatchNorm2d if size == 0 else whitening(size)["exact"]
    channels = images.train.shape[1]
    build: Callable[[], nn.Module] = partial(small_network, images.classes, first=layer, channels=channels)
    if network != "small network":
        build = partial(resnet, int(network.split("-")[1]), images.classes, layer, channels)
    run = train(build, images, seed, epochs, device=options.device)
    return [{"network": network, "size": size, "seed": seed, "error": run.final, "best": run.best}]


def _cells(options: Options) -> list[Cell]:
    on_digits = options.data is Data.digits
    epochs = options.epochs or (1 if options.reduced else 6 if on_digits else 160)
    seeds = options.seeds or (1 if options.reduced else 3)
    networks = ("small network",) if on_digits else ("ResNet-18", "ResNet-50")
    return [
        Cell(f"{network} d={size} seed={seed}", partial(_run, options, network, size, seed, epochs))
        for network in networks
        for size in (0, *(_SIZES[-1:] if options.reduced else _SIZES))
        for seed in range(seeds)
    ]


def _tables(rows: list[Row]) -> list[Table]:
    sizes = sorted({row["size"] for row in rows})
    lines = []
    for network in dict.fromkeys(row["network"] for row in rows):
        errors = [
            [row["error"] for row in rows if (row["network"], row["size"]) == (network, size)]
            for size in sizes
        ]
        lines.append((network, *(f"{np.mean(e):.2f} +- {np.std(e):.2f}" for e in errors)))
    columns = ("network", *("BatchNorm" if size == 0 else f"whitening, d = {size}" for size in sizes))
    return [Table("Test error behind the first convolution (per cent; mean and deviation)", columns, lines)]


EXPERIMENT = Experiment(
    "whitening against batch normalisation by group size (paper 1, Table 3)", _cells, _tables
)
