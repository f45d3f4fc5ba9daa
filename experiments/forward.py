"""Accuracy of eigenpairs by solver, precision and condition number.

The truth is an eigendecomposition with 40 digits of the matrix *as stored*: its rounded entries count as
exact. Of two kinds of positive definite matrices, a *dense* one has random eigenvectors, and rounding
the entries changes each eigenvalue by eps times the norm: further digits of a small one belong to the stored
matrix alone. A *scaled* one is ``D B D``, B well conditioned and D diagonal: its entries determine even its
smallest eigenvalues to nearly all digits, and so does their rounding. Only solvers that respect the scale, as
Jacobi rotations do, or that know residuals to more digits, find these.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import matplotlib.pyplot as plt
import mpmath
import numpy as np
import scipy.linalg
import torch
from matplotlib.figure import Figure

from experiments._harness import Cell, Experiment, Row, Table
from experiments._options import Options
from specgrad import DenseSVD, Refined
from specgrad.testing import random_unitary

__all__ = ["EXPERIMENT"]

_DIGITS = 40
# Below 26 LAPACK's divide and conquer leaves all to QR.
_SIZE = 26
_DTYPES = ("float32", "float64")
# Condition numbers are these powers of 1/eps.
_POWERS = (0.1, 0.3, 0.5, 0.7, 0.85, 1.0)


@dataclass(frozen=True)
class Lapack:
    """One of LAPACK's drivers of the symmetric problem: ev (QR), evd (divide and conquer), evr (MRRR)."""

    driver: str

    def solve(self, a: Any) -> tuple[Any, Any]:
        values, vectors = scipy.linalg.eigh(a, driver=self.driver)
        return values, vectors


@dataclass(frozen=True)
class TorchSVD:
    """`DenseSVD` on PyTorch, which computes float32 in float32."""

    def solve(self, a: Any) -> tuple[Any, Any]:
        values, vectors = DenseSVD().solve(torch.from_numpy(a))
        return values.numpy(), vectors.numpy()


@dataclass(frozen=True)
class OneSidedJacobi:
    """Jacobi rotations on the columns of a Cholesky factor, for real positive definite matrices.

    Columns are rotated until all are orthogonal; their norms are then the square roots of the eigenvalues and
    their directions the eigenvectors. Where rounding leaves the matrix indefinite, rotations start from the
    matrix itself, and eigenvalues are the norms.

    References
    ----------
    Demmel and Veselic, SIAM J. Matrix Anal. Appl. 1992.
    """

    sweeps: int = 30

    def solve(self, a: Any) -> tuple[Any, Any]:
        try:
            # NumPy's own computes float32 in float64.
            columns, power = scipy.linalg.cholesky(a, lower=True), 2
        except scipy.linalg.LinAlgError:
            columns, power = a.copy(), 1
        threshold = np.finfo(a.dtype).eps
        for _ in range(self.sweeps):
            rotated = [_rotate(columns, i, j, threshold) for j in range(len(a)) for i in range(j)]
            if not any(rotated):
                break
        norms = np.linalg.norm(columns, axis=0)
        order = np.argsort(norms)
        directions = columns / np.where(norms > 0, norms, 1)
        return norms[order] ** power, directions[:, order]


def _rotate(columns: Any, i: int, j: int, threshold: float) -> bool:
    """Make two columns orthogonal in place; whether they were not."""
    x, y = columns[:, i].copy(), columns[:, j].copy()
    xx, yy, xy = x @ x, y @ y, x @ y
    if abs(xy) <= threshold * np.sqrt(xx) * np.sqrt(yy):
        return False
    slope = (yy - xx) / (2 * xy)
    tangent = np.copysign(1, slope) / (abs(slope) + np.hypot(1, slope))
    cosine = 1 / np.hypot(1, tangent)
    columns[:, i] = cosine * (x - tangent * y)
    columns[:, j] = cosine * (y + tangent * x)
    return True


def contestants() -> dict[str, Any]:
    """The solvers, by the name that the table and the figure give them."""
    return {
        "QR (ev)": Lapack("ev"),
        "divide and conquer (evd)": Lapack("evd"),
        "MRRR (evr)": Lapack("evr"),
        "SVD": TorchSVD(),
        "Jacobi": OneSidedJacobi(),
        "refined, 1 step": Refined(Lapack("evd")),
        "refined, 2 steps": Refined(Lapack("evd"), steps=2),
    }


def cells(options: Options) -> Iterator[Cell]:
    """A cell for each kind of matrix, precision, condition number and seed."""
    seeds = options.seeds or (1 if options.reduced else 2)
    size, powers = (8, _POWERS[1::2]) if options.reduced else (_SIZE, _POWERS)
    for matrices, dtype, power, seed in product(_MATRICES, _DTYPES, powers, range(seeds)):
        name = f"{matrices} {dtype} {power:g}, seed {seed}"
        yield Cell(name, partial(measure, matrices, dtype, power, seed, size))


def measure(matrices: str, dtype: str, power: float, seed: int, size: int) -> list[Row]:
    """Of each solver: relative errors of eigenvalues and angles of eigenvectors, the worst, and the time."""
    condition = float(np.finfo(dtype).eps) ** -power
    problem = _problem(_MATRICES[matrices], size, dtype, condition, seed)
    row: Row = {"matrices": matrices, "dtype": dtype, "condition": condition, "seed": seed}
    columns = ("eigenvalue_error", "eigenvector_error", "seconds")
    return [
        {**row, "solver": name, **dict(zip(columns, _errors(solver, *problem), strict=True))}
        for name, solver in contestants().items()
    ]


