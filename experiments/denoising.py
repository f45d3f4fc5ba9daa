"""PCA denoising: how much to keep, and how many steps its gradient needs (paper 1, Table 4 and Figure 3)."""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import nn

from experiments._data import load
from experiments._figures import COLORS
from experiments._harness import Cell, Experiment, Options, Row, Table
from experiments._layers import STEPS, denoising
from experiments._networks import Layer, small_network
from experiments._training import train
from specgrad import EnergyRatio, MaxRank

__all__ = ["EXPERIMENT"]

_SWEEPS: dict[str, dict[float, Layer]] = {
    "energy kept (per cent)": {
        percent: denoising(EnergyRatio(percent / 100)) for percent in (85, 90, 95, 99, 99.5, 100)
    },
    "rank kept": {rank: denoising(MaxRank(rank)) for rank in (2, 4, 8, 16, 32)},
    "steps K at 95 per cent": {steps: denoising(EnergyRatio(0.95), steps) for steps in (1, 4, 9, STEPS, 29)},
    "BatchNorm": {0: nn.BatchNorm2d},
}


def _run(options: Options, sweep: str, value: float, seed: int, epochs: int) -> list[Row]:
    images = load(options)
    build = partial(
        small_network, images.classes, first=_SWEEPS[sweep][value], channels=images.train.shape[1]
    )
    row: Row = {"sweep": sweep, "value": value, "seed": seed}
    run = train(build, images, seed, epochs, device=options.device)
    failed = -1 if run.failed_in_epoch is None else run.failed_in_epoch
    return [{**row, "failed_in_epoch": failed, "error": run.final, "best": run.best}]


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (1 if options.reduced else 6)
    seeds = options.seeds or (1 if options.reduced else 2)
    return [
        Cell(f"{sweep} {value} seed={seed}", partial(_run, options, sweep, value, seed, epochs))
        for sweep, layers in _SWEEPS.items()
        for value in (list(layers)[-1:] if options.reduced else layers)
        for seed in range(seeds)
    ]


def _mean(rows: list[Row], sweep: str, value: float) -> float:
    found = [row["error"] for row in rows if (row["sweep"], row["value"]) == (sweep, value)]
    return float(np.mean(found)) if found else float("nan")


def _tables(rows: list[Row]) -> list[Table]:
    tables = []
    for sweep in _SWEEPS:
        values = sorted({row["value"] for row in rows if row["sweep"] == sweep})
        if values:
            lines = [(value, _mean(rows, sweep, value)) for value in values]
            tables.append(Table(f"PCA denoising behind the first convolution: {sweep}", ("", "error"), lines))
    return tables


def _figures(rows: list[Row]) -> dict[str, Figure]:
    sweeps = [sweep for sweep in _SWEEPS if sweep != "BatchNorm"]
    figure, axes = plt.subplots(1, len(sweeps), figsize=(7.0, 2.5), sharey=True)
    baseline = _mean(rows, "BatchNorm", 0)
    for axis, sweep in zip(axes, sweeps, strict=True):
        values = sorted({row["value"] for row in rows if row["sweep"] == sweep})
        axis.plot(
            values, [_mean(rows, sweep, value) for value in values], "o-", color=COLORS[0], label="denoising"
        )
        axis.axhline(baseline, color=COLORS[1], linestyle="--", label="BatchNorm")
        axis.set(xlabel=sweep)
    axes[0].set_ylabel("test error (per cent)")
    axes[0].legend(fontsize=7)
    return {"": figure}


EXPERIMENT = Experiment(
    "how much PCA denoising keeps, and how many steps its gradient needs (paper 1, Table 4)",
    _cells,
    _tables,
    _figures,
)
