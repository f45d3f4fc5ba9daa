"""Checks of the numbers that frozen values are made of.

A compiler may build a value again with stand-ins for its numbers, which cannot be compared. The numbers
themselves were checked before.
"""

__all__ = ["require_above", "require_whole"]


def require_above(least: float, value: object, name: str) -> None:
    """Raise unless a number of a value is larger than `least`; None leaves it to the value."""
    number = getattr(value, name)
    if isinstance(number, int | float) and not number > least:
        raise ValueError(f"{type(value).__name__} needs a {name} above {least:g}, not {number!r}.")


def require_whole(least: int, value: object, name: str) -> None:
    """Raise unless a number of a value is whole and at least `least`."""
    number = getattr(value, name)
    if isinstance(number, int | float) and (number != int(number) or number < least):
        raise ValueError(
            f"{type(value).__name__} needs a {name} that is a whole number, at least {least}, not {number!r}."
        )
