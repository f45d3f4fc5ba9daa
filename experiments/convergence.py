"""The power-iteration gradient against the analytic one as steps grow, and its published bound."""

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments._figures import COLORS
from experiments._harness import Cell, Experiment, Row, Table
from experiments._options import Options
from specgrad import BalancedPowerIterationGap, PowerIterationGap, eigh, vjp
from specgrad.testing import ClusterLoss, cluster_gradient, dense

__all__ = ["EXPERIMENT", "measure"]

_RATIOS = (0.2, 0.5, 0.8, 0.9, 0.95, 0.99)
_STEPS = (1, 2, 3, 5, 8, 12, 19, 30, 50, 80, 120, 200, 300, 500, 1000, 2000)
_SIZE = 6
_RULES: dict[str, Any] = {"published": PowerIterationGap, "balanced": BalancedPowerIterationGap}


def cells(options: Options) -> Iterator[Cell]:
    for ratio in _RATIOS[1::2] if options.reduced else _RATIOS:
        for seed in range(options.seeds or (1 if options.reduced else 3)):
            yield Cell(f"ratio {ratio:g}, seed {seed}", partial(measure, ratio, seed))


def measure(ratio: float, seed: int) -> list[Row]:
    """Errors of the gradient for the leading eigenvector, and norms of that for all, by number of steps.

    The spectrum is geometric, so that `ratio` is the one of all neighbours; the truth has 50 digits.
    """
    a = dense(ratio ** np.arange(_SIZE), np.float64, np.random.default_rng(seed))
    leading = ClusterLoss(clusters=((_SIZE - 1,),), seed=seed)
    every = ClusterLoss(clusters=tuple((i,) for i in range(_SIZE)), seed=seed)
    truth = cluster_gradient(a, leading)
    smallest = float(np.linalg.eigvalsh(a)[0])
    rows = []
    for name, rule in _RULES.items():
        for steps in _STEPS:
            gradient, _ = _gradient(a, leading, rule(steps))
            error = float(np.linalg.norm(gradient - truth) / np.linalg.norm(truth))
            of_all, cotangent = _gradient(a, every, rule(steps))
            size = float(np.linalg.norm(of_all) / np.linalg.norm(cotangent))
            row = {"rule": name, "ratio": ratio, "seed": seed, "steps": steps, "error": error}
            rows.append(row | {"size": size, "bound": _SIZE * steps / smallest, "tighter": steps / smallest})
    return rows


def _gradient(a: Any, loss: ClusterLoss, rule: Any) -> tuple[Any, Any]:
    """The gradient of a loss in the matrix, and in its eigenvectors."""
    output, pullback = vjp(eigh, a, gap=rule)
    cotangents = loss.cotangents(output)
    return pullback(cotangents)[0], cotangents.eigenvectors


def tables(rows: list[Row]) -> list[Table]:
    published = [row for row in rows if row["rule"] == "published"]
    lines = []
    for ratio in sorted({row["ratio"] for row in published}):
        own = [row for row in published if row["ratio"] == ratio]
        at = {steps: np.median([row["error"] for row in own if row["steps"] == steps]) for steps in _STEPS}
        rates = [
            (at[later] / at[sooner]) ** (1 / (later - sooner))
            for sooner, later in pairwise(_STEPS)
            if at[later] > 1e-11 and sooner >= 2
        ]
        rate = float(rates[-1]) if rates else ratio
        largest = max(row["size"] / row["bound"] for row in own)
        tighter = max(row["size"] / row["tighter"] for row in own)
        lines.append((ratio, *(float(at[k]) for k in (1, 5, 19, 50, 200, 2000)), rate, largest, tighter))
    columns = [
        "ratio q",
        *(f"error, K = {k}" for k in (1, 5, 19, 50, 200, 2000)),
        "rate per step (theory: q)",
    ]
    return [
        Table(
            "Power-iteration gradient of the leading eigenvector against the analytic one, and its bound",
            [*columns, "largest size over n K / l_min (published: at most 1)", "over K / l_min"],
            lines,
        )
    ]


def draw(rows: list[Row]) -> dict[str, Figure]:
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.4))
    ratios = sorted({row["ratio"] for row in rows})
    for ratio, color in zip(ratios, COLORS, strict=False):
        own = [row for row in rows if (row["rule"], row["ratio"]) == ("published", ratio)]
        steps = sorted({row["steps"] for row in own})
        errors = [np.median([row["error"] for row in own if row["steps"] == k]) for k in steps]
        sizes = [max(row["size"] / row["bound"] for row in own if row["steps"] == k) for k in steps]
        panels[0].loglog(steps, errors, "o-", color=color, label=f"q = {ratio:g}")
        finer = np.geomspace(1, steps[-1], 200)
        panels[0].loglog(finer, errors[2] * ratio ** (finer - steps[2]), ":", color=color, linewidth=0.9)
        panels[1].loglog(steps, sizes, "o-", color=color)
    panels[0].plot([], [], ":", color="0.4", label="slope q^K")
    panels[0].set_ylim(1e-17, 20)
    panels[0].set_ylabel("relative error of the gradient")
    panels[1].axhline(1, color="0.4", linewidth=0.9, linestyle="--")
    panels[1].annotate("bound n K / smallest eigenvalue", (1.1, 0.65), va="top", color="0.3")
    panels[1].set_ylabel("norm of gradient over its bound")
    for panel in panels:
        panel.set_xlabel("power iterations K")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return {"": figure}


EXPERIMENT = Experiment(
    "power-iteration gradient against the analytic one (Wang et al. 2019, sections 3.1 and 3.2)",
    cells,
    tables,
    draw,
)
