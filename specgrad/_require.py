"""Checks of what frozen values are made of: numbers, and choices that are values themselves.

A compiler may build a value again with stand-ins for its numbers, which cannot be compared. The numbers
themselves were checked before.
"""

from collections.abc import Callable
from math import inf
from numbers import Integral, Real
from typing import Any

__all__ = [
    "as_nonnegative",
    "as_number",
    "as_whole",
    "require",
    "require_above",
    "require_at_least",
    "require_method",
    "require_whole",
]


_PYTHON: tuple[type, ...] = (bool, int, float)


def require(value: object, name: str, needed: str, holds: Callable[[Any], bool]) -> None:
    """Raise unless `holds` is true of a number of a value, or it is None and that is its default.

    The number is kept as Python's own: those of NumPy would widen the arrays that they meet.
    """
    given = getattr(value, name)
    number = given if isinstance(given, Real) else _out_of_array(given)
    optional = getattr(type(value), name, 0) is None  # a dataclass keeps defaults on the class
    error: type[Exception]
    if isinstance(number, Real):
        error, wrong = ValueError, not holds(number)
    else:
        error, wrong = TypeError, not _may_be_stand_in(number) and not (number is None and optional)
    if wrong:
        needed = f"{needed}, or None," if optional else needed
        raise error(f"{type(value).__name__} needs {needed} for {name}, not {number!r}{_advice(number)}.")
    if isinstance(number, Real) and (number is not given or type(number) not in _PYTHON):
        object.__setattr__(value, name, _of_python(number))


def as_number(number: Any, argument: str) -> float:
    """An argument as a finite number of Python's own, or an error that names it."""
    if type(number) not in _PYTHON and not isinstance(number := _out_of_array(number), Real):
        raise TypeError(f"{argument} is {number!r}, and a number is needed{_advice(number)}.")
    if not -inf < number < inf:
        raise ValueError(f"{argument} is {number}, and a finite number is needed.")
    return _of_python(number)


def as_nonnegative(number: Any, argument: str) -> float:
    """An argument as a finite number of at least 0, of Python's own, or an error that names it."""
    found = as_number(number, argument)
    if found < 0:
        raise ValueError(f"{argument} is {number}, and a number of at least 0 is needed.")
    return found


def as_whole(number: Any, argument: str, least: int) -> int:
    """An argument as an integer of Python's own, `least` or larger, or an error that names it."""
    if not _is_whole(found := _out_of_array(number), least):
        error = ValueError if _is_whole(found, -inf) else TypeError
        raise error(f"{argument} is {number!r}, and an integer of at least {least} is needed.")
    return int(found)


def require_above(least: float, value: object, name: str) -> None:
    """Raise unless a number of a value is larger than `least`."""
    require(value, name, f"a number above {least:g}", lambda number: bool(number > least))


def require_at_least(least: float, value: object, name: str) -> None:
    """Raise unless a number of a value is `least` or larger."""
    require(value, name, f"a number of at least {least:g}", lambda number: bool(number >= least))


def require_whole(least: int, value: object, name: str) -> None:
    """Raise unless a number of a value is an integer, also by type, no truth value, and `least` or larger."""

    require(value, name, f"an integer of at least {least}", lambda number: _is_whole(number, least))


def require_method(value: object, method: str, argument: str, example: str) -> None:
    """Raise unless a choice is a value that can do what is asked of it."""
    if isinstance(value, type):
        raise TypeError(
            f"{argument} is the class {value.__name__}, and a value is needed, such as {example}."
        )
    if not hasattr(value, method):
        raise TypeError(
            f"{argument} is {value!r}, and a value with a method {method} is needed, such as {example}."
        )


def _is_whole(number: Any, least: float) -> bool:
    return type(number) is not bool and isinstance(number, Integral) and bool(number >= least)  # type: ignore[operator]


def _axes(number: object) -> int:
    """How many axes an array has; -1 for anything else, such as a stand-in with an answer to everything."""
    axes = getattr(number, "ndim", -1)
    return axes if isinstance(axes, int) else -1


def _advice(number: object) -> str:
    if _is_learnt(number):
        return ": no gradient flows to it, so convert it by float(), or let it scale or move the matrix"
    is_array = _axes(number) == 0 and not isinstance(number, Real)
    return ": convert it by float(), or let it scale or move the matrix if it is traced" if is_array else ""


def _is_learnt(number: object) -> bool:
    return getattr(number, "requires_grad", False) is True


def _out_of_array(given: Any) -> Any:
    """The number in an array of NumPy's without axes; anything else as it is."""
    return given.item() if _axes(given) == 0 and hasattr(given, "__array_interface__") else given


def _may_be_stand_in(number: object) -> bool:
    """Whether a compiler may have put it there, and not somebody who took it for a number."""
    is_of_python = type(number).__module__ in ("builtins", "datetime", "decimal")
    return not (is_of_python or _is_array(number) or _is_learnt(number))


def _is_array(number: object) -> bool:
    """Whether it is an array that is not seen as a number: with axes, or of a library other than NumPy."""
    if _axes(number) == 0:
        return hasattr(number, "__array_namespace__") and not hasattr(number, "__array_interface__")
    return _axes(number) > 0


def _of_python(number: Any) -> float:
    if type(number) in _PYTHON:
        return number  # type: ignore[no-any-return]
    return int(number) if isinstance(number, Integral) else float(number)
