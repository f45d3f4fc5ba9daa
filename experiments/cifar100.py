"""Error of whitening against batch normalisation by group size, in residual networks (paper 1, Table 3).

On CIFAR-100 with ResNet-18 and ResNet-50, where the files are there; on digits with the small network. The
paper trains SVD-PI; the exact gradient stands beside it.
"""

from functools import partial

import numpy as np

from experiments._data import load
from experiments._harness import Cell, Experiment, Row, Table
from experiments._layers import whitening
from experiments._networks import network
from experiments._options import Data, Network, Options
from experiments._published_errors import CIFAR100
from experiments._training import train

__all__ = ["EXPERIMENT"]

_SIZES = (4, 8, 16, 32, 64)
_METHODS = ("SVD-PI", "exact")


def _run(options: Options, name: Network, method: str, size: int, seed: int, epochs: int) -> list[Row]:
    images = load(options)
    layer = whitening(size)[method]
    build = partial(network, name, images.classes, layer, channels=images.train.shape[1])
    run = train(build, images, seed, epochs, device=options.device)
    failed = -1 if run.failed_in_epoch is None else run.failed_in_epoch
    row: Row = {"network": name.value, "method": method, "size": size, "seed": seed}
    return [{**row, "failed_in_epoch": failed, "error": run.final, "best": run.best}]


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (1 if options.reduced else 6 if options.data is Data.digits else 160)
    seeds = options.seeds or (1 if options.reduced else 3)
    whitened = [(m, size) for m in _METHODS for size in (_SIZES[-1:] if options.reduced else _SIZES)]
    return [
        Cell(
            f"{name} {method} d={size} seed={seed}",
            partial(_run, options, name, method, size, seed, epochs),
        )
        for name in options.networks
        # Batch normalisation is groups of one channel each.
        for method, size in (("BatchNorm", 1), *whitened)
        for seed in range(seeds)
    ]


def _tables(rows: list[Row]) -> list[Table]:
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = []
    for method, size in dict.fromkeys((row["method"], row["size"]) for row in rows):
        runs = [
            [row for row in rows if (row["network"], row["method"], row["size"]) == (name, method, size)]
            for name in networks
        ]
        # The paper has no exact gradient.
        published = ("" if method == "exact" else errors[size] for errors in CIFAR100.values())
        layer = method if size == 1 else f"{method}, d = {size}"
        lines.append((layer, *map(_summary, runs), *published))
    return [
        Table(
            "Test error behind the first convolution (per cent; mean and deviation of runs that finished)",
            ("layer", *networks, *(f"published: CIFAR-100, {name}" for name in CIFAR100)),
            lines,
        )
    ]


def _summary(runs: list[Row]) -> str:
    errors = [row["error"] for row in runs if row["failed_in_epoch"] < 0]
    error = f"{np.mean(errors):.2f} +- {np.std(errors):.2f}, " if errors else ""
    return f"{error}{len(errors)} of {len(runs)} finished"


EXPERIMENT = Experiment(
    "whitening against batch normalisation by group size (paper 1, Table 3)", _cells, _tables
)
