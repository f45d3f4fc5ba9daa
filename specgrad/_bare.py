"""NumPy's functions without their wrappers in Python, which cost more than small matrices do."""

from functools import cache, partial
from types import SimpleNamespace
from typing import Any

from specgrad._typing import Array, Namespace

__all__ = ["without_wrappers"]


@cache  # one for all types of arrays, so that `is` tells whether two are of the same library
def without_wrappers(numpy: Namespace) -> Namespace:
    """NumPy's namespace with bare functions for those that the formulas use most."""
    ufuncs = {"all": numpy.logical_and, "any": numpy.logical_or, "max": numpy.maximum, "min": numpy.minimum}
    ufuncs["sum"] = numpy.add
    reductions = {name: partial(ufunc.reduce, axis=None) for name, ufunc in ufuncs.items()}
    others = {"astype": _astype, "cumulative_sum": numpy.cumsum, "flip": _flip, "reshape": _reshape}
    return SimpleNamespace(**{**vars(numpy), **reductions, **others})


def _astype(x: Array, dtype: Any) -> Array:
    return x.astype(dtype)


def _flip(x: Array, *, axis: int) -> Array:
    before = (slice(None),) * (axis % x.ndim)
    return x[(*before, slice(None, None, -1))]


def _reshape(x: Array, shape: tuple[int, ...]) -> Array:
    return x.reshape(shape)
