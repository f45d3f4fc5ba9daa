"""Checks of arguments, with errors that say what was given, what is needed and what to do."""

from specgrad._array import adjoint
from specgrad._namespace import eps, is_array, is_complex, is_floating, is_half, namespace
from specgrad._places import first_index, place
from specgrad._typing import Array
from specgrad.bind import Viewer
from specgrad.domains import Domain, NonZero
from specgrad.leading import leading

__all__ = [
    "hermitian_input",
    "require_domain",
    "require_floating",
    "require_hermitian",
    "require_matrices",
    "require_semidefinite",
    "to_computing_precision",
]


def require_floating(x: Array, name: str) -> None:
    """Raise unless `x` is an array with a floating dtype."""
    if not is_array(x):
        raise TypeError(
            f"{name} is a {type(x).__name__}, and a dense array is needed, of a library that follows the "
            "array API standard: convert it first, such as a list by numpy.asarray, a masked array by its "
            "filled(), a sparse one by its toarray()."
        )
    if not is_floating(x):
        raise TypeError(
            f"{name} has dtype {x.dtype} and shape {tuple(x.shape)}, and a real or complex floating "
            "dtype of double precision at most is needed: convert it first, for instance to float64."
        )


def require_matrices(a: Array, name: str) -> None:
    """Raise unless `a` is an array of square matrices with a floating dtype."""
    require_floating(a, name)
    if a.ndim < 2 or a.shape[-1] != a.shape[-2]:
        raise ValueError(
            f"{name} has shape {tuple(a.shape)}, and square matrices in the last two axes are needed: "
            "(..., n, n)."
        )


def to_computing_precision(a: Array) -> Array:
    """`a` in the precision to compute in: float32 for the half precisions, else its own."""
    if not is_half(a):
        return a
    xp = namespace(a)
    return xp.astype(a, xp.complex64 if is_complex(a) else xp.float32)


def require_hermitian(a: Array, name: str, precision: float) -> bool:
    """Raise unless all is finite, and Hermitian to rounding; whether it is so to the last bit.

    `a` must be readable. `precision` is the relative rounding of its entries; the square root of that
    separates rounding from meaning.
    """
    xp = namespace(a)
    if bool(xp.all((a == adjoint(a)) & xp.isfinite(a))):
        return True
    finite = xp.all(xp.isfinite(a), axis=(-2, -1))
    if not bool(xp.all(finite)):
        raise ValueError(
            f"{name} has NaN or infinite entries in the matrix at batch index {first_index(~finite)}. "
            "Repair it, or pass check_finite=False to get NaN for that matrix alone."
        )
    asymmetry = xp.max(xp.abs(a - adjoint(a)), axis=(-2, -1))
    scale = xp.max(xp.abs(a), axis=(-2, -1))
    hermitian = asymmetry <= precision**0.5 * scale
    if bool(xp.all(hermitian)):
        return False
    index = first_index(~hermitian)
    raise ValueError(
        f"{name} is not Hermitian: the matrix at batch index {index} differs from its conjugate "
        f"transpose by {float(asymmetry[index]):.1e}, with entries up to {float(scale[index]):.1e}. "
        f"If its Hermitian part is meant, pass ({name} + {name}^H)/2; check_finite=False takes the "
        "Hermitian part without looking."
    )


def hermitian_input(viewer: Viewer, a: Array, name: str, look: bool) -> tuple[Array, bool | None]:
    """Hermitian matrices in their computing precision, and whether they are so to the last bit.

    Raises unless `a` is an array of square matrices, finite and Hermitian to rounding; of the values only if
    it is to `look`, and where it can. None for the second where nobody has looked.
    """
    require_matrices(a, name)
    precision, a = eps(a), to_computing_precision(a)
    seen = viewer.view(a) if look else None
    return a, None if seen is None else require_hermitian(seen, name, precision)


