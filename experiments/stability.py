"""Which whitening layers train, by group size: successes and errors (paper 1, Table 2 and Figure 2).

The layer stands behind the first convolution, as in the paper, or behind the second. Behind the first, 64
channels read 3 x 3 patches, so the covariance of all 64 has rank 9 (27 on colour images) and the rest of its
spectrum is one cluster; behind the second it has full rank.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments._data import load
from experiments._figures import COLORS
from experiments._harness import Cell, Experiment, Row, Table
from experiments._layers import whitening
from experiments._networks import network
from experiments._options import Options
from experiments._published_errors import WHITENING
from experiments._training import train

__all__ = ["EXPERIMENT"]

_SIZES = (4, 8, 16, 32, 64)
_METHODS = ("BatchNorm", "SVD", "PI", "SVD-PI", "exact")
_PLACES = ("first", "second")


def _run(options: Options, place: str, size: int, method: str, seed: int, epochs: int) -> list[Row]:
    images, name = load(options), options.networks[0]
    layer = whitening(size)[method]
    build = partial(network, name, images.classes, channels=images.train.shape[1], **{place: layer})
    run = train(build, images, seed, epochs, device=options.device)
    failed = -1 if run.failed_in_epoch is None else run.failed_in_epoch
    return [
        {
            "network": name.value,
            "place": place,
            "size": size,
            "method": method,
            "seed": seed,
            "failed_in_epoch": failed,
            "error": run.final,
            "best": run.best,
        }
    ]


def _cells(options: Options) -> list[Cell]:
    epochs = options.epochs or (1 if options.reduced else 4)
    seeds = options.seeds or (1 if options.reduced else 2)
    sizes = (4, 64) if options.reduced else _SIZES
    methods = [method for method in _METHODS if not (options.reduced and method == "PI")]
    return [
        Cell(
            f"{place} d={size} {method} seed={seed}",
            partial(_run, options, place, size, method, seed, epochs),
        )
        for place in (_PLACES[:1] if options.reduced else _PLACES)
        for size in sizes
        for method in methods
        for seed in range(seeds)
    ]


def _tables(rows: list[Row]) -> list[Table]:
    tables = []
    sizes = sorted({row["size"] for row in rows})
    for place in _PLACES:
        here = [row for row in rows if row["place"] == place]
        lines = []
        for method in _METHODS:
            of_method = [[row for row in here if (row["method"], row["size"]) == (method, d)] for d in sizes]
            if any(of_method):
                lines.append((method, *(_summary(group) for group in of_method)))
        if place == "first":
            lines.append(
                ("published pattern: PI", *("fails as d grows" if d == sizes[-1] else "" for d in sizes))
            )
            lines += [
                (f"published, ResNet-18 on CIFAR-10: {method}", *(errors[d] for d in sizes))
                for method, errors in WHITENING.items()
            ]
        if here:
            title = f"Behind the {place} convolution: runs that finished, error of these (per cent)"
            tables.append(Table(title, ("method", *(f"d = {d}" for d in sizes)), lines))
    return tables


def _summary(group: list[Row]) -> str:
    finished = [row["error"] for row in group if row["failed_in_epoch"] < 0]
    error = f", {np.mean(finished):.1f}" if finished else ""
    return f"{len(finished)} of {len(group)}{error}"


def _figures(rows: list[Row]) -> dict[str, Figure]:
    places = [place for place in _PLACES if any(row["place"] == place for row in rows)]
    sizes = sorted({row["size"] for row in rows})
    figure, axes = plt.subplots(1, len(places), figsize=(3.3 * len(places), 2.8), sharey=True, squeeze=False)
    for axis, place in zip(axes[0], places, strict=True):
        for k, method in enumerate(_METHODS):
            points = []
            for d in sizes:
                found = [
                    row["error"]
                    for row in rows
                    if (row["place"], row["method"], row["size"]) == (place, method, d)
                    and row["failed_in_epoch"] < 0
                ]
                points.append(np.mean(found) if found else np.nan)
            marker = "osv^D"[k]
            axis.plot(sizes, points, marker=marker, color=COLORS[k], label=method)
            for d, point in zip(sizes, points, strict=True):
                runs = [
                    row["failed_in_epoch"] < 0
                    for row in rows
                    if (row["place"], row["method"], row["size"]) == (place, method, d)
                ]
                if not all(runs):
                    said = "fails" if np.isnan(point) else f"{sum(runs)} of {len(runs)}"
                    axis.annotate(
                        f"{method}\n{said}",
                        (d, 0.97),
                        xycoords=("data", "axes fraction"),
                        ha="center",
                        va="top",
                        fontsize=7,
                        color=COLORS[k],
                    )
        axis.set(xscale="log", xlabel="group size d", title=f"behind the {place} convolution")
        axis.set_xticks(sizes, [str(d) for d in sizes])
        axis.minorticks_off()
    largest = max((row["error"] for row in rows if row["failed_in_epoch"] < 0), default=1.0)
    axes[0, 0].set(ylabel="test error (per cent)", ylim=(0, 1.3 * largest))
    axes[0, 0].legend(fontsize=7)
    return {"": figure}


EXPERIMENT = Experiment(
    "which whitening layers train, by group size (paper 1, Table 2)", _cells, _tables, _figures
)
