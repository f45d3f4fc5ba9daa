"""Arithmetic of cotangents, where None stands for zero."""

from specgrad._array import real_part
from specgrad._namespace import is_complex, namespace
from specgrad._typing import Array

__all__ = ["add", "fitted"]


def add(first: Array | None, second: Array | None) -> Array | None:
    """The sum of two cotangents."""
    if first is None or second is None:
        return second if first is None else first
    return first + second


def fitted(cotangent: Array, array: Array) -> Array:
    """The cotangent of an array that was broadcast, or taken for complex."""
    if not is_complex(array):
        cotangent = real_part(cotangent)
    shape, given = tuple(array.shape), tuple(cotangent.shape)
    if given == shape:
        return cotangent
    xp, more = namespace(cotangent), len(given) - len(shape)
    broadcast = tuple(k for k in range(len(given)) if k < more or shape[k - more] != given[k])
    return xp.reshape(xp.sum(cotangent, axis=broadcast, keepdims=True), shape)
