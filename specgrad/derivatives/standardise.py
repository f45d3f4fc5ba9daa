r"""A covariance ``C`` as the correlation ``R``, and a matrix that acts on standardised data brought back.

    ``s_i = sqrt(C_ii + eps),   R_ij = C_ij / (s_i s_j),   M_ij = P_ij / s_j``

so that ``M xc = P z`` for the standardised data ``z = xc / s``. Backwards:

    ``gP_ij = gM_ij / s_j,   gC_ij = gR_ij / (s_i s_j) + delta_ij gs_i / (2 s_i)``
    ``gs_j = - sum_i Re(conj(gM_ij) M_ij) / s_j - sum_i Re(conj(gR_ij) R_ij + conj(gR_ji) R_ji) / s_j``

Assumptions: ``C`` is Hermitian with ``C_ii + eps > 0``; complex cotangents follow ``dL = Re <g, dC>``.

Source: Ioffe and Szegedy, "Batch normalization" (ICML 2015), written for the covariance alone.
"""

from specgrad._array import as_column, as_row, identity, real_part, real_product
from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["acting_on_data", "acting_on_data_jvp", "correlation", "correlation_jvp", "deviation", "vjp"]


def deviation(c: Array, eps: float) -> Array:
    """``s``, shape (..., d), real; NaN for a constant, by which nothing can be divided."""
    xp, variance = namespace(c), _diagonal(c) + eps
    return xp.sqrt(xp.where(variance > 0, variance, xp.nan))


def correlation(c: Array, s: Array) -> Array:
    """``R``, shape (..., d, d)."""
    return c / (as_column(s) * as_row(s))


def acting_on_data(p: Array, s: Array) -> Array:
    """``M``, shape (..., d, d)."""
    return p / as_row(s)


def correlation_jvp(r: Array, s: Array, d_c: Array) -> tuple[Array, Array]:
    """The tangents of ``s`` and ``R`` from that of ``C``."""
    d_s = _diagonal(d_c) / (2.0 * s)
    relative = d_s / s
    return d_s, correlation(d_c, s) - r * (as_column(relative) + as_row(relative))


def acting_on_data_jvp(m: Array, s: Array, d_p: Array, d_s: Array) -> Array:
    """The tangent of ``M``."""
    return acting_on_data(d_p, s) - m * as_row(d_s / s)


def vjp(m: Array, r: Array, s: Array, g_m: Array | None, g_r: Array | None) -> Array:
    """The cotangent of ``C`` from those of ``M`` and ``R`` (None for zero)."""
    xp = namespace(r)
    g_s, g_c = xp.zeros_like(s), xp.zeros_like(r)
    if g_m is not None:
        g_s = g_s - xp.sum(real_product(g_m, m), axis=-2) / s
    if g_r is not None:
        both = real_product(g_r, r)
        g_s = g_s - (xp.sum(both, axis=-2) + xp.sum(both, axis=-1)) / s
        g_c = g_c + correlation(g_r, s)
    return g_c + as_row(g_s / (2.0 * s)) * identity(r)


def _diagonal(c: Array) -> Array:
    """The diagonal, real."""
    return real_part(namespace(c).linalg.diagonal(c))
