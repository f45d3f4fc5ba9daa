"""Warnings that name the place in the code of the caller, once each."""

import sys
import warnings
from typing import Any

from specgrad._namespace import libraries

__all__ = ["warn_once"]

_WARNED: set[tuple[type[Warning], str, int]] = set()


def warn_once(message: str, category: type[Warning]) -> None:
    """Warn once for each place in the code of the caller, unless the filters ask for more or for nothing.

    Frames of array libraries are not the caller's.
    """
    inside = {__package__, *libraries()}
    frame = sys._getframe(1)
    while frame.f_back is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in inside and not package.startswith(f"{__package__}_"):  # of an adapter
            break
        frame = frame.f_back
    site = (category, frame.f_code.co_filename, frame.f_lineno)
    if site in _WARNED:
        return
    shown: dict[Any, Any] = {}
    warnings.warn_explicit(message, category, *site[1:], registry=shown)
    if any(
        isinstance(key, tuple) for key in shown
    ):  # where filters show it each time, or never, it is not kept
        _WARNED.add(site)
