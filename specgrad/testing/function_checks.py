"""What a function of eigenvalues must satisfy: its divided differences, ties and close pairs included."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from specgrad._namespace import namespace
from specgrad._typing import Array, Namespace
from specgrad.functions import MatrixFunction
from specgrad.testing._arrays import copied, is_unchanged, on_device

__all__ = ["check_function"]

# Rounding errors of a difference, which is a few operations on values and their images.
_ROUNDINGS = 512
# Arguments closer than this, relative to their size, are compared with a derivative in their middle: the
# quotients of others lose few digits of double precision.
_CLOSE = 2.0**-20
# Beside each point, others at these relative distances: a close one, and one closer than single precision.
_BESIDE = (2.0**-12, 2.0**-30)
_DOUBLE = float(np.finfo(np.float64).eps)
# Each argument along an axis of its own.
_AXES = ((-1, 1, 1), (1, -1, 1), (1, 1, -1))

_Numbers: TypeAlias = npt.NDArray[np.float64]


def check_function(
    function: MatrixFunction,
    xp: Namespace,
    *,
    points: Sequence[float] = (0.2, 0.7, 1.0, 3.0, 10.0),
    dtypes: Sequence[str] = ("float32", "float64"),
    device: object = None,
) -> None:
    r"""Check the divided differences of a function of eigenvalues at pairs and triples of points.

    ``f[x, y]`` is compared with the difference quotient of the function in double precision, and at ties and
    for close arguments with its central difference; ``f[x, y, z]``, where the function has a method
    ``second_divided_difference``, with quotients of ``f[x, y]`` in the same way. Arguments broadcast, come in
    every order, and are left as they were.

    Parameters
    ----------
    function : MatrixFunction
    xp : module
        Of the array library, with ``asarray`` of NumPy arrays: `numpy`, `torch`, `jax.numpy`, ...
    points : sequence of float
        Inside the function's domain, with its neighbourhood, and at no kink, as a `Clamped` has at its
        minimum. Others are placed close beside each. The magnitude of a point, 1 for 0, is taken for the
        distance over which the function changes by its own size: where it is much shorter than that, little
        is checked.
    dtypes : sequence of str
    device : device of the array library, optional

    Raises
    ------
    AssertionError
        With the arguments, what was measured, and what is needed to within what is allowed.
    ValueError
        If a point is outside the domain of the function, or the library has no double precision.

    Examples
    --------
    >>> import numpy as np
    >>> from specgrad import Power
    >>> from specgrad.testing import check_function
    >>> check_function(Power(1 / 3), np)
    """
    scales = np.array([abs(p) or 1.0 for p in points for _ in (0.0, *_BESIDE)])
    numbers = np.repeat(points, 1 + len(_BESIDE)) + scales * np.tile((0.0, *_BESIDE), len(points))

    def of(method: Callable[..., Array], *arguments: _Numbers) -> _Numbers:
        """The method in double precision."""
        return _numbers(method(*(on_device(xp, x, device) for x in arguments)))

    with np.errstate(all="ignore"):
        images = of(function, numbers)
    if not np.isfinite(images).all():
        raise ValueError(
            f"{function!r} is not finite at, or close beside, all points of {tuple(points)}, and points "
            "inside its domain are needed: pass some as points=."
        )
    for dtype in dtypes:
        values = numbers.astype(dtype)
        x, y, z = (values.astype(np.float64).reshape(shape) for shape in _AXES)
        of_x, of_y, of_z = (scales.reshape(shape) for shape in _AXES)
        precision, smallest = float(np.finfo(dtype).eps), float(np.finfo(dtype).smallest_normal)
        least, scale = smallest / precision, np.maximum(of_x, of_y)
        needed, size, unsure = _first(lambda u: of(function, u), x, y, scale, least)
        allowed = (_ROUNDINGS * precision + 1e3 * _DOUBLE ** (2 / 3)) * size + unsure
        _compare(function, "divided_difference", xp, device, dtype, (x, y), needed, allowed)
        if not hasattr(function, "second_divided_difference"):
            continue
        scale = np.maximum(scale, of_z)
        differences = partial(of, function.divided_difference)
        needed, size, unsure = _second(differences, x, y, z, scale, least)
        allowed = (_ROUNDINGS * precision ** (2 / 3) + 1e3 * _DOUBLE ** (2 / 3)) * size + unsure
        _compare(function, "second_divided_difference", xp, device, dtype, (x, y, z), needed, allowed)


def _first(
    f: Callable[[_Numbers], _Numbers], x: _Numbers, y: _Numbers, scale: _Numbers, least: float
) -> tuple[_Numbers, _Numbers, _Numbers]:
    """``f[x, y]``, the size of what it is made of, no image less than `least`, and how far it may be off."""
    close = abs(x - y) < _CLOSE * scale
    slope, unsure = _slope(f, (x + y) / 2, scale)
    f_x, f_y = f(x), f(y)
    found = np.where(close, slope, (f_x - f_y) / np.where(close, 1.0, x - y))
    return found, abs(found) + (abs(f_x) + abs(f_y) + least) / scale, np.where(close, unsure, 0.0)


def _second(
    difference: Callable[[_Numbers, _Numbers], _Numbers],
    x: _Numbers,
    y: _Numbers,
    z: _Numbers,
    scale: _Numbers,
    least: float,
) -> tuple[_Numbers, _Numbers, _Numbers]:
    """``f[x, y, z]`` from ``f[x, y]``, and the same of it."""
    low, middle, high = np.moveaxis(np.sort(np.stack(np.broadcast_arrays(x, y, z), axis=-1)), -1, 0)
    close = high - low < _CLOSE * scale
    curvature, unsure = _slope(lambda u: difference(u, u) / 2, (low + middle + high) / 3, scale)
    first, last = difference(low, middle), difference(middle, high)
    found = np.where(close, curvature, (last - first) / np.where(close, 1.0, high - low))
    return found, abs(found) + (abs(first) + abs(last) + least) / scale, np.where(close, unsure, 0.0)


def _slope(f: Callable[[_Numbers], _Numbers], x: _Numbers, scale: _Numbers) -> tuple[_Numbers, _Numbers]:
    """The central difference of ``f``, and how much another step changes it."""
    slope, other = (
        (f(x + step) - f(x - step)) / (2 * step)
        for step in (_DOUBLE ** (1 / 3) * scale, 2 * _DOUBLE ** (1 / 3) * scale)
    )
    return slope, abs(other - slope)


def _compare(
    function: MatrixFunction,
    method: str,
    xp: Namespace,
    device: object,
    dtype: str,
    arguments: tuple[_Numbers, ...],
    needed: _Numbers,
    allowed: _Numbers,
) -> None:
    """Raise unless the method gives what is needed."""
    name = f"{function!r}: {method}"
    given = [on_device(xp, x.astype(dtype), device) for x in arguments]
    kept = [copied(x) for x in given]
    try:
        found = getattr(function, method)(*given)
    except Exception as error:  # whatever a plug-in raises is a finding
        raise AssertionError(f"{name} raises {type(error).__name__}: {error}") from error
    if not all(is_unchanged(x, before) for x, before in zip(given, kept, strict=True)):
        raise AssertionError(f"{name} writes into its arguments, which belong to the caller.")
    if tuple(found.shape) != needed.shape or found.dtype != given[0].dtype:
        raise AssertionError(
            f"{name} has shape {tuple(found.shape)} and dtype {found.dtype}, and {needed.shape}, to which "
            f"its arguments broadcast, and {given[0].dtype} are needed."
        )
    excess = abs(_numbers(found) - needed) - allowed
    worst = np.unravel_index(np.argmax(np.where(np.isnan(excess), np.inf, excess)), excess.shape)
    if not excess[worst] <= 0:  # NaN fails
        at = ", ".join(f"{np.broadcast_to(x, needed.shape)[worst]:.9g}" for x in arguments)
        raise AssertionError(
            f"{name} at ({at}) in {dtype} is {_numbers(found)[worst]:.9g}, and {needed[worst]:.9g} to within "
            f"{allowed[worst]:.2g} is needed."
        )


def _numbers(x: Array) -> _Numbers:
    """A real array of any library as NumPy's, in double precision."""
    xp = namespace(x)
    flat = xp.reshape(xp.astype(x, xp.float64), (-1,))
    return np.array([float(flat[k]) for k in range(flat.shape[0])]).reshape(tuple(x.shape))
