"""Relative error of the gradient against the gap, down to a tie, for every rule and PyTorch's own backward.

Of the three losses two have gradients that do not notice the gap between the two leading eigenvalues: that
of the subspace which both span, and an inverse square root. A single eigenvector does notice: its gradient
grows as 1/gap, so rounding of the matrix alone leaves eps/gap, and at a tie it has none.
"""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from experiments._gradients import InverseRoot, Leading
from experiments._harness import Cell, Experiment, Row
from experiments._options import Options
from experiments._sweeps import error_rows, error_tables, sweep_figure
from specgrad.testing import dense, diagonal, gap_spectrum

__all__ = ["EXPERIMENT", "measure"]

_SIZE = 6
_LOSSES: dict[str, Any] = {
    "subspace of the pair": Leading(2),
    "inverse square root": InverseRoot(),
    "single eigenvector": Leading(1),
}


def cells(options: Options) -> Iterator[Cell]:
    exponents = (1, 3, 6, 9) if options.reduced else range(1, 16)
    for dtype in ("float32", "float64"):
        # Below a tenth of eps the stored matrix has no gap.
        gaps = [10.0**-e for e in exponents if 10.0**-e > np.finfo(dtype).eps / 10]
        for gap in (*gaps, 0.0):
            for seed in range(options.seeds or (1 if options.reduced else 5)):
                yield Cell(f"{dtype}, gap {gap:.0e}, seed {seed}", partial(measure, dtype, gap, seed))


def measure(dtype: str, gap: float, seed: int) -> list[Row]:
    """Errors of each rule for each loss, at one matrix; the truth is that of the matrix as stored."""
    # A diagonal matrix keeps a tie a tie; in a full one rounding opens it.
    a = gap_spectrum(gap, dense if gap else diagonal).matrix(_SIZE, dtype, seed=seed)
    rows = []
    for name, loss in _LOSSES.items():
        if gap or name != "single eigenvector":
            rows += error_rows(loss, a, {"loss": name, "dtype": dtype, "gap": gap, "seed": seed})
    return rows


EXPERIMENT = Experiment(
    "gradient error against the gap, for every rule",
    cells,
    partial(
        error_tables, sweep="gap", shown=(1e-1, 1e-3, 1e-6, 1e-9, 1e-12, 1e-15, 0), title="Gradient error"
    ),
    lambda rows: {"": sweep_figure(rows, "gap", "gap", lambda dtype: float(np.finfo(dtype).eps) / 10)},
)
