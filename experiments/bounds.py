"""The largest pair coefficient of each rule, with the pair that triggers it, and where 6.00e36 comes from."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import mpmath
import numpy as np

from experiments._harness import Cell, Experiment, Row, Table
from experiments._options import Options
from experiments._published import DIGITS, pade_coefficients
from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    TaylorGap,
    TopNGap,
)

__all__ = ["EXPERIMENT", "largest", "summations"]

# The published bounds of Song et al., where the table has the rule; theirs are of float64 with l >= eps.
RULES: dict[str, tuple[Any, str, str]] = {
    "analytic": (ExactGap(), "unbounded", "infinite"),
    "clipped (SVD-Trunc)": (ClippedGap(), "T", "1e10"),
    "top-N (SVD-TopN, N = 1)": (TopNGap(1), "1/gap of leading pairs", "1/gap"),
    "Taylor, degree 100": (TaylorGap(100), "(K + 1)/a", "(K + 1)/a"),
    "power iteration, K = 19": (PowerIterationGap(19), "K/a", "K/a"),
    "balanced power iteration, K = 19": (BalancedPowerIterationGap(19), "K/a", "none"),
    "Pade [50/50]": (PadeGap(), "1/(64 eps a)", "6.00e36"),
    "broadened": (BroadenedGap(), "1/(2 w), w = eps^(3/4)", "none"),
    "masked": (MaskedGap(), "1/(eps^(3/4) max l)", "none"),
}


def cells(options: Options) -> Iterator[Cell]:
    count = 40 if options.reduced else 400
    for dtype in ("float32", "float64"):
        for name in RULES:
            yield Cell(f"{name}, {dtype}", partial(largest, name, dtype, count))
    yield Cell("sums of the published denominator", summations)


def largest(name: str, dtype: str, count: int) -> list[Row]:
    """The largest magnitude over pairs below a leading 1, and the pair that has it.

    Pairs are ``(a, a (1 - t))``, `a` from eps, below which the published layers drop eigenvalues, to 1, with
    relative gaps `t` from 1 down to eps. Ties are left out: some rules are infinite there and others 0.
    """
    rule = RULES[name][0]
    precision = float(np.finfo(dtype).eps)
    worst = {"rule": name, "dtype": dtype, "coefficient": 0.0, "a": 0.0, "gap": 0.0, "bound": 0.0}
    for a in (precision, 1e-3, 1.0):
        gaps = np.geomspace(precision, 1, count)
        leading = np.full(count, a, dtype=dtype)
        columns = [(leading * (1 - gaps)).astype(dtype), leading, np.ones(count, dtype=dtype)]
        # A third value sets the scale, where the pair itself does not.
        values = np.stack(columns if a < 1 else columns[:2], axis=-1)
        values = values[values[:, 0] < values[:, 1]]
        coefficients = np.abs(rule.matrix(values)[:, 0, 1])
        index = int(np.argmax(coefficients))
        bound = float(rule.bound(values)[index])
        if coefficients[index] > worst["coefficient"]:
            gap = float(values[index, 1] - values[index, 0])
            worst |= {"coefficient": float(coefficients[index]), "a": a, "gap": gap, "bound": bound}
    return [worst]


def summations() -> list[Row]:
    """``P(1)/Q(1)`` of the published recipe: Q(1) is 0 but for rounding, so the order of its sum decides."""
    numerator, denominator = pade_coefficients()
    with mpmath.workdps(DIGITS):
        top = mpmath.fsum(numerator)
        sums = {
            "from the constant up": sum(denominator),
            "from the highest power down": sum(reversed(denominator)),
            "smallest magnitude first": sum(sorted(denominator, key=abs)),
            "largest magnitude first": sum(sorted(denominator, key=abs, reverse=True)),
        }
    with mpmath.workdps(60):
        sums["without rounding"] = mpmath.fsum(denominator)
    eps = mpmath.mpf(2) ** -52
    return [
        {
            "rule": order,
            "dtype": "20 digits",
            "numerator": float(top),
            "denominator": float(bottom),
            "over_eps": float(top / bottom / eps),
        }
        for order, bottom in sums.items()
    ]


def tables(rows: list[Row]) -> list[Table]:
    rules, sums = [], []
    for row in rows:
        if row["dtype"] == "20 digits":
            sums.append((row["rule"], row["numerator"], row["denominator"], f"{row['over_eps']:.3e}"))
        else:
            _, formula, published = RULES[row["rule"]]
            entries = (row["coefficient"], row["a"], row["gap"], row["bound"])
            rules.append((row["rule"], row["dtype"], formula, published, *entries))
    head = (
        "rule",
        "dtype",
        "bound",
        "published",
        "largest found",
        "at larger value a",
        "and gap",
        "its bound there",
    )
    return [
        Table("Largest pair coefficient, ties left out (Song et al. 2021, table of bounds)", head, rules),
        Table(
            "The published 6.00e36: P(1)/Q(1)/eps by the order in which Q(1) is summed",
            ("order", "P(1)", "Q(1)", "P(1)/Q(1)/eps"),
            sums,
        ),
    ]


EXPERIMENT = Experiment("largest pair coefficient of each rule (Song et al. 2021)", cells, tables)
