"""From NumPy's arrays to those of the library under test."""

from specgrad._typing import Array, Namespace
from specgrad.testing.matrices import Matrix

__all__ = ["on_device"]


def on_device(xp: Namespace, numbers: Matrix, device: object) -> Array:
    """An array of a library, whose ``asarray`` need not know of devices if none is named."""
    return xp.asarray(numbers) if device is None else xp.asarray(numbers, device=device)
