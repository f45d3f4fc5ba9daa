"""Checks of arguments, with errors that say what was given, what is needed and what to do."""

from specgrad._array import adjoint, is_array, is_complex, is_floating, is_half, namespace
from specgrad._typing import Array

__all__ = ["computing_precision", "is_exactly_hermitian", "require_matrices"]


def require_matrices(a: Array, name: str) -> None:
    """Raise unless `a` is an array of square matrices with a floating dtype."""
    if not is_array(a):
        raise TypeError(
            f"{name} is a {type(a).__name__}, and an array is needed, of a library that follows the "
            "array API standard: convert it first, for instance with numpy.asarray."
        )
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(
            f"{name} has shape {tuple(a.shape)}, and square matrices in the last two axes are needed: "
            "(..., n, n)."
        )
    if not is_floating(a):
        raise TypeError(
            f"{name} has dtype {a.dtype} and shape {tuple(a.shape)}, and a real or complex floating "
            "dtype is needed: convert it first, for instance to float64."
        )


def computing_precision(a: Array) -> Array:
    """`a` in the precision to compute in: float32 for the half precisions, else its own."""
    if not is_half(a):
        return a
    xp = namespace(a)
    return xp.astype(a, xp.complex64 if is_complex(a) else xp.float32)


def is_exactly_hermitian(a: Array, name: str, precision: float) -> bool:
    """Whether all is Hermitian to the last bit; raise if not finite, or clearly not Hermitian.

    `a` must be readable. `precision` is the relative rounding of its entries; the square root of that
    separates rounding from meaning.
    """
    xp = namespace(a)
    difference = a - adjoint(a)
    if bool(xp.all(difference == 0)):  # not so for NaN nor, as inf - inf, for infinities
        return True
    asymmetry = xp.max(xp.abs(difference), axis=(-2, -1))
    scale = xp.max(xp.abs(a), axis=(-2, -1))
    hermitian = asymmetry <= precision**0.5 * scale
    if bool(xp.all(hermitian)):
        return False
    finite = xp.all(xp.isfinite(a), axis=(-2, -1))
    if not bool(xp.all(finite)):
        raise ValueError(
            f"{name} has NaN or infinite entries in the matrix at batch index {_first_index(~finite)}. "
            "Repair it, or pass check_finite=False to get NaN for that matrix alone."
        )
    index = _first_index(~hermitian)
    raise ValueError(
        f"{name} is not Hermitian: the matrix at batch index {index} differs from its conjugate "
        f"transpose by {float(asymmetry[index]):.1e}, with entries up to {float(scale[index]):.1e}. "
        f"If its Hermitian part is meant, pass ({name} + {name}^H)/2; check_finite=False takes the "
        "Hermitian part without looking."
    )


def _first_index(failed: Array) -> tuple[int, ...]:
    """The index of the first True."""
    xp = namespace(failed)
    position = int(xp.argmax(xp.astype(xp.reshape(failed, (-1,)), xp.int8)))
    index: list[int] = []
    for length in reversed(failed.shape):
        position, remainder = divmod(position, length)
        index.insert(0, remainder)
    return tuple(index)
