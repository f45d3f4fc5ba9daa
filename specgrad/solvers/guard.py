"""What a solver is wrapped in that its input needs: a guard for what is not finite, the Hermitian part."""

from dataclasses import dataclass
from math import log2

from specgrad._array import eps, hermitian_part, namespace, smallest_normal
from specgrad._typing import Array
from specgrad.bind import Binding, Viewer
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
    neither fail its batch nor change its neighbours; its own result is NaN. One of entries so small that the
    squares of their rounding underflow, on which LAPACK may divide 0 by 0, is scaled up.

    Parameters
    ----------
    solver : Solver
    viewer : Viewer
        A batch that it sees to need neither goes to the solver as it is.
    """

    solver: Solver
    viewer: Viewer

    def __repr__(self) -> str:
        return repr(self.solver)  # errors name the solver that was given

    def solve(self, a: Array) -> tuple[Array, Array]:
        if 0 in a.shape:
            return self.solver.solve(a)
        xp, seen = namespace(a), self.viewer.view(a)
        least = smallest_normal(a) ** 0.5 / eps(a) ** 2
        if seen is not None and _lies_within(_largest(seen), least):
            return self.solver.solve(a)
        solver = without_looking(self.solver) if seen is None else self.solver
        largest = _largest(a)
        finite = xp.isfinite(largest)
        factor = 2.0 ** -round(0.75 * log2(smallest_normal(a)))  # a power of two, so that nothing is rounded
        scale = xp.where(largest < least, xp.full_like(largest, factor), 1.0)
        values, vectors = solver.solve(xp.where(finite, a, 0.0) * scale)
        return xp.where(finite[..., 0], values / scale[..., 0], xp.nan), xp.where(finite, vectors, xp.nan)


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


def prepare(solver: Solver, seen: bool | None, binding: Binding) -> Solver:
    """The solver, wrapped in what its input needs: nothing if it is seen to be finite and Hermitian.

    Parameters
    ----------
    solver : Solver
    seen : bool or None
        Whether the input, all of it finite, is Hermitian to the last bit; None if nobody has looked.
    binding : Binding
        Adapts the solver, and looks at its input later, where that is possible.
    """
    adapted = binding.adapted(solver)
    if seen or has_own_derivative(solver):  # such a solver computes its forward pass again, from the input
        return adapted
    return Guarded(HermitianPart(adapted), binding) if seen is None else HermitianPart(adapted)


def decompose(solver: Solver, a: Array) -> tuple[Array, Array]:
    """The solver's answer; where it fails, an error that names the matrix on which it did."""
    try:
        return solver.solve(a)
    except Exception as error:
        if isinstance(error, ConvergenceError) or not is_convergence_failure(error):
            raise
        return solve_one_by_one((solver,), a)


def _largest(a: Array) -> Array:
    """The largest magnitude of each matrix, shape (..., 1, 1)."""
    xp = namespace(a)
    return xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)


def _lies_within(largest: Array, least: float) -> bool:
    """Whether all are finite, and at least so large; they must be readable."""
    xp = namespace(largest)
    return bool(xp.all((largest >= least) & (largest < xp.inf)))
