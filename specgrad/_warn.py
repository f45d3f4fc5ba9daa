"""Warnings that name the place in the code of the caller, once each."""

import sys
import warnings

from specgrad._array import libraries

__all__ = ["warn_once"]

_WARNED: set[tuple[type[Warning], str, int]] = set()


def warn_once(message: str, category: type[Warning]) -> None:
    """Warn once for each place in the code of the caller, however often the library comes by there.

    Frames of array libraries are not the caller's.
    """
    inside = {__package__, *map(_package, libraries())}
    frame = sys._getframe(1)
    while frame.f_back is not None:
        package = _package(frame.f_globals.get("__name__", ""))
        if package not in inside and not package.startswith(f"{__package__}_"):  # of an adapter
            break
        frame = frame.f_back
    site = (category, frame.f_code.co_filename, frame.f_lineno)
    if site not in _WARNED:
        _WARNED.add(site)
        warnings.warn_explicit(message, category, *site[1:])


def _package(module: str) -> str:
    return module.partition(".")[0]
