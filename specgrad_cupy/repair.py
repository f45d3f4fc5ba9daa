"""A solver whose answers are checked, and repaired by another where they do not hold."""

from dataclasses import dataclass
from typing import Any

from specgrad._array import adjoint, as_row, identity
from specgrad._namespace import eps, namespace
from specgrad._require import require_at_least, require_method
from specgrad.solvers import Solver, replaced

__all__ = ["Repaired"]


@dataclass(frozen=True)
class Repaired:
    """The answer of `first`, and that of `second` for each matrix whose residual is too large.

    The residual is ``||A V - V diag(l)||_max / (n eps ||A||_max)``, of order 1 for a backward stable
    solver. One flag is read by the host, always, so this waits for the device.

    Parameters
    ----------
    first, second : Solver
    tolerance : float, default 60
        LAPACK's own threshold in its tests of symmetric eigenproblems, here in the largest entry.

    Raises
    ------
    TypeError, ValueError
        If a solver has no method ``solve``, or the tolerance is no number of at least 0.
    """

    first: Solver
    second: Solver
    tolerance: float = 60.0

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            require_method(getattr(self, name), "solve", name, "Syevd()")
        require_at_least(0, self, "tolerance")

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        xp = namespace(a)
        values, vectors = self.first.solve(a)
        if 0 in a.shape:
            return values, vectors
        where = ~(self.residual(a, values, vectors) <= self.tolerance)
        if not bool(xp.any(where)):
            return values, vectors
        again = self.second.solve(xp.where(where[..., None, None], a, identity(a)))
        return replaced(where, again, (values, vectors))

    def residual(self, a: Any, values: Any, vectors: Any) -> Any:
        """The larger of the residuals of decomposition and orthogonality, shape (...)."""
        xp = namespace(a)
        n = a.shape[-1]
        product = adjoint(vectors) @ vectors - identity(a)
        largest = xp.max(xp.abs(a), axis=(-2, -1))
        scale = xp.where(largest > 0, largest, xp.ones_like(largest))
        decomposition = xp.max(xp.abs(a @ vectors - vectors * as_row(values)), axis=(-2, -1)) / scale
        orthogonality = xp.max(xp.abs(product), axis=(-2, -1))
        return xp.maximum(decomposition, orthogonality) / (n * eps(a))
