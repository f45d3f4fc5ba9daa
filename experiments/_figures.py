"""How figures look: legible at the width of a column, and colours told apart by all readers."""

import matplotlib

__all__ = ["COLORS", "STYLE"]

# Okabe and Ito's.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

STYLE = {
    "axes.prop_cycle": matplotlib.cycler(color=COLORS),
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "font.size": 9,
    "grid.color": "0.92",
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "lines.markersize": 4,
}
