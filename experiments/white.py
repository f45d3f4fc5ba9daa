"""Gradient error as the input approaches white, all eigenvalues equal, where whitening drives it."""

from collections.abc import Iterator
from functools import partial

import numpy as np

from experiments._gradients import InverseRoot
from experiments._harness import Cell, Experiment, Row
from experiments._options import Options
from experiments._sweeps import error_rows, error_tables, sweep_figure

__all__ = ["EXPERIMENT", "measure"]

_SIZE = 8


def cells(options: Options) -> Iterator[Cell]:
    exponents = (0.5, 6) if options.reduced else (0.5, *range(1, 16))
    for dtype in ("float32", "float64"):
        distances = [10.0**-e for e in exponents if 10.0**-e > np.finfo(dtype).eps / 10]
        for distance in (*distances, 0.0):
            for seed in range(options.seeds or (1 if options.reduced else 5)):
                name = f"{dtype}, distance {distance:.0e}, seed {seed}"
                yield Cell(name, partial(measure, dtype, distance, seed))


def measure(dtype: str, distance: float, seed: int) -> list[Row]:
    """Errors of each rule for an inverse square root at ``I + distance E``, E random of spectral norm 1."""
    generator = np.random.default_rng(seed)
    square = generator.standard_normal((_SIZE, _SIZE))
    direction = square + square.T
    direction /= np.linalg.norm(direction, 2)
    a = (np.eye(_SIZE) + distance * direction).astype(dtype)
    columns = {"loss": "inverse square root", "dtype": dtype, "distance": distance, "seed": seed}
    return error_rows(InverseRoot(), a, columns)


EXPERIMENT = Experiment(
    "gradient error as the input of whitening approaches white",
    cells,
    partial(error_tables, sweep="distance", shown=(1e-1, 1e-3, 1e-6, 1e-9, 1e-12, 0), title="Gradient error"),
    lambda rows: {
        "": sweep_figure(
            rows, "distance", "distance from white", lambda dtype: float(np.finfo(dtype).eps) / 10
        )
    },
)
