"""What a solver is wrapped in that its input needs: a guard, the Hermitian part, a second try."""

from dataclasses import dataclass
from typing import cast

from specgrad._array import hermitian_part, real_part
from specgrad._namespace import is_complex, is_single, namespace
from specgrad._typing import Array
from specgrad.bind import Binding, Viewer
from specgrad.solvers.fallback import is_convergence_failure, solve_one_by_one
from specgrad.solvers.protocol import (
    ConvergenceError,
    EigenvalueSolver,
    Solver,
    has_own_derivative,
    is_like,
    solved,
    without_looking,
)

__all__ = ["Guarded", "HermitianPart", "Rescued", "decompose", "eigenvalues_alone", "prepare"]


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
        solver = without_looking(self.solver) if seen is None else self.solver
        if 0 in a.shape or (seen is not None and _is_finite(seen)):
            return solver.solve(a)
        xp = namespace(a)
        finite = xp.isfinite(xp.max(xp.abs(a), axis=(-2, -1), keepdims=True))
        values, vectors = solved(solver, xp.where(finite, a, 0.0))
        return xp.where(finite[..., 0], values, xp.nan), xp.where(finite, vectors, xp.nan)


@dataclass(frozen=True, repr=False)
class Rescued:
    """The answer of `solver`; for single precision in which it is seen to fail, that in double precision.

    Some LAPACKs fail, or give NaN, for matrices of low rank with entries of many sizes, where squares leave
    the narrow range of exponents: covariances of channels that are constant up to rounding, for instance.

    Parameters
    ----------
    solver : Solver
        Given finite matrices.
    viewer : Viewer
    """

    solver: Solver
    viewer: Viewer

    def __repr__(self) -> str:
        return repr(self.solver)

    def solve(self, a: Array) -> tuple[Array, Array]:
        if not is_single(a):
            return solved(self.solver, a)
        try:
            values, vectors = solved(self.solver, a)
        except Exception as error:
            if not is_convergence_failure(error):
                raise
        else:
            seen = self.viewer.view(values)
            if seen is None or _is_finite(seen):
                return values, vectors
        return solve_one_by_one((self.solver, _InDoublePrecision(self.solver)), a)

    def without_looking(self) -> Solver:
        """The solver alone: no failure can be seen."""
        return without_looking(self.solver)


@dataclass(frozen=True, repr=False)
class _InDoublePrecision:
    """The answer of `solver` for single precision, found in double precision."""

    solver: Solver

    def __repr__(self) -> str:
        return f"{self.solver} in double precision"

    def solve(self, a: Array) -> tuple[Array, Array]:
        xp = namespace(a)
        wide = xp.astype(a, xp.complex128 if is_complex(a) else xp.float64)
        values, vectors = solved(self.solver, wide)
        return xp.astype(values, real_part(a).dtype), xp.astype(vectors, a.dtype)


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


def prepare(solver: Solver, exactly_hermitian: bool | None, binding: Binding) -> Solver:
    """The solver, wrapped in what its input needs: a second try, and more if it is not seen to be fine.

    Parameters
    ----------
    solver : Solver
    exactly_hermitian : bool or None
        Whether the input, all of it finite, is Hermitian to the last bit; None if nobody has looked.
    binding : Binding
        Adapts the solver, and looks at its input later, where that is possible.
    """
    adapted = binding.adapted(solver)
    if has_own_derivative(solver):  # it computes its forward pass again, from the input
        return adapted
    rescued = Rescued(adapted, binding)
    if exactly_hermitian:
        return rescued
    return Guarded(HermitianPart(rescued), binding) if exactly_hermitian is None else HermitianPart(rescued)


def decompose(solver: Solver, a: Array) -> tuple[Array, Array]:
    """The solver's answer; where it fails, an error that names the matrix on which it did."""
    try:
        return solved(solver, a)
    except Exception as error:
        if isinstance(error, ConvergenceError) or not is_convergence_failure(error):
            raise
        return solve_one_by_one((solver,), a)


def eigenvalues_alone(solver: Solver, a: Array, exactly_hermitian: bool) -> Array | None:
    """The eigenvalues of finite matrices in host memory; None if the solver has no way to them, or fails."""
    if not _finds_eigenvalues_alone(type(solver)):
        return None
    try:
        values = cast(EigenvalueSolver, solver).eigenvalues(a if exactly_hermitian else hermitian_part(a))
    except Exception as error:
        if not is_convergence_failure(error):
            raise
        return None
    if not is_like(a, values) or tuple(values.shape) != tuple(a.shape[:-1]) or is_complex(values):
        raise TypeError(
            f"{solver!r} gave a {type(values).__name__} of shape {getattr(values, 'shape', None)} and dtype "
            f"{getattr(values, 'dtype', None)} for the eigenvalues of a {type(a).__name__} of shape "
            f"{tuple(a.shape)}, and a real one of its kind, of shape {tuple(a.shape[:-1])}, is needed."
        )
    return values if _is_finite(values) else None


def _finds_eigenvalues_alone(kind: type) -> bool:
    """Whether instances have a method for it, which a subclass with a `solve` of its own does not inherit."""
    for base in kind.__mro__:
        if "solve" in vars(base) or "eigenvalues" in vars(base):
            return callable(vars(base).get("eigenvalues"))
    return False


def _is_finite(a: Array) -> bool:
    """Whether all entries are finite; `a` must be readable."""
    xp = namespace(a)
    return bool(xp.all(xp.isfinite(a)))