def medians(rows: list[Row], matrices: str, dtype: str, solver: str, column: str) -> dict[float, float]:
    """Over matrices, by condition number, ascending."""
    own = [row for row in rows if (row["matrices"], row["dtype"], row["solver"]) == (matrices, dtype, solver)]
    return {
        condition: float(np.median([row[column] for row in own if row["condition"] == condition]))
        for condition in sorted({row["condition"] for row in own})
    }


def tables(rows: list[Row]) -> list[Table]:
    """Errors of eigenvalues at each condition number, and of eigenvectors at the largest."""
    found = []
    for matrices, dtype in product(_MATRICES, _DTYPES):
        lines: list[tuple[object, ...]] = []
        for name in contestants():
            values = medians(rows, matrices, dtype, name, "eigenvalue_error")
            *_, last = medians(rows, matrices, dtype, name, "eigenvector_error").values()
            lines.append((name, *values.values(), last))
        conditions = (f"{condition:.0e}" for condition in values)
        columns = ("eigenvalues, condition", *conditions, "eigenvectors at the last")
        found.append(Table(f"{matrices} matrices, {dtype}, medians over seeds", columns, lines))
    return found


def draw(rows: list[Row]) -> dict[str, Figure]:
    """The errors against the condition number, a panel for each question, a column for each precision."""
    questions = list(product(_MATRICES, ("eigenvalue", "eigenvector")))
    figure, panels = plt.subplots(len(questions), 2, figsize=(7.5, 10), sharex="col")
    for line, (matrices, pair) in zip(panels, questions, strict=True):
        for panel, dtype in zip(line, _DTYPES, strict=True):
            eps = float(np.finfo(dtype).eps)
            for (name, style), color in zip(_STYLES.items(), _COLORS, strict=True):
                errors = medians(rows, matrices, dtype, name, f"{pair}_error")
                shown = [max(error, eps / 30) for error in errors.values()]
                panel.loglog(list(errors), shown, style, color=color, label=name, markersize=4)
            panel.axhline(eps, color="0.6", linewidth=0.8, zorder=0, label="eps")
            panel.set_title(f"{matrices}: {pair}s, {dtype}", fontsize="medium")
        line[0].set_ylabel("relative error" if pair == "eigenvalue" else "sine of the angle")
    for panel in panels[-1]:
        panel.set_xlabel("condition number")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return {"": figure}


# Okabe and Ito's colours, told apart by all readers, and markers besides.
_COLORS = ("#E69F00", "#56B4E9", "#000000", "#CC79A7", "#009E73", "#D55E00", "#0072B2")
_STYLES = {
    "QR (ev)": "o-",
    "divide and conquer (evd)": "s--",
    "MRRR (evr)": "^-",
    "SVD": "v:",
    "Jacobi": "D-",
    "refined, 1 step": "x--",
    "refined, 2 steps": "+-",
}


def _dense(size: int, condition: float, generator: np.random.Generator) -> Any:
    q = random_unitary(size, np.float64, generator)
    return (q * np.geomspace(1 / condition, 1, size)) @ q.T


def _scaled(size: int, condition: float, generator: np.random.Generator) -> Any:
    scale = np.geomspace(condition**-0.5, 1, size)
    q = random_unitary(size, np.float64, generator)
    return scale[:, None] * ((q * np.linspace(0.5, 1.5, size)) @ q.T) * scale


_MATRICES: dict[str, Callable[[int, float, np.random.Generator], Any]] = {"dense": _dense, "scaled": _scaled}


def _problem(
    build: Callable[..., Any], size: int, dtype: str, condition: float, seed: int
) -> tuple[Any, Any, Any]:
    """A matrix, and its eigenvalues and eigenvectors with many digits."""
    matrix = build(size, condition, np.random.default_rng(seed))
    matrix = (0.5 * (matrix + matrix.T)).astype(dtype)
    with mpmath.workdps(_DIGITS):
        values, vectors = mpmath.eigsy(mpmath.matrix(matrix.tolist()))
    return matrix, np.array(list(values)), np.array(vectors.tolist())


def _errors(solver: Any, matrix: Any, exact_values: Any, exact_vectors: Any) -> tuple[float, float, float]:
    start = time.perf_counter()
    values, vectors = solver.solve(matrix)
    seconds = time.perf_counter() - start
    with mpmath.workdps(_DIGITS):
        relative = [abs(mpmath.mpf(float(x)) / y - 1) for x, y in zip(values, exact_values, strict=True)]
        overlap = exact_vectors.T @ np.array(mpmath.matrix(vectors.tolist()).tolist())
        norms = np.sum(overlap**2, axis=0)
        sines = [mpmath.sqrt((norms[i] - overlap[i, i] ** 2) / norms[i]) for i in range(len(norms))]
    return float(max(relative)), float(max(sines)), seconds


EXPERIMENT = Experiment(
    "accuracy of eigenpairs by solver, precision and condition (Wang et al. 2019, section 2 and future work)",
    cells,
    tables,
    draw,
)
