"""What a function of eigenvalues must satisfy: its divided differences, ties and close pairs included."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from specgrad._array import namespace
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
        Inside the function's domain, with its neighbourhood. Others are placed close beside each.
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
    numbers = np.array([p * (1 + d) for p in points for d in (0.0, *_BESIDE)])

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
        x, y, z = (values.astype(np.float64).reshape(shape) for shape in ((-1, 1, 1), (1, -1, 1), (1, 1, -1)))
        precision = float(np.finfo(dtype).eps)
        needed, size = _first(lambda u: of(function, u), x, y)
        allowed = (_ROUNDINGS * precision + 1e3 * _DOUBLE ** (2 / 3)) * size
        _compare(function, "divided_difference", xp, device, dtype, (x, y), needed, allowed)
        if not hasattr(function, "second_divided_difference"):
            continue
        needed, size = _second(lambda u, v: of(function.divided_difference, u, v), x, y, z)
        allowed = (_ROUNDINGS * precision ** (2 / 3) + 1e3 * _DOUBLE ** (2 / 3)) * size
        _compare(function, "second_divided_difference", xp, device, dtype, (x, y, z), needed, allowed)


def _first(f: Callable[[_Numbers], _Numbers], x: _Numbers, y: _Numbers) -> tuple[_Numbers, _Numbers]:
    """``f[x, y]``, and the size of what it is made of."""
    scale = np.maximum(abs(x), abs(y))
    close = abs(x - y) < _CLOSE * scale
    step = _DOUBLE ** (1 / 3) * scale
    middle = (x + y) / 2
    slope = (f(middle + step) - f(middle - step)) / (2 * step)
    f_x, f_y = f(x), f(y)
    quotient = (f_x - f_y) / np.where(close, 1.0, x - y)
    found = np.where(close, slope, quotient)
    return found, abs(found) + (abs(f_x) + abs(f_y)) / scale


def _second(
    difference: Callable[[_Numbers, _Numbers], _Numbers], x: _Numbers, y: _Numbers, z: _Numbers
) -> tuple[_Numbers, _Numbers]:
    """``f[x, y, z]`` from ``f[x, y]``, and the size of what it is made of."""
    low, middle, high = np.moveaxis(np.sort(np.stack(np.broadcast_arrays(x, y, z), axis=-1)), -1, 0)
    scale = np.maximum(abs(low), abs(high))
    close = high - low < _CLOSE * scale
    step = _DOUBLE ** (1 / 3) * scale
    above, below = ((low + middle + high) / 3 + s for s in (step, -step))
    curvature = (difference(above, above) - difference(below, below)) / (4 * step)
    first, last = difference(low, middle), difference(middle, high)
    quotient = (last - first) / np.where(close, 1.0, high - low)
    found = np.where(close, curvature, quotient)
    return found, abs(found) + (abs(first) + abs(last)) / scale


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
