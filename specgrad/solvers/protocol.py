"""What a solver must offer."""

from typing import Protocol, TypeGuard

from specgrad._namespace import is_array, is_complex, namespace
from specgrad._typing import Array

__all__ = [
    "ConvergenceError",
    "DifferentiatedSolver",
    "EigenvalueSolver",
    "ResidualPolicy",
    "RootSolver",
    "Solver",
    "failed",
    "has_own_derivative",
    "is_like",
    "is_root_solver",
    "replaced",
    "require_complete",
    "solved",
    "without_looking",
]


class ConvergenceError(ArithmeticError):
    """A solver failed: some matrix of the batch was not decomposed, or an iteration has not converged."""


class Solver(Protocol):
    """A frozen value that decomposes Hermitian matrices."""

    def solve(self, a: Array, /) -> tuple[Array, Array]:
        """Decompose ``a = V diag(l) V^H``.

        Parameters
        ----------
        a : array, shape (..., n, n)
            Hermitian, both triangles filled, real or complex floating.

        Returns
        -------
        l : array, shape (..., n)
            Real eigenvalues, ascending.
        V : array, shape (..., n, n)
            Orthonormal eigenvectors in columns.
        """


class EigenvalueSolver(Solver, Protocol):
    """A solver that finds eigenvalues alone in less time."""

    def eigenvalues(self, a: Array, /) -> Array:
        """The first part of ``solve(a)``, to rounding."""


class DifferentiatedSolver(Protocol):
    """A solver whose derivative is its own and not that of the exact decomposition."""

    def solve(self, a: Array, /) -> tuple[Array, Array]: ...

    def vjp(self, a: Array, cotangents: tuple[Array | None, Array | None], /) -> Array:
        """The cotangent of `a` from those of ``(l, V)``, None for zero."""

    def jvp(self, a: Array, tangent: Array, /) -> tuple[Array, Array]:
        """The tangents of ``(l, V)`` from that of `a`."""


class RootSolver(Protocol):
    """A frozen value that finds square roots without eigenvalues, with the derivative of its own steps."""

    @property
    def residual(self) -> "ResidualPolicy":
        """What to do where the iteration has not converged."""

    def root(self, a: Array, /) -> tuple[Array, Array]:
        """The square root of `a`, which is Hermitian, and its inverse, shape (..., n, n) each."""

    def root_vjp(self, a: Array, cotangents: tuple[Array | None, Array | None], /) -> Array:
        """The cotangent of `a`, Hermitian, from those of root and inverse, None for zero."""

    def root_jvp(self, a: Array, tangent: Array, /) -> tuple[Array, Array]:
        """The tangents of root and inverse from that of `a`, whose Hermitian part counts."""


class ResidualPolicy(Protocol):
    """What to do with the residual of an iteration."""

    def judge(self, residual: Array, solver: RootSolver, /) -> None:
        """Look at the residuals of a solver, shape (...), whose values can be read."""


def without_looking(solver: Solver) -> Solver:
    """The solver in a form that looks at no value: what its method of this name gives, if it has one.

    A solver that holds others passes the question on to them.
    """
    return solver.without_looking() if hasattr(solver, "without_looking") else solver


def has_own_derivative(solver: Solver) -> TypeGuard[DifferentiatedSolver]:
    """Whether a solver is a `DifferentiatedSolver`."""
    return hasattr(solver, "vjp")


def require_complete(solver: Solver | RootSolver) -> None:
    """Raise unless a solver that has a root, or part of a derivative, has all that belongs to it."""
    needed: tuple[str, ...] = ()
    if hasattr(solver, "root"):
        needed = ("root", "root_vjp", "root_jvp", "residual")
    elif hasattr(solver, "vjp"):
        needed = ("solve", "vjp", "jvp")
    missing = [name for name in needed if not hasattr(solver, name)]
    if missing:
        raise TypeError(
            f"solver is {solver!r}, which has no {', '.join(missing)}, and all of {', '.join(needed)} are "
            "needed."
        )


def solved(solver: Solver, a: Array) -> tuple[Array, Array]:
    """The solver's answer, or an error if it is not a pair of arrays that goes with `a`."""
    answer = solver.solve(a)
    given = answer if isinstance(answer, tuple | list) else (answer,)
    if len(given) == 2:
        values, vectors = given
        fits = is_like(a, values) and is_like(a, vectors) and vectors.shape == a.shape
        if fits and values.shape == a.shape[:-1] and not is_complex(values):
            return values, vectors
    said = " and ".join(
        f"a {type(x).__name__} of shape {getattr(x, 'shape', None)} and dtype {getattr(x, 'dtype', None)}"
        for x in given
    )
    raise TypeError(
        f"{solver!r} answered with {said}, and for a {type(a).__name__} of shape {tuple(a.shape)} two of its "
        f"kind are needed: real eigenvalues of shape {tuple(a.shape[:-1])}, and eigenvectors in the columns "
        f"of {tuple(a.shape)}."
    )


def failed(values: Array, vectors: Array) -> Array:
    """Which matrices of the batch have a decomposition that is not finite, shape (...)."""
    xp = namespace(values)
    return ~(xp.all(xp.isfinite(values), axis=-1) & xp.all(xp.isfinite(vectors), axis=(-2, -1)))


def replaced(
    where: Array, by: tuple[Array, Array], decomposition: tuple[Array, Array]
) -> tuple[Array, Array]:
    """The decomposition, and another one for the matrices that a mask (...) marks."""
    xp = namespace(where)
    (values, vectors), (other_values, other_vectors) = decomposition, by
    return (
        xp.where(where[..., None], other_values, values),
        xp.where(where[..., None, None], other_vectors, vectors),
    )


def is_like(a: Array, x: object) -> bool:
    """Whether `x` is an array of the same library."""
    return type(x) is type(a) or (is_array(x) and namespace(x) is namespace(a))


def is_root_solver(solver: Solver | RootSolver) -> TypeGuard[RootSolver]:
    """Whether a solver is a `RootSolver`."""
    return hasattr(solver, "root")
