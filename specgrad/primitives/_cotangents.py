"""Arithmetic of cotangents, where None stands for zero."""

from specgrad._typing import Array

__all__ = ["add"]


def add(first: Array | None, second: Array | None) -> Array | None:
    """The sum of two cotangents."""
    if first is None or second is None:
        return second if first is None else first
    return first + second
