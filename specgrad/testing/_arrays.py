"""From NumPy's arrays to those of the library under test."""

from typing import Any

import numpy as np

from specgrad._namespace import namespace
from specgrad._typing import Array, Namespace
from specgrad.testing.matrices import Matrix

__all__ = ["copied", "is_unchanged", "numpy_dtype", "on_device", "random_like", "require_precision"]


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


def random_like(x: Array, generator: np.random.Generator) -> Array:
    """Normally distributed numbers in shape, dtype and place of an array."""
    numbers = generator.standard_normal(tuple(x.shape))
    if namespace(x).isdtype(x.dtype, "complex floating"):
        numbers = numbers + 1j * generator.standard_normal(tuple(x.shape))
    return namespace(x).asarray(numbers.astype(numpy_dtype(x)), dtype=x.dtype, device=x.device)


def numpy_dtype(x: Array) -> Any:
    xp = namespace(x)
    for name in ("float32", "float64", "complex64", "complex128"):
        if x.dtype == getattr(xp, name):
            return np.dtype(name)
    raise TypeError(f"The kit knows float32, float64, complex64 and complex128, and was given {x.dtype}.")
