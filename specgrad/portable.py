"""Which primitives hold for arrays of any library: those made of this one's own parts.

A plug-in may be written for one library, whatever it is given here.
"""

from collections.abc import Iterable
from typing import cast

__all__ = ["portable_methods"]

_BOTH = ("forward", "vjp")
_NUMBERS = frozenset((type(None), bool, int, float, complex))
_OWN: dict[type, bool] = {}


def portable_methods(*parts: object) -> tuple[str, ...]:
    """The portable methods of a primitive that has these parts: both, or none."""
    return _BOTH if _are_own(parts) else ()


def _are_own(parts: Iterable[object]) -> bool:
    """Whether all parts, and what they hold, are numbers or of this library."""
    for part in parts:
        kind = type(part)
        if kind in _NUMBERS or (kind is tuple and _are_own(cast(tuple[object, ...], part))):
            continue
        if kind not in _OWN:
            _OWN[kind] = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
        if not _OWN[kind] or not _are_own(vars(part).values()):
            return False
    return True
