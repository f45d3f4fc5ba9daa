"""From NumPy's arrays to those of the library under test."""

from specgrad._array import namespace
from specgrad._typing import Array, Namespace
from specgrad.testing.matrices import Matrix

__all__ = ["copied", "is_unchanged", "on_device", "require_precision"]


def on_device(xp: Namespace, numbers: Matrix, device: object) -> Array:
    """An array of a library, whose ``asarray`` need not know of devices if none is named."""
    array = xp.asarray(numbers) if device is None else xp.asarray(numbers, device=device)
    require_precision(array, numbers.dtype.name)
    return array


def require_precision(array: Array, dtype: str) -> None:
    """Raise if an array that was made with this dtype has another one."""
    found = str(array.dtype).rpartition(".")[2]
    if found != dtype:
        raise ValueError(
            f"The array library gave {found} for {dtype}, and the check needs what it asks for: let the "
            "library keep double precision, if that is an option of it, or check single precision with "
            'dtypes=("float32", "complex64").'
        )


def copied(array: Array) -> Array:
    """An array that nobody else can write into."""
    return namespace(array).asarray(array, copy=True)


def is_unchanged(array: Array, before: Array) -> bool:
    """Whether an array is that of which a copy was made."""
    return bool(namespace(array).all(array == before))
