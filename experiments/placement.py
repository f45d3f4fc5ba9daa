"""Where whitening and denoising stand: in one layer, or in each layer of a block; and by which gradient.

What the authors of paper 1 compare on CIFAR in a draft of it (see `experiments._published_errors`), here on
digits. Denoising keeps 95 per cent of the energy, as there.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from experiments._data import load
from experiments._figures import COLORS
from experiments._harness import Cell, Experiment, Row, Table
from experiments._layers import STEPS, AnalyticDenoising, PowerIterationDenoising, denoising
from experiments._networks import Layer, network
from experiments._options import Options
from experiments._published_errors import METHODS, PLACEMENT
from experiments._training import train
from specgrad import EnergyRatio
from specgrad_torch.nn import ZCAWhitening

__all__ = ["EXPERIMENT"]

_ENERGY = 0.95
_LAYERS: dict[str, Layer] = {
    "BatchNorm": nn.BatchNorm2d,
    "ZCA, d = 16": lambda channels: ZCAWhitening(channels, groups=channels // 16),
    "PCA, exact": denoising(EnergyRatio(_ENERGY)),
    "PCA, SVD": partial(AnalyticDenoising, energy=_ENERGY),
    "PCA, PI": partial(PowerIterationDenoising, energy=_ENERGY),
    "PCA, SVD-PI": denoising(EnergyRatio(_ENERGY), STEPS),
}
_PLACES = ("one layer", "block")
# Beside ours, as far as they are printed: of "PCA" and "ZCA", which are SVD-PI, and in one layer by gradient.
_PUBLISHED = {
    "BatchNorm": (METHODS["BatchNorm"], METHODS["BatchNorm"]),
    "ZCA, d = 16": PLACEMENT["ZCA"],
    "PCA, SVD": (METHODS["SVD"], ""),
    "PCA, PI": (METHODS["PI"], ""),
    "PCA, SVD-PI": PLACEMENT["PCA"],
}


def _run(options: Options, name: str, place: str, seed: int, epochs: int) -> list[Row]:
    images, chosen = load(options), options.networks[0]
    second = _LAYERS[name] if place == "block" else nn.BatchNorm2d
    build = partial(network, chosen, images.classes, _LAYERS[name], second, channels=images.train.shape[1])
    run = train(build, images, seed, epochs, device=options.device)
    failed = int(run.failed_in_epoch is not None)
    row: Row = {"network": chosen.value, "layer": name, "place": place, "seed": seed}
    return [{**row, "failed": failed, "error": run.final}]


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (1 if options.reduced else 6)
    seeds = options.seeds or (1 if options.reduced else 3)
    names = ("BatchNorm", "PCA, SVD-PI") if options.reduced else tuple(_LAYERS)
    return [
        Cell(f"{name} {place} seed={seed}", partial(_run, options, name, place, seed, epochs))
        for name in names
        for place in _PLACES
        for seed in range(seeds)
    ]


def _errors(rows: list[Row], name: str, place: str) -> list[float]:
    return [
        row["error"] for row in rows if (row["layer"], row["place"]) == (name, place) and not row["failed"]
    ]


def _tables(rows: list[Row]) -> list[Table]:
    lines = []
    for name in dict.fromkeys(row["layer"] for row in rows):
        count = sum(row["layer"] == name and row["place"] == _PLACES[0] for row in rows)
        errors = [_errors(rows, name, place) for place in _PLACES]
        shown = (
            f"{np.mean(e):.2f} +- {np.std(e):.2f}, {len(e)} of {count} finished"
            if e
            else f"0 of {count} finished"
            for e in errors
        )
        lines.append((name, *shown, *_PUBLISHED.get(name, ("", ""))))
    columns = ("layer", *_PLACES, *(f"published: ResNet-18 on CIFAR-10, {place}" for place in _PLACES))
    title = (
        "Test error (per cent; mean and deviation of runs that finished); PCA at 95 per cent of the energy"
    )
    return [Table(title, columns, lines)]


def _figures(rows: list[Row]) -> dict[str, Figure]:
    names = list(dict.fromkeys(row["layer"] for row in rows))
    figure, axis = plt.subplots(figsize=(4.5, 2.8))
    for k, place in enumerate(_PLACES):
        at, errors = [], []
        for position, name in enumerate(names):
            found = _errors(rows, name, place)
            at += [position + 0.2 * k - 0.1] * len(found)
            errors += found
        axis.plot(at, errors, "os"[k], color=COLORS[k], label=f"{place}, each run", alpha=0.7)
    axis.set_xticks(range(len(names)), [name.replace(", ", "\n") for name in names])
    axis.set(ylabel="test error (per cent)", yscale="log")
    axis.set_yticks((1, 2, 5, 10), ("1", "2", "5", "10"))
    axis.minorticks_off()
    axis.legend()
    return {"": figure}


EXPERIMENT = Experiment(
    "whitening and denoising in one layer or in a block, by gradient", _cells, _tables, _figures
)
