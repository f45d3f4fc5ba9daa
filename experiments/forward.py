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
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
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

__all__ = [
    "EXPERIMENT",
    "Lapack",
    "Measurement",
    "OneSidedJacobi",
    "TorchSVD",
    "contestants",
    "draw",
    "measure",
]

_DIGITS = 40
# Below 26 LAPACK's divide and conquer leaves all to QR.
_SIZE = 26
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


@dataclass(frozen=True)
class Measurement:
    """The errors of one solver, medians over matrices of the worst eigenpair."""

    matrices: str
    dtype: str
    condition: float
    solver: str
    eigenvalue_error: float
    eigenvector_error: float
    seconds: float


def cells(options: Options) -> Iterator[Cell]:
    """A cell for each kind of matrix, precision and condition number."""
    seeds = options.seeds or (1 if options.reduced else 2)
    size, powers = (8, _POWERS[1::2]) if options.reduced else (_SIZE, _POWERS)
    for matrices in _MATRICES:
        for dtype in ("float32", "float64"):
            for power in powers:
                name = f"{matrices} {dtype} {power:g}, {seeds} seeds"
                yield Cell(name, partial(measure, matrices, dtype, power, seeds, size))


def measure(matrices: str, dtype: str, power: float, seeds: int, size: int) -> list[Row]:
    """A `Measurement` of each solver: relative errors of eigenvalues, angles of eigenvectors, and time."""
    condition = float(np.finfo(dtype).eps) ** -power
    problems = [_problem(_MATRICES[matrices], size, dtype, condition, seed) for seed in range(seeds)]
    rows = []
    for name, solver in contestants().items():
        results = np.median([_errors(solver, *problem) for problem in problems], axis=0)
        rows.append(asdict(Measurement(matrices, dtype, condition, name, *results.tolist())))
    return rows


def tables(rows: list[Row]) -> list[Table]:
    """Errors of eigenvalues at each condition number, and of eigenvectors at the largest."""
    measurements = [Measurement(**row) for row in rows]
    found = []
    for matrices in _MATRICES:
        for dtype in ("float32", "float64"):
            chosen = [m for m in measurements if (m.matrices, m.dtype) == (matrices, dtype)]
            conditions = sorted({m.condition for m in chosen})
            lines = []
            for name in contestants():
                own = [m for m in chosen if m.solver == name]
                lines.append((name, *(m.eigenvalue_error for m in own), own[-1].eigenvector_error))
            columns = [
                "eigenvalues, condition",
                *(f"{c:.0e}" for c in conditions),
                "eigenvectors at the last",
            ]
            found.append(Table(f"{matrices} matrices, {dtype}", columns, lines))
    return found


def draw(measurements: list[Measurement]) -> Figure:
    """The errors against the condition number, a panel for each question, a column for each precision."""
    rows = (
        ("dense", "eigenvalue_error", "dense: eigenvalues"),
        ("dense", "eigenvector_error", "dense: eigenvectors"),
        ("scaled", "eigenvalue_error", "scaled: eigenvalues"),
        ("scaled", "eigenvector_error", "scaled: eigenvectors"),
    )
    figure, panels = plt.subplots(len(rows), 2, figsize=(7.5, 10), sharex="col", layout="constrained")
    for line, (matrices, error, title) in zip(panels, rows, strict=True):
        for panel, dtype in zip(line, ("float32", "float64"), strict=True):
            chosen = [m for m in measurements if m.matrices == matrices and m.dtype == dtype]
            eps = float(np.finfo(dtype).eps)
            for (name, style), color in zip(_STYLES.items(), _COLORS, strict=True):
                points = [(m.condition, max(getattr(m, error), eps / 30)) for m in chosen if m.solver == name]
                panel.loglog(*zip(*points, strict=True), style, color=color, label=name, markersize=4)
            panel.axhline(eps, color="0.6", linewidth=0.8, zorder=0, label="eps")
            panel.set_title(f"{title}, {dtype}", fontsize="medium")
        line[0].set_ylabel("relative error" if error == "eigenvalue_error" else "sine of the angle")
    for panel in panels[-1]:
        panel.set_xlabel("condition number")
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


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


@lru_cache(maxsize=256)
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
    lambda rows: {"": draw([Measurement(**row) for row in rows])},
)
