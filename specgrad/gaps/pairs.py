r"""What the rules from a series need of a pair of eigenvalues ``a``, ``b``, ``|a| >= |b|``, ``q = b/a``.

All of these rules rest on the geometric sum ``S_m = 1 + q + ... + q^(m-1)``. In ``t = 1 - q``, which is
computed from the gap without cancellation, ``S_2m = S_m (2 - t S_m)``: this is Newton's iteration for
``1/t``, so the sum comes in log2(m) steps, with smooth derivatives and no branch: exact to rounding for ``q``
in [0, 1], and to about m roundings near -1.
"""

from specgrad._array import as_column, as_row, device, differences, magnitude_scale, reciprocal
from specgrad._namespace import eps, namespace, smallest_normal
from specgrad._typing import Array

__all__ = ["antisymmetric_pairs", "geometric_sum", "largest_reciprocal", "negligible", "signed_pairs"]


def geometric_sum(t: Array, terms: int) -> Array:
    """``1 + q + ... + q^(terms - 1)`` with ``q = 1 - t`` in [-1, 1]; 0 for no terms."""
    xp = namespace(t)
    if terms < 2:
        return xp.full_like(t, terms)
    bits = f"{int(terms):b}"  # a compiler's symbol has no binary digits
    total = 2.0 - t if bits[1] == "0" else 3.0 - t * (3.0 - t)
    for bit in bits[2:]:
        total = total * (2.0 - t * total)
        if bit == "1":
            total = total + (1.0 - t * total)
    return total


def signed_pairs(values: Array) -> tuple[Array, Array, Array]:
    """For each pair: 1 where the column's value leads, the signed ``1/a``, and ``t = (a - b)/a``.

    The sign is that of ``1/(l_j - l_i)``. Where ``a`` is 0 beyond rounding, ``1/a`` is 0.
    """
    xp = namespace(values)
    by_magnitude = xp.argsort(xp.abs(values), axis=-1, stable=True)
    rank = xp.astype(xp.argsort(by_magnitude, axis=-1), values.dtype)  # of equals, the later one leads
    leads = as_row(rank) >= as_column(rank)
    inverse = _reciprocals(values)
    weight = xp.where(leads, as_row(inverse), -as_column(inverse))
    # Halved first: differences of opposite values may leave the exponent range, and t stays within 2.
    return xp.astype(leads, values.dtype), weight, 2.0 * (differences(0.5 * values) * weight)


def antisymmetric_pairs(values: Array) -> tuple[Array, Array]:
    """The signed ``1/a``, 0 at ties, where the sign is lost, and ``t = (a - b)/a``."""
    _, weight, t = signed_pairs(values)
    return weight * namespace(values).astype(t != 0, t.dtype), t


def negligible(values: Array) -> Array:
    """The magnitude up to which eigenvalues are 0 beyond rounding, shape (..., 1)."""
    xp = namespace(values)
    precision = eps(values)
    return xp.maximum(
        precision**2 * magnitude_scale(values),
        xp.full((), smallest_normal(values) / precision, dtype=values.dtype, device=device(values)),
    )


def _reciprocals(values: Array) -> Array:
    """``1/l``, and 0 for eigenvalues that are 0 beyond rounding."""
    return reciprocal(values, where=namespace(values).abs(values) > negligible(values))


def largest_reciprocal(values: Array) -> Array:
    """The largest ``1/a`` over pairs, ``a`` the larger magnitude of each; shape (...)."""
    xp = namespace(values)
    if values.shape[-1] < 2:
        return xp.zeros(values.shape[:-1], dtype=values.dtype, device=device(values))
    leading = xp.sort(xp.abs(values), axis=-1)[..., 1:]  # each but the smallest leads some pair
    return xp.max(_reciprocals(leading), axis=-1)
