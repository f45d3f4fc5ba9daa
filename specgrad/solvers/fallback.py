"""Solvers around solvers: a second one where the first fails, and a guard for non-finite input."""

from dataclasses import dataclass

from specgrad._array import hermitian_part, identity, namespace
from specgrad._require import require_method
from specgrad._typing import Array
from specgrad.solvers._protocol import ConvergenceError, Solver, Viewer, has_own_derivative
from specgrad.solvers.refined import Refined
from specgrad.validation import batch_index

__all__ = ["Fallback", "Guarded", "HermitianPart", "decompose", "prepare"]


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
            first = self.first.solve(a)
            if not bool(xp.any(_failed(*first))):
                return first
            return _select(first, self.second, a)
        except Exception as error:
            if not _is_convergence_failure(error):
                raise
            return _solve_one_by_one((self.first, self.second), a)


@dataclass(frozen=True)
class _SelectedFallback:
    """A `Fallback` that looks at no value."""

    first: Solver
    second: Solver

    def solve(self, a: Array) -> tuple[Array, Array]:
        return _select(self.first.solve(a), self.second, a)


@dataclass(frozen=True)
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

    def solve(self, a: Array) -> tuple[Array, Array]:
        seen = self.viewer.view(a)
        if 0 in a.shape or (seen is not None and _is_finite(seen)):
            return self.solver.solve(a)
        xp, solver = namespace(a), _without_looking(self.solver) if seen is None else self.solver
        finite = xp.isfinite(xp.max(xp.abs(a), axis=(-2, -1), keepdims=True))
        values, vectors = solver.solve(xp.where(finite, a, 0.0))
        return xp.where(finite[..., 0], values, xp.nan), xp.where(finite, vectors, xp.nan)


@dataclass(frozen=True)
class HermitianPart:
    """The answer of `solver` for ``(a + a^H)/2``, for input that is Hermitian to rounding only.

    Parameters
    ----------
    solver : Solver
    """

    solver: Solver

    def solve(self, a: Array) -> tuple[Array, Array]:
        return self.solver.solve(hermitian_part(a))


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
        if isinstance(error, ConvergenceError) or not _is_convergence_failure(error):
            raise
        return _solve_one_by_one((solver,), a)


def _is_convergence_failure(error: Exception) -> bool:
    """Whether an error says that a decomposition failed; each library has a LinAlgError of its own."""
    return isinstance(error, ConvergenceError) or "LinAlgError" in type(error).__name__


def _solve_one_by_one(solvers: tuple[Solver, ...], a: Array) -> tuple[Array, Array]:
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
            result = solver.solve(matrix)
        except Exception as error:
            if not _is_convergence_failure(error):
                raise
            last = error
        else:
            if not bool(_failed(*result)):
                return result
            not_finite = result
    if not_finite is not None:
        return not_finite
    raise ConvergenceError(
        f"The matrix at batch index {batch_index(position, batch)} could not be decomposed by "
        f"{' or '.join(repr(_of_user(solver)) for solver in solvers)} ({last}). "
        "Pass another one to fall back on, such as solver=Fallback(DenseEigh(), DenseSVD())."
    )


def _of_user(solver: Solver) -> Solver:
    """The solver inside what it was wrapped in here."""
    return _of_user(solver.solver) if isinstance(solver, Guarded | HermitianPart) else solver


def _without_looking(solver: Solver) -> Solver:
    if isinstance(solver, Fallback):
        return _SelectedFallback(_without_looking(solver.first), _without_looking(solver.second))
    if isinstance(solver, Refined):
        return Refined(_without_looking(solver.solver), solver.steps)
    if isinstance(solver, HermitianPart):
        return HermitianPart(_without_looking(solver.solver))
    return solver


def _is_finite(a: Array) -> bool:
    """Whether all entries are finite; `a` must be readable."""
    xp = namespace(a)
    return bool(xp.all(xp.isfinite(a)))


def _failed(values: Array, vectors: Array) -> Array:
    """Which matrices of the batch have a result that is not finite."""
    xp = namespace(values)
    return ~(xp.all(xp.isfinite(values), axis=-1) & xp.all(xp.isfinite(vectors), axis=(-2, -1)))


def _select(first: tuple[Array, Array], second: Solver, a: Array) -> tuple[Array, Array]:
    """The first result where it is finite, that of the second solver elsewhere."""
    xp = namespace(a)
    failed = _failed(*first)
    values, vectors = second.solve(xp.where(failed[..., None, None], a, identity(a)))
    return (
        xp.where(failed[..., None], values, first[0]),
        xp.where(failed[..., None, None], vectors, first[1]),
    )
