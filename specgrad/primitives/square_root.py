"""The square roots of a Hermitian matrix by a solver that knows no eigenvalues, as a primitive."""

from dataclasses import dataclass
from functools import cached_property

from specgrad._array import hermitian_part
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.portable import portable_methods
from specgrad.solvers import RootSolver

__all__ = ["SquareRoot"]


@dataclass(frozen=True)
class SquareRoot:
    """``A -> (X, B)``, or the other way round if the inverse is wanted: root, inverse root.

    Parameters
    ----------
    solver : RootSolver
    inverse_first : bool
        Whether the inverse square root is the result, and the square root the auxiliary output.
    """

    solver: RootSolver
    inverse_first: bool

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return portable_methods(self.solver)

    def forward(self, a: Array) -> Arrays:
        return self._ordered(self.solver.root(hermitian_part(a)))

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        root, inverse = self._ordered(cotangents)
        if root is None and inverse is None:
            return (None,)
        return (self.solver.root_vjp(hermitian_part(arrays[0]), (root, inverse)),)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        return self._ordered(self.solver.root_jvp(hermitian_part(arrays[0]), tangents[0]))

    def _ordered(self, pair: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """``(root, inverse)`` in the order of the outputs, and back."""
        return pair[::-1] if self.inverse_first else pair
