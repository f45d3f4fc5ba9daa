"""Errors of the rules for ``1/(1 - q)``, at the ratios of the published table and between them."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import matplotlib.pyplot as plt
import mpmath
import numpy as np
from matplotlib.figure import Figure

from experiments._harness import Cell, Experiment, Row, Table
from experiments._options import Options
from experiments._published import DIGITS, pade_coefficients, taylor_coefficients
from specgrad import BalancedPowerIterationGap, BroadenedGap, PadeGap, PowerIterationGap, TaylorGap

__all__ = ["EXPERIMENT", "RATIOS", "measure", "recipe"]

RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99, 0.999)

RULES: dict[str, Any] = {
    "Taylor, degree 100": TaylorGap(100),
    "Pade [50/50]": PadeGap(),
    "power iteration, K = 19": PowerIterationGap(19),
    "balanced power iteration, K = 19": BalancedPowerIterationGap(19),
    "broadened": BroadenedGap(),
}
_LINES = ("-", "--", "-.", ":", "-")


def cells(options: Options) -> Iterator[Cell]:
    between = 5 if options.reduced else 40
    ratios = sorted({*RATIOS, *(1 - np.geomspace(1e-3, 0.9, between)).tolist()})
    for dtype in ("float32", "float64"):
        yield Cell(dtype, partial(measure, dtype, ratios))
    yield Cell("published recipe", recipe)


def measure(dtype: str, ratios: list[float]) -> list[Row]:
    """Absolute errors of each rule against ``1/(1 - q)`` with 50 digits, for `q` as stored."""
    rows = []
    for ratio in ratios:
        values = np.array([ratio, 1.0], dtype=dtype)
        with mpmath.workdps(50):
            truth = 1 / (1 - mpmath.mpf(float(values[0])))
            for name, rule in RULES.items():
                approximation = mpmath.mpf(float(rule.matrix(values)[0, 1]))
                error = float(abs(approximation - truth))
                rows.append({"rule": name, "dtype": dtype, "ratio": ratio, "error": error})
    return rows


def recipe() -> list[Row]:
    """The same of the published recipe, in its 20 digits and in float64."""
    numerator, denominator = pade_coefficients()
    rows = []
    for ratio in RATIOS:
        with mpmath.workdps(DIGITS):
            q = mpmath.mpf(str(ratio))
            decimal = {
                "Taylor, degree 100": mpmath.polyval(taylor_coefficients()[::-1], q),
                "Pade [50/50]": mpmath.polyval(numerator[::-1], q) / mpmath.polyval(denominator[::-1], q),
            }
            for name, value in decimal.items():
                error = float(abs(value - 1 / (1 - q)))
                rows.append({"rule": name, "dtype": "20 digits", "ratio": ratio, "error": error})
        p, r = (np.polyval([float(c) for c in reversed(part)], ratio) for part in (numerator, denominator))
        with mpmath.workdps(50):
            error = float(abs(mpmath.mpf(float(p / r)) - 1 / (1 - mpmath.mpf(ratio))))
        rows.append({"rule": "Pade [50/50]", "dtype": "recipe in float64", "ratio": ratio, "error": error})
    return rows


def tables(rows: list[Row]) -> list[Table]:
    found = {(row["rule"], row["dtype"], row["ratio"]): row["error"] for row in rows}
    lines: list[list[Any]] = [
        ["Taylor, by formula", "q^101/(1 - q)", *(ratio**101 / (1 - ratio) for ratio in RATIOS)],
    ]
    for name in RULES:
        for dtype in ("20 digits", "recipe in float64", "float64", "float32"):
            if (name, dtype, RATIOS[0]) in found:
                lines.append([name, dtype, *(found[name, dtype, ratio] for ratio in RATIOS)])
    columns = ["rule", "computed in", *(f"q = {ratio:g}" for ratio in RATIOS)]
    return [Table("Absolute error of the rule for 1/(1 - q) (Song et al. 2021, Table 3)", columns, lines)]


def draw(rows: list[Row]) -> dict[str, Figure]:
    figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.6), sharey=True)
    for panel, dtype in zip(panels, ("float32", "float64"), strict=True):
        for (name, _), line in zip(RULES.items(), _LINES, strict=True):
            own = [row for row in rows if (row["rule"], row["dtype"]) == (name, dtype)]
            distance = [1 - row["ratio"] for row in own]
            relative = [max(row["error"] * (1 - row["ratio"]), 1e-18) for row in own]
            panel.loglog(distance, relative, line, label=name)
        panel.axhline(float(np.finfo(dtype).eps), color="0.6", linewidth=0.8, label="eps")
        panel.set_title(dtype)
        panel.set_xlabel("relative gap 1 - q")
        panel.set_ylim(1e-18, 10)
    panels[0].invert_xaxis()
    panels[1].invert_xaxis()
    panels[0].set_ylabel("relative error of the rule for 1/(1 - q)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return {"": figure}


EXPERIMENT = Experiment(
    "errors of rational and polynomial rules for 1/(1 - q) (Song et al. 2021, Table 3)", cells, tables, draw
)
