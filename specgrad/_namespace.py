"""What is known of an array without looking at its entries: its library and its precision.

The one module that imports array_api_compat.
"""

from typing import Any, NamedTuple

from array_api_compat import array_namespace, is_lazy_array, is_numpy_namespace

from specgrad._bare import without_wrappers
from specgrad._typing import Array, Namespace

__all__ = [
    "eps",
    "is_array",
    "is_complex",
    "is_floating",
    "is_half",
    "is_readable",
    "is_single",
    "libraries",
    "namespace",
    "smallest_normal",
]

_ARRAYS: dict[type, bool] = {}
_NAMESPACES: dict[type, Namespace] = {}
_STAND_INS: dict[type, bool] = {}
_PRECISIONS: dict[type, dict[Any, "_Precision"]] = {}
_DLPACK_CPU = 1
# Arrays that the formulas would misread: `*` is a matrix product, entries are masked, or storage is sparse.
_OTHER_MEANINGS = ("numpy.matrix", ".Masked", "scipy.sparse.")


def is_array(x: object) -> bool:
    """Whether `x` looks like an ordinary dense array, of whatever library."""
    kind = type(x)
    if kind not in _ARRAYS:
        bases = (f"{base.__module__}.{base.__name__}" for base in kind.__mro__)
        _ARRAYS[kind] = not any(other in name for name in bases for other in _OTHER_MEANINGS)
    return _ARRAYS[kind] and hasattr(x, "dtype") and hasattr(x, "shape") and hasattr(x, "ndim")


def namespace(array: Array) -> Namespace:
    """The array API namespace of an array."""
    # The look-up costs as much as an operation on a small matrix; a type's answer never changes.
    kind = type(array)
    if kind not in _NAMESPACES:
        xp = array_namespace(array)
        _NAMESPACES[kind] = without_wrappers(xp) if is_numpy_namespace(xp) else xp
    return _NAMESPACES[kind]


def libraries() -> set[str]:
    """The packages of the arrays seen so far, and of their functions, which may lie in another one."""
    seen = list(_NAMESPACES.items())  # other threads may add to them
    return {name.partition(".")[0] for kind, xp in seen for name in (_base(kind).__module__, xp.__name__)}


def _base(kind: type) -> type:
    """The type of arrays that a type is derived from, perhaps by the caller, or itself."""
    bases = (base for base in reversed(kind.__mro__) if hasattr(base, "__dlpack_device__"))
    return next(bases, kind)


def is_readable(x: Array) -> bool:
    """Whether the values of `x` can be looked at cheaply: in host memory, and neither lazy nor traced."""
    kind = type(x)
    if kind not in _STAND_INS:
        # A subclass of an array type may be a stand-in without values, as fake tensors are; NumPy's are not.
        _STAND_INS[kind] = _base(kind) is not kind and not hasattr(x, "__array_interface__")
    if _STAND_INS[kind] or is_lazy_array(x):
        return False
    if hasattr(x, "__array_interface__"):  # NumPy's scalars, which have no device
        return True
    try:
        return bool(x.__dlpack_device__()[0] == _DLPACK_CPU)
    except Exception:  # a batched array's refusal has a different type in each library
        return False


class _Precision(NamedTuple):
    eps: float
    smallest_normal: float
    bits: int
    is_floating: bool
    is_complex: bool


def _precision(x: Array) -> _Precision:
    # Asked for many times in each derivative, and slow to find out. By type first: the dtypes of different
    # libraries do not like to be compared. In two steps, as compilers guard the whole of a dictionary whose
    # keys are tuples.
    kind, dtype = type(x), x.dtype
    if kind not in _PRECISIONS:
        _PRECISIONS[kind] = {}
    known = _PRECISIONS[kind]
    if dtype not in known:
        known[dtype] = _look_up(x)
    return known[dtype]


def _look_up(x: Array) -> _Precision:
    xp = namespace(x)
    try:
        is_complex = bool(xp.isdtype(x.dtype, "complex floating"))
    except TypeError as error:
        raise TypeError(
            f"The array API of {type(x).__module__} does not know dtype {x.dtype}: convert first, for "
            "instance to float32."
        ) from error
    is_floating = is_complex or bool(xp.isdtype(x.dtype, "real floating"))
    info = xp.finfo(x.dtype if is_floating else xp.float64)
    is_floating = is_floating and int(info.bits) <= 64  # no library decomposes in more
    return _Precision(float(info.eps), float(info.smallest_normal), int(info.bits), is_floating, is_complex)


def eps(x: Array) -> float:
    """Distance from 1 to the next number in the (real) precision of `x`."""
    return _precision(x).eps


def smallest_normal(x: Array) -> float:
    """The smallest number with full precision, in the (real) precision of `x`."""
    return _precision(x).smallest_normal


def is_floating(x: Array) -> bool:
    """Whether the dtype of `x` is real or complex floating, of double precision at most."""
    return _precision(x).is_floating


def is_half(x: Array) -> bool:
    """Whether `x` has one of the half precisions, which no decomposition is computed in."""
    return _precision(x).bits < 32


def is_single(x: Array) -> bool:
    """Whether the dtype of `x` has single precision, real or complex."""
    return _precision(x).bits == 32


def is_complex(x: Array) -> bool:
    """Whether the dtype of `x` is complex."""
    return _precision(x).is_complex
