"""Warnings that name the place in the code of the caller, once each."""

import sys
import warnings
from typing import Any

from specgrad._array import libraries

__all__ = ["warn_once"]

_SHOWN: dict[tuple[type[Warning], str, int], dict[Any, Any]] = {}


def warn_once(message: str, category: type[Warning]) -> None:
    """Warn once for each place in the code of the caller, unless the filters ask for more.

    Frames of array libraries are not the caller's.
    """
    inside = {__package__, *libraries()}
    frame = sys._getframe(1)
    while frame.f_back is not None:
        package = frame.f_globals.get("__name__", "").partition(".")[0]
        if package not in inside and not package.startswith(f"{__package__}_"):  # of an adapter
            break
        frame = frame.f_back
    filename, line = frame.f_code.co_filename, frame.f_lineno
    shown = _SHOWN.setdefault((category, filename, line), {})
    # Python's registry of what was shown holds the text, and the numbers in ours differ from call to call.
    for key in [key for key in shown if isinstance(key, tuple)]:
        shown[message, category, line] = shown.pop(key)
    warnings.warn_explicit(message, category, filename, line, registry=shown)