def require_domain(
    values: Array,
    rank: Array | None,
    function: object,
    domain: Domain,
    groups: int | None,
    diagonal: str,
) -> None:
    """Raise if an eigenvalue that is kept lies outside the domain; both arrays must be readable.

    Eigenvalues come ascending or by magnitude, so that the largest magnitude is at an end. `groups` is as in
    `place`, and `diagonal` what the caller calls a number that is added to it.
    """
    xp = namespace(values)
    if 0 in values.shape:
        return
    magnitude = xp.maximum(xp.abs(values[..., :1]), xp.abs(values[..., -1:]))
    rounding = values.shape[-1] * eps(values) * magnitude
    outside = domain.outside(values, rounding)
    if rank is not None:
        outside = outside & leading(rank, values.shape[-1])
    if not bool(xp.any(outside)):
        return
    index = first_index(xp.any(outside, axis=-1))
    smallest = float(xp.min(xp.where(outside, values, xp.inf), axis=-1)[index])
    largest = float(magnitude[(*index, 0)])
    if largest == 0 and not domain.start:
        way_out = f", or raise its eigenvalues with matrix_function(a, Clamped({function}, minimum))"
        raise ValueError(
            f"{function} is not defined at 0, and the matrix at {place(index, groups)} is zero: add a "
            f"positive number to {diagonal}{'' if isinstance(domain, NonZero) else way_out}."
        )
    needed = f"{domain.needed} eigenvalues"
    if domain.start:
        needed = f"eigenvalues whose difference from {domain.start:g} is {domain.needed}"
    # A truncation keeps the leading eigenvalue, and with one of these drops all that are smaller.
    good, bad = (
        xp.where(chosen, xp.abs(values), other) for chosen, other in ((~outside, xp.inf), (outside, 0.0))
    )
    can_be_dropped = bool((xp.min(good, axis=-1) > xp.max(bad, axis=-1))[index])
    remedy = _remedy(function, domain, smallest, float(rounding[(*index, 0)]), can_be_dropped, diagonal)
    raise ValueError(
        f"{function} needs {needed}, and the matrix at {place(index, groups)} has one of {smallest:.1e}, "
        f"with magnitudes up to {largest:.1e}: there the function or its derivative is infinite or "
        f"undefined. {remedy}"
    )


def require_semidefinite(values: Array, precision: float) -> None:
    """Raise if a covariance has an eigenvalue below 0 beyond rounding; `values` must be readable.

    `precision` is as in `require_hermitian`.
    """
    if 0 in values.shape:
        return
    xp = namespace(values)
    smallest, largest = xp.min(values, axis=-1), xp.max(xp.abs(values), axis=-1)
    negative = smallest < -(precision**0.5) * largest
    if not bool(xp.any(negative)):
        return
    index = first_index(negative)
    raise ValueError(
        f"covariance has an eigenvalue of {float(smallest[index]):.1e} in the matrix at {place(index)}, with "
        f"magnitudes up to {float(largest[index]):.1e}, and a covariance has none below 0: take the nearest "
        "one, which is matrix_function(covariance, Clamped(Power(1), 0.0))."
    )


def _remedy(
    function: object, domain: Domain, smallest: float, rounding: float, can_be_dropped: bool, diagonal: str
) -> str:
    """What to do about eigenvalues outside the domain, which a truncation may drop without others or not."""
    start = f"{domain.start:g}"
    if isinstance(domain, NonZero):
        drop = "" if domain.start else ", or drop those with truncation=MaxRank(rank)"
        return f"Shift the matrix so that no eigenvalue is {start}{drop}."
    # A tenth more than is needed, as the message shows two digits and might round down.
    shift = 2 * rounding - 1.1 * min(smallest - domain.start, 0.0)
    ways = [f"raise such eigenvalues with matrix_function(a, Clamped({function}, minimum))"]
    if can_be_dropped:
        floor = f"absolute={start}" if domain.start else ""
        ways.append(f"drop them with truncation=EigenvalueFloor({floor})")
    return f"Add at least {shift:.1e} to {diagonal}, or {', or '.join(ways)}."
