"""Where a matrix of a batch is, for messages."""

from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["batch_index", "first_index", "place"]


def place(index: tuple[int, ...], groups: int | None = None) -> str:
    """Where a matrix is, in words; the last axis of its batch may be groups of variables to the caller."""
    if groups is None:
        return f"batch index {index}"
    *batch, group = index
    found = f"batch index {tuple(batch)}"
    return found if groups == 1 else f"{found}, group {group},"


def first_index(failed: Array) -> tuple[int, ...]:
    """The index of the first True."""
    xp = namespace(failed)
    return batch_index(int(xp.argmax(xp.astype(xp.reshape(failed, (-1,)), xp.int8))), failed.shape)


def batch_index(position: int, batch: tuple[int, ...]) -> tuple[int, ...]:
    """The index in a batch of the matrix at a position of the flattened batch."""
    index: list[int] = []
    for length in reversed(batch):
        position, remainder = divmod(position, length)
        index.insert(0, remainder)
    return tuple(index)
