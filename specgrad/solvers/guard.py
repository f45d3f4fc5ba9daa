"""What a solver is wrapped in that its input needs: a guard for what is not finite, the Hermitian part."""

from dataclasses import dataclass

from specgrad._array import hermitian_part, namespace
from specgrad._typing import Array
from specgrad.bind import Viewer
from specgrad.solvers._protocol import (
    ConvergenceError,
    Solver,
    has_own_derivative,
    without_looking,
)
from specgrad.solvers.fallback import is_convergence_failure, solve_one_by_one

__all__ = ["Guarded", "HermitianPart", "decompose", "prepare"]


@dataclass(frozen=True, repr=False)
class Guarded:
    """The answer of `solver` for finite matrices, and NaN for the others alone.

    A matrix with a NaN or an infinity is replaced by zeros before it reaches the solver, so it can
    neither fail its batch nor change its neighbours; its own result is NaN.

    Parameters
    ----------
    solver : Solver
    viewer : Viewer
        A batch that it sees to be finite goes to the solver as it is.
    """

    solver: Solver
    viewer: Viewer

    def __repr__(self) -> str:
        return repr(self.solver)  # errors name the solver that was given

    def solve(self, a: Array) -> tuple[Array, Array]:
        seen = self.viewer.view(a)
        if 0 in a.shape or (seen is not None and _is_finite(seen)):
            return self.solver.solve(a)
        xp, solver = namespace(a), without_looking(self.solver) if seen is None else self.solver
        finite = xp.isfinite(xp.max(xp.abs(a), axis=(-2, -1), keepdims=True))
        values, vectors = solver.solve(xp.where(finite, a, 0.0))
        return xp.where(finite[..., 0], values, xp.nan), xp.where(finite, vectors, xp.nan)


@dataclass(frozen=True, repr=False)
class HermitianPart:
    """The answer of `solver` for ``(a + a^H)/2``, for input that is Hermitian to rounding only.

    Parameters
    ----------
    solver : Solver
    """

    solver: Solver

    def __repr__(self) -> str:
        return repr(self.solver)

    def solve(self, a: Array) -> tuple[Array, Array]:
        return self.solver.solve(hermitian_part(a))

    def without_looking(self) -> Solver:
        """The same around a solver that looks at no value."""
        return HermitianPart(without_looking(self.solver))


def prepare(solver: Solver, seen: bool | None, viewer: Viewer) -> Solver:
    """The solver, wrapped in what its input needs: nothing if it is seen to be finite and Hermitian.

    Parameters
    ----------
    solver : Solver
    seen : bool or None
        Whether the input, all of it finite, is Hermitian to the last bit; None if nobody has looked.
    viewer : Viewer
        Looks at it later, where that is possible.
    """
    if seen or has_own_derivative(solver):  # such a solver computes its forward pass again, from the input
        return solver
    return Guarded(HermitianPart(solver), viewer) if seen is None else HermitianPart(solver)


def decompose(solver: Solver, a: Array) -> tuple[Array, Array]:
    """The solver's answer; where it fails, an error that names the matrix on which it did."""
    try:
        return solver.solve(a)
    except Exception as error:
        if isinstance(error, ConvergenceError) or not is_convergence_failure(error):
            raise
        return solve_one_by_one((solver,), a)


def _is_finite(a: Array) -> bool:
    """Whether all entries are finite; `a` must be readable."""
    xp = namespace(a)
    return bool(xp.all(xp.isfinite(a)))
