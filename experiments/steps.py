"""Power iterations needed per ratio of eigenvalues: the published table, and the tolerance it belongs to."""

from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from experiments._harness import Cell, Experiment, Options, Row, Table
from specgrad import required_steps

__all__ = ["EXPERIMENT", "PUBLISHED", "measure"]

# Wang et al., Table 1: the number of iterations for each ratio.
PUBLISHED = {
    0.2: 2,
    0.4: 4,
    0.6: 6,
    0.8: 14,
    0.85: 19,
    0.9: 29,
    0.95: 59,
    0.99: 299,
    0.995: 598,
    0.999: 2995,
}


def cells(options: Options) -> Iterator[Cell]:
    yield Cell("table", measure)


def measure() -> list[Row]:
    """The formula, and the number found by multiplying until the power is small enough."""
    rows = []
    for tolerance in (0.05, 0.01):
        for ratio, published in PUBLISHED.items():
            needed = required_steps(ratio, tolerance)
            row = {"tolerance": tolerance, "ratio": ratio, "published": published, "formula": needed}
            rows.append(row | {"counted": _count(ratio, tolerance)})
    return rows


def _count(ratio: float, tolerance: float) -> int:
    """How many products bring the power of a ratio to the tolerance."""
    steps, power = 0, 1.0
    while power > tolerance:
        steps, power = steps + 1, power * ratio
    return steps


def tables(rows: list[Row]) -> list[Table]:
    lines = [["published", *PUBLISHED.values()]]
    for tolerance in (0.05, 0.01):
        own = [row for row in rows if row["tolerance"] == tolerance]
        lines.append([f"q^K <= {tolerance:g}, by formula", *(row["formula"] for row in own)])
        lines.append([f"q^K <= {tolerance:g}, counted", *(row["counted"] for row in own)])
    head = ["ratio q", *(f"{ratio:g}" for ratio in PUBLISHED)]
    return [
        Table(
            "Power iterations needed; the published header says 0.01 (Wang et al. 2019, Table 1)", head, lines
        )
    ]


def draw(rows: list[Row]) -> dict[str, Figure]:
    figure, panel = plt.subplots(figsize=(4.5, 3.2))
    distance = np.geomspace(1e-3, 0.8, 200)
    for tolerance, line in ((0.05, "-"), (0.01, "--")):
        panel.loglog(
            distance,
            [required_steps(1 - d, tolerance) for d in distance],
            line,
            label=f"q^K <= {tolerance:g}",
        )
    panel.loglog([1 - q for q in PUBLISHED], PUBLISHED.values(), "ko", label="published table")
    panel.invert_xaxis()
    panel.set_xlabel("1 - q, q the ratio of neighbouring eigenvalues")
    panel.set_ylabel("power iterations K")
    panel.legend()
    return {"": figure}


EXPERIMENT = Experiment("power iterations needed per ratio (Wang et al. 2019, Table 1)", cells, tables, draw)
