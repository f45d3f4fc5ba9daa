"""The figure of the demo."""

from math import isinf
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from specgrad.cli.comparison import Row
from specgrad.cli.learning import Step

__all__ = ["formats", "save_figure"]

# Okabe and Ito's colours, which colour-blind readers can tell apart; markers differ too.
_COLOURS = ("#0072B2", "#D55E00", "#009E73")
_MARKERS = ("o", "s", "^")


def formats() -> tuple[str, ...]:
    """The kinds of files that a figure can be saved as, such as png."""
    return tuple(FigureCanvasAgg.get_supported_filetypes())


def save_figure(output: Path, comparisons: dict[str, list[Row]], history: list[Step], chosen: int) -> None:
    """Errors of the gap rules, the learned weights, and the course of learning."""
    figure = Figure(figsize=(10, 8), layout="constrained")
    FigureCanvasAgg(figure)
    (errors, weights), (loss, accuracy) = figure.subplots(2, 2)
    _draw_errors(errors, comparisons)
    _draw_weights(weights, history[chosen])
    _draw_loss(loss, history)
    _draw_accuracy(accuracy, history, chosen)
    figure.savefig(output, dpi=150)


def _draw_errors(axes: Axes, comparisons: dict[str, list[Row]]) -> None:
    smallest = float(np.finfo(np.float64).eps) / 100
    finite = [row.error for rows in comparisons.values() for row in rows if not isinf(row.error)]
    not_finite = 1e4 * max(finite)
    for (title, rows), colour, marker in zip(comparisons.items(), _COLOURS, _MARKERS, strict=True):
        positions = np.arange(len(rows))[::-1]
        shown = [not_finite if isinf(row.error) else max(row.error, smallest) for row in rows]
        axes.plot(shown, positions, marker, color=colour, label=title, markersize=7, alpha=0.8, clip_on=False)
        axes.set_yticks(positions, [row.name for row in rows])
    axes.axvline(not_finite, color="0.5", linestyle=":", linewidth=1)
    axes.text(not_finite, len(rows) - 0.4, "not finite", ha="right", va="bottom", color="0.3", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlabel("relative error of the gradient")
    axes.set_title("Gradient of a subspace loss", pad=18)
    axes.grid(axis="x", alpha=0.3)
    axes.legend(loc="upper center", bbox_to_anchor=(0.3, -0.16), fontsize=8, frameon=False)


def _draw_weights(axes: Axes, step: Step) -> None:
    image = axes.imshow(step.weights.reshape(8, 8), cmap="cividis", vmin=0)
    axes.figure.colorbar(image, ax=axes, label="weight")
    axes.set_xlabel("pixel column")
    axes.set_ylabel("pixel row")
    axes.set_title("Learned pixel weights")


def _draw_loss(axes: Axes, history: list[Step]) -> None:
    axes.plot([step.loss for step in history], color=_COLOURS[0])
    axes.set_xlabel("step of gradient descent")
    axes.set_ylabel("cross entropy on training images")
    axes.set_title("Loss")
    axes.grid(alpha=0.3)


def _draw_accuracy(axes: Axes, history: list[Step], chosen: int) -> None:
    axes.plot(
        [100 * step.validation_accuracy for step in history], "--", color=_COLOURS[1], label="validation"
    )
    axes.plot([100 * step.test_accuracy for step in history], color=_COLOURS[0], label="test (held out)")
    axes.axvline(chosen, color="0.5", linestyle=":", linewidth=1, label="best on validation")
    axes.set_xlabel("step of gradient descent")
    axes.set_ylabel("accuracy of the nearest class mean, %")
    axes.set_title("Held-out accuracy")
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right", fontsize=8)
