"""PCA denoising: how much to keep, how many steps its gradient needs, and by which method.

Sweeps as in paper 1, Table 4 and Figure 3, and at 95 per cent of the energy the comparison with power
iteration, whose steps are differentiated, and batch normalisation (its Table 5 and Figure 4).
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
from experiments._published_errors import ENERGY, METHODS, RANK
from experiments._published_errors import STEPS as BY_STEPS
from experiments._training import train
from specgrad import EnergyRatio, MaxRank

__all__ = ["EXPERIMENT"]

_ENERGY, _RANK, _STEPS = "energy kept (per cent)", "rank kept", "steps K at 95 per cent"
_SWEEPS: dict[str, dict[float, Layer]] = {
    _ENERGY: {percent: denoising(EnergyRatio(percent / 100)) for percent in (85, 90, 95, 99, 99.5, 100)},
    _RANK: {rank: denoising(MaxRank(rank)) for rank in (2, 4, 8, 16, 32)},
    _STEPS: {steps: denoising(EnergyRatio(0.95), steps) for steps in (1, 2, 4, 9, 14, STEPS, 29)},
    "SVD": {0: partial(AnalyticDenoising, energy=0.95)},
    "PI": {STEPS: partial(PowerIterationDenoising, energy=0.95)},
    "BatchNorm": {0: nn.BatchNorm2d},
}
# Where each method stands in the sweeps; all keep 95 per cent.
_METHODS = {
    "exact": (_ENERGY, 95),
    f"SVD-PI (K = {STEPS})": (_STEPS, STEPS),
    "SVD": ("SVD", 0),
    "PI": ("PI", STEPS),
    "BatchNorm": ("BatchNorm", 0),
}
_REDUCED = (*_METHODS.values(), (_RANK, 32))
_COLUMNS = ("runs", "error of these (per cent)", "published: ResNet-18 on CIFAR-10")
_PUBLISHED: dict[str, dict[float, str]] = {_ENERGY: ENERGY, _RANK: RANK, _STEPS: BY_STEPS}


def _run(options: Options, sweep: str, value: float, seed: int, epochs: int) -> list[Row]:
    images, name = load(options), options.networks[0]
    build = partial(network, name, images.classes, _SWEEPS[sweep][value], channels=images.train.shape[1])
    row: Row = {"network": name.value, "sweep": sweep, "value": value, "seed": seed}
    run = train(build, images, seed, epochs, device=options.device)
    failed = -1 if run.failed_in_epoch is None else run.failed_in_epoch
    return [{**row, "failed_in_epoch": failed, "error": run.final, "best": run.best}]


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (1 if options.reduced else 6)
    seeds = options.seeds or (1 if options.reduced else 2)
    return [
        Cell(f"{sweep} {value} seed={seed}", partial(_run, options, sweep, value, seed, epochs))
        for sweep, layers in _SWEEPS.items()
        for value in layers
        if not options.reduced or (sweep, value) in _REDUCED
        for seed in range(seeds)
    ]


def _errors(rows: list[Row], sweep: str, value: float) -> list[float]:
    """Of the runs that finished."""
    return [
        row["error"]
        for row in rows
        if (row["sweep"], row["value"]) == (sweep, value) and row["failed_in_epoch"] < 0
    ]


def _mean(rows: list[Row], sweep: str, value: float) -> float:
    return float(np.mean(_errors(rows, sweep, value) or [np.nan]))


def _line(rows: list[Row], name: object, sweep: str, value: float) -> tuple[object, ...]:
    finished = len(_errors(rows, sweep, value))
    runs = sum((row["sweep"], row["value"]) == (sweep, value) for row in rows)
    return name, f"{finished} of {runs} finished", _mean(rows, sweep, value) if finished else ""


def _values(rows: list[Row], sweep: str) -> list[float]:
    return sorted({row["value"] for row in rows if row["sweep"] == sweep})


def _tables(rows: list[Row]) -> list[Table]:
    place = "PCA denoising behind the first convolution"
    tables = [
        Table(
            f"{place}: {sweep}",
            (sweep, *_COLUMNS),
            [(*_line(rows, value, sweep, value), errors[value]) for value in _values(rows, sweep)],
        )
        for sweep, errors in _PUBLISHED.items()
    ]
    lines = [
        (*_line(rows, method, *where), METHODS.get(method.partition(" (")[0], ""))
        for method, where in _METHODS.items()
    ]
    title = f"{place}: by method, at 95 per cent of the energy"
    return [*tables, Table(title, ("method", *_COLUMNS), lines)]


def _figures(rows: list[Row]) -> dict[str, Figure]:
    figure, axes = plt.subplots(1, 4, figsize=(9.0, 2.6), sharey=True)
    baseline = _mean(rows, *_METHODS["BatchNorm"])
    for axis, sweep in zip(axes, (_ENERGY, _RANK, _STEPS), strict=False):
        values = _values(rows, sweep)
        means = [_mean(rows, sweep, value) for value in values]
        axis.plot(values, means, "o-", color=COLORS[0], label="denoising")
        axis.axhline(baseline, color=COLORS[1], linestyle="--", label="BatchNorm")
        axis.set(xlabel=sweep)
    for k, (method, where) in enumerate(_METHODS.items()):
        errors = _errors(rows, *where)
        color = COLORS[1] if method == "BatchNorm" else COLORS[0]
        axes[3].plot([k] * len(errors), errors, "o", color=color)
        if not errors:
            axes[3].annotate("fails", (k, 0.9), xycoords=("data", "axes fraction"), ha="center", fontsize=7)
    axes[3].set_xticks(
        range(len(_METHODS)),
        [name.replace(" (", "\n(").replace("BatchN", "Batch-\nn") for name in _METHODS],
        fontsize=7,
    )
    axes[3].set(xlabel="at 95 per cent, each run", xlim=(-0.5, len(_METHODS) - 0.5))
    axes[0].set_ylabel("test error (per cent)")
    axes[0].legend(fontsize=7)
    return {"": figure}


EXPERIMENT = Experiment(
    "how much PCA denoising keeps, steps of its gradient, and methods (paper 1, Tables 4 and 5)",
    _cells,
    _tables,
    _figures,
)
