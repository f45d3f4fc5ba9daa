"""What a cotangent or a tangent is measured by: the form of the array that it belongs to."""

from dataclasses import dataclass
from typing import Any

from specgrad._array import device
from specgrad._namespace import is_array, is_complex, namespace
from specgrad._typing import Array, Namespace

__all__ = ["Form"]


@dataclass(frozen=True)
class Form:
    """What there is to know of an array without keeping it, and its memory.

    Parameters
    ----------
    kind : type
    xp : Namespace
    shape : tuple of int
    dtype, device
    is_complex : bool
    """

    kind: type
    xp: Namespace
    shape: tuple[int, ...]
    dtype: Any
    device: Any
    is_complex: bool

    @classmethod
    def of(cls, array: Array) -> "Form":
        """The form of an array."""
        shape, place = tuple(array.shape), device(array)
        return cls(type(array), namespace(array), shape, array.dtype, place, is_complex(array))

    def require(self, given: Array, what: str) -> None:
        """Raise unless an array is of the same library and shape, and real if this is."""
        if not is_array(given) or namespace(given) is not self.xp:
            raise TypeError(
                f"{what} is a {type(given).__module__}.{type(given).__name__}, and an array like what it "
                f"belongs to is needed, a {self.kind.__module__}.{self.kind.__name__}."
            )
        if is_complex(given) and not self.is_complex:
            raise TypeError(
                f"{what} has dtype {given.dtype}, and what it belongs to is real: take the real part."
            )
        if tuple(given.shape) != self.shape:
            raise ValueError(f"{what} has shape {tuple(given.shape)}, and {self.shape} is needed.")

    def fitted(self, array: Array | None) -> Array:
        """An array of this shape in this precision; zeros for None."""
        if array is None:
            return self.xp.zeros(self.shape, dtype=self.dtype, device=self.device)
        return array if array.dtype == self.dtype else self.xp.astype(array, self.dtype)
