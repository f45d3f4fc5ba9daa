"""A second solver where the first one fails, and what a failure is."""

from dataclasses import dataclass

from specgrad._array import identity
from specgrad._namespace import namespace
from specgrad._places import batch_index
from specgrad._require import require_method
from specgrad._typing import Array
from specgrad.solvers.protocol import (
    ConvergenceError,
    Solver,
    failed,
    replaced,
    solved,
    without_looking,
)

__all__ = ["Fallback", "is_convergence_failure", "solve_one_by_one"]


@dataclass(frozen=True)
class Fallback:
    """The answer of `first`, and for each matrix on which it fails, that of `second`.

    A failure is an error of the linear algebra library, or a result that is not finite; a matrix on which
    neither succeeds keeps the result that is not. Where values cannot be looked at (traced, batched by a
    transform, on a GPU), the functions of this library compute both and select.

    Parameters
    ----------
    first, second : Solver

    Raises
    ------
    ConvergenceError
        If both raise; it names the index in the batch.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import DenseEigh, DenseSVD, Fallback
    >>> Fallback(DenseEigh(), DenseSVD()).solve(np.diag([2.0, 1.0]))[0]
    array([1., 2.])
    """

    first: Solver
    second: Solver

    def __post_init__(self) -> None:
        for name in ("first", "second"):
            require_method(getattr(self, name), "solve", name, "DenseEigh()")

    def solve(self, a: Array) -> tuple[Array, Array]:
        xp = namespace(a)
        try:
            first = solved(self.first, a)
            if not bool(xp.any(failed(*first))):
                return first
            return _select(first, self.second, a)
        except Exception as error:
            if not is_convergence_failure(error):
                raise
            return solve_one_by_one((self.first, self.second), a)

    def without_looking(self) -> Solver:
        """Both, and a selection."""
        return _SelectedFallback(without_looking(self.first), without_looking(self.second))


@dataclass(frozen=True)
class _SelectedFallback:
    """A `Fallback` that looks at no value."""

    first: Solver
    second: Solver

    def solve(self, a: Array) -> tuple[Array, Array]:
        return _select(solved(self.first, a), self.second, a)


def is_convergence_failure(error: Exception) -> bool:
    """Whether an error says that a decomposition failed; each library has a LinAlgError of its own."""
    return isinstance(error, ConvergenceError) or "LinAlgError" in type(error).__name__


def solve_one_by_one(solvers: tuple[Solver, ...], a: Array) -> tuple[Array, Array]:
    """Decompose each matrix of the batch by the first of the solvers that can."""
    xp = namespace(a)
    size = a.shape[-1]
    matrices = xp.reshape(a, (-1, size, size))
    results = [_first_success(solvers, matrices[k, :, :], k, a.shape[:-2]) for k in range(matrices.shape[0])]
    return (
        xp.reshape(xp.stack([values for values, _ in results]), a.shape[:-1]),
        xp.reshape(xp.stack([vectors for _, vectors in results]), a.shape),
    )


def _first_success(
    solvers: tuple[Solver, ...], matrix: Array, position: int, batch: tuple[int, ...]
) -> tuple[Array, Array]:
    last: Exception | None = None
    not_finite: tuple[Array, Array] | None = None
    for solver in solvers:
        try:
            result = solved(solver, matrix)
        except Exception as error:
            if not is_convergence_failure(error):
                raise
            last = error
        else:
            if not bool(failed(*result)):
                return result
            not_finite = result
    if not_finite is not None:
        return not_finite
    raise ConvergenceError(
        f"The matrix at batch index {batch_index(position, batch)} could not be decomposed by "
        f"{' or '.join(repr(solver) for solver in solvers)} ({last}). "
        "Pass another one to fall back on, such as solver=Fallback(DenseEigh(), DenseSVD())."
    )


def _select(first: tuple[Array, Array], second: Solver, a: Array) -> tuple[Array, Array]:
    """The first result where it is finite, that of the second solver elsewhere."""
    where = failed(*first)
    by = solved(second, namespace(a).where(where[..., None, None], a, identity(a)))
    return replaced(where, by, first)
