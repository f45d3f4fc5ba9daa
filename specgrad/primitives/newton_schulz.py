"""Newton-Schulz iteration as a primitive."""

from dataclasses import dataclass

from specgrad._array import hermitian_part
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import newton_schulz

__all__ = ["NewtonSchulzRoot"]


@dataclass(frozen=True)
class NewtonSchulzRoot:
    """``A -> (X, B)``, or the other way round if the inverse is wanted: root, inverse root.

    Parameters
    ----------
    steps : int
    inverse_first : bool
        Whether the inverse square root is the result, and the square root the auxiliary output.
    """

    steps: int
    inverse_first: bool

    def forward(self, a: Array) -> Arrays:
        return self._ordered(newton_schulz.forward(hermitian_part(a), self.steps))

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        root, inverse = self._ordered(cotangents)
        if root is None and inverse is None:
            return (None,)
        return (newton_schulz.vjp(hermitian_part(arrays[0]), self.steps, root, inverse),)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        return self._ordered(newton_schulz.jvp(hermitian_part(arrays[0]), self.steps, tangents[0]))

    def _ordered(self, pair: tuple[Array | None, ...]) -> tuple[Array | None, ...]:
        """``(root, inverse)`` in the order of the outputs, and back."""
        return pair[::-1] if self.inverse_first else pair
