"""Which solver for which shape: one table."""

from dataclasses import dataclass
from typing import Any

from specgrad.solvers import Solver
from specgrad_cupy.cusolver import Syevd, SyevjBatched
from specgrad_cupy.jacobi import Jacobi

__all__ = ["TABLE", "AutoSolver", "Row"]


@dataclass(frozen=True)
class Row:
    """Up to size `largest`, from `count` matrices on: this solver."""

    largest: int
    count: int
    solver: Solver


# The first row that fits. Set by reasoning, and not measured on hardware yet: a matrix that fits registers or
# shared memory is decomposed without leaving them; beyond, cuSOLVER's batched Jacobi saves launches; large
# matrices fill the device one at a time. `python -m benchmarks.gpu` prints what to put here.
TABLE = (
    Row(32, 1, Jacobi()),
    Row(128, 16, SyevjBatched()),
    Row(2**31, 0, Syevd()),
)


@dataclass(frozen=True)
class AutoSolver:
    """The solver that suits the size and the number of the matrices, from `TABLE`.

    Examples
    --------
    >>> from specgrad_cupy import AutoSolver
    >>> AutoSolver().choose(n=3, count=10_000)
    Jacobi(sweeps=30)
    """

    def choose(self, n: int, count: int) -> Solver:
        """The solver for `count` matrices of size n x n."""
        return next(row.solver for row in TABLE if n <= row.largest and count >= row.count)

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        n = a.shape[-1]
        return self.choose(n, a.size // max(n * n, 1)).solve(a)
