"""Tables and figures of gradient errors along a sweep, by rule, one panel for each loss and precision."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments._gradients import EXACT, relative_error
from experiments._harness import Row, Table

__all__ = ["error_rows", "error_tables", "sweep_figure"]

# Rules that differ in nothing visible share a style of line, and all differ in marker.
_STYLES: dict[str, dict[str, Any]] = {
    EXACT: {"color": "#000000", "marker": "o", "linewidth": 2.4},
    "masked (default)": {"color": "#0072B2", "marker": "s"},
    "torch.linalg.eigh": {"color": "#D55E00", "marker": "x", "linestyle": "--"},
    "analytic": {"color": "#E69F00", "marker": "+", "linestyle": "--"},
    "broadened": {"color": "#009E73", "marker": "v"},
    "clipped": {"color": "#56B4E9", "marker": "^", "linestyle": ":"},
    "top-N": {"color": "0.6", "marker": "d", "linestyle": ":"},
    "Taylor": {"color": "#CC79A7", "marker": "<"},
    "Pade": {"color": "#009E73", "marker": "*", "linestyle": ":"},
    "power iteration": {"color": "#CC79A7", "marker": "D", "linestyle": "-."},
    "balanced PI": {"color": "#E69F00", "marker": "p", "linestyle": "-."},
}


def error_rows(function: Any, a: Any, columns: Row) -> list[Row]:
    """The error of each rule's gradient of a loss at a matrix."""
    truth = function.truth(a)
    gradients = function.gradients(a)
    return [columns | {"rule": rule, "error": relative_error(gradients[rule], truth)} for rule in gradients]


def error_tables(rows: list[Row], sweep: str, shown: Sequence[float], title: str) -> list[Table]:
    """The worst of all seeds at some places of the sweep, a table for each loss and precision."""
    tables = []
    for loss, dtype in dict.fromkeys((row["loss"], row["dtype"]) for row in rows):
        own = [row for row in rows if (row["loss"], row["dtype"]) == (loss, dtype)]
        places = [place for place in shown if any(row[sweep] == place for row in own)]
        lines = [
            (rule, *(_worst(own, rule, sweep, place) for place in places))
            for rule in _STYLES
            if any(row["rule"] == rule for row in own)
        ]
        columns = ["rule", *("0" if place == 0 else f"{place:.0e}" for place in places)]
        tables.append(Table(f"{title}: {loss}, {dtype}, by {sweep}", columns, lines))
    return tables


def sweep_figure(rows: list[Row], sweep: str, label: str, floor: Callable[[str], float]) -> Figure:
    """The worst of all seeds against the sweep, 0 at the end, at `floor` of a dtype."""
    losses = list(dict.fromkeys(row["loss"] for row in rows))
    dtypes = list(dict.fromkeys(row["dtype"] for row in rows))
    size = (7.5, 1.2 + 2.4 * len(losses))
    figure, panels = plt.subplots(len(losses), len(dtypes), figsize=size, sharex="col", squeeze=False)
    for line, loss in zip(panels, losses, strict=True):
        for panel, dtype in zip(line, dtypes, strict=True):
            own = [row for row in rows if (row["loss"], row["dtype"]) == (loss, dtype)]
            eps = float(np.finfo(dtype).eps)
            places = sorted({row[sweep] for row in own}, reverse=True)
            for rule, style in _STYLES.items():
                if not any(row["rule"] == rule for row in own):
                    continue
                errors = np.array([_worst(own, rule, sweep, place) for place in places])
                # Infinite and NaN gradients stand on the upper edge, exact ones on the lower.
                errors = np.clip(np.nan_to_num(errors, posinf=1e4), eps / 30, 1e3)
                where = [place or floor(dtype) for place in places]
                panel.loglog(where, errors, label=rule, clip_on=False, markersize=3.5, **style)
            panel.axhline(eps, color="0.6", linewidth=0.8, zorder=0, label="eps")
            panel.set_ylim(eps / 30, 1e3)
            panel.set_xlim(max(places) * 1.5, floor(dtype))
            if panel in panels[-1]:
                panel.set_xlabel(f"{label} (0 at the right end)")
            panel.set_title(f"{loss}, {dtype}", fontsize="medium", pad=8)
        line[0].set_ylabel("relative error of gradient")
    handles = {h.get_label(): h for panel in panels.flat for h in panel.get_legend_handles_labels()[0]}
    ordered = [handles[name] for name in (*_STYLES, "eps") if name in handles]
    figure.legend(handles=ordered, loc="outside lower center", ncols=4)
    figure.suptitle("upper edge: infinite or NaN", x=0.99, ha="right", fontsize="small", color="0.3")
    return figure


def _worst(rows: list[Row], rule: str, sweep: str, place: float) -> float:
    return float(max([row["error"] for row in rows if row["rule"] == rule and row[sweep] == place]))
