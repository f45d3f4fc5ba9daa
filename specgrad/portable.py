"""Which values hold for arrays of any library: those of this one, as plug-ins may be written for one."""

__all__ = ["are_portable"]

_NUMBERS = frozenset((type(None), bool, int, float, complex))
_OWN: dict[type, bool] = {}


def are_portable(*parts: object) -> bool:
    """Whether all parts of a primitive, and what they hold, are this library's own, or numbers."""
    for part in parts:
        kind = type(part)
        if kind in _NUMBERS:
            continue
        if kind not in _OWN:
            _OWN[kind] = kind.__module__.partition(".")[0] == __name__.partition(".")[0]
        if not _OWN[kind] or not are_portable(*vars(part).values()):
            return False
    return True
