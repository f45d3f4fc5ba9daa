r"""The covariance of samples in columns, and its derivatives.

With weights ``w_k`` (all 1 if there are none), ``W = sum w_k`` and a correction ``c``:

    ``mean = sum w_k x_k / W,   xc_k = x_k - mean``
    ``N = W - c sum w_k^2 / W``                              (``m - c`` without weights)
    ``C = sum w_k xc_k xc_k^H / N``

    ``gx_k = 2 w_k herm(gC) xc_k / N``                                            (vjp)
    ``gw_k = (xc_k^H herm(gC) xc_k - <herm(gC), C> dN/dw_k) / N``
    ``dN/dw_k = 1 - c (2 w_k / W - sum w_j^2 / W^2)``

The movement of the mean drops out, as ``sum w_k xc_k = 0``. Nothing depends on the scale of the weights, so
they are divided by the largest, and no square leaves the range. Assumptions: ``N > 0``; complex cotangents
follow ``dL = Re <g, dx>``. The centred data are computed again: that costs less than to keep them.

Source: G. A. F. Seber, "Multivariate Observations" (1984), section 1.4; the derivative is the product rule.
"""

from specgrad._array import adjoint, as_row, column_products, hermitian_part
from specgrad._namespace import eps, namespace
from specgrad._typing import Array

__all__ = [
    "centre",
    "forward",
    "jvp",
    "second_moment",
    "second_moment_jvp",
    "second_moment_vjp",
    "vjp",
]


def centre(x: Array, weights: Array | None = None) -> tuple[Array, Array]:
    """The mean, (..., p, 1), and ``x`` without it, (..., p, m)."""
    xp = namespace(x)
    share = None if weights is None else as_row(weights / _row_sums(weights))
    first, mean = x[..., :1], _mean(x, share)
    # A constant is its own mean to the last bit, which a sum of it need not be.
    is_near = xp.abs(mean - first) <= x.shape[-1] * eps(x) * xp.abs(first)
    shift = mean + xp.astype(is_near, x.dtype) * (first - mean)
    centred = x - shift
    # A long sum loses digits of a large mean; what it has lost is small, and summed again.
    rest = _mean(centred, share)
    return shift + rest, centred - rest


def second_moment(centred: Array, normaliser: float) -> Array:
    """``xc xc^H / N``, shape (..., p, p)."""
    return (centred @ adjoint(centred)) / normaliser


def second_moment_vjp(centred: Array, normaliser: float, cotangent: Array) -> Array:
    """The cotangent of ``x`` from that of ``xc xc^H / N``, which is Hermitian."""
    return (2.0 * cotangent / normaliser) @ centred


def second_moment_jvp(centred: Array, normaliser: float, tangent: Array) -> Array:
    """The tangent of ``xc xc^H / N`` from that of ``x`` or of ``xc``."""
    half = tangent @ adjoint(centred)
    return (half + adjoint(half)) / normaliser


def forward(x: Array, weights: Array | None, correction: float) -> Array:
    """``C``, shape (..., p, p), of ``x`` (..., p, m) with weights (..., m) or None."""
    if weights is not None:
        weights = weights / _scale(weights)
    _, centred = centre(x, weights)
    if weights is None:
        return second_moment(centred, x.shape[-1] - correction)
    return ((centred * as_row(weights)) @ adjoint(centred)) / _normaliser(weights, correction)[..., None]


def vjp(x: Array, weights: Array | None, correction: float, cotangent: Array) -> tuple[Array, Array | None]:
    """The cotangents of ``x`` and of the weights (None without them)."""
    g = hermitian_part(cotangent)
    if weights is None:
        _, centred = centre(x)
        return second_moment_vjp(centred, x.shape[-1] - correction, g), None
    scale = _scale(weights)
    weights = weights / scale
    _, centred = centre(x, weights)
    product = g @ centred
    normaliser = _normaliser(weights, correction)
    quadratic = column_products(centred, product)
    mean_quadratic = _row_sums(weights * quadratic) / normaliser
    g_weights = (quadratic - mean_quadratic * _normaliser_gradient(weights, correction)) / normaliser
    return product * as_row(2.0 * weights / normaliser), g_weights / scale


def jvp(
    x: Array, weights: Array | None, correction: float, tangent: Array, weights_tangent: Array | None
) -> Array:
    """The tangent of ``C``."""
    if weights is None:
        return second_moment_jvp(centre(x)[1], x.shape[-1] - correction, tangent)
    scale = _scale(weights)
    weights, weights_tangent = weights / scale, weights_tangent / scale
    _, centred = centre(x, weights)
    normaliser = _normaliser(weights, correction)
    half = (tangent * as_row(weights)) @ adjoint(centred)
    moved = half + adjoint(half) + (centred * as_row(weights_tangent)) @ adjoint(centred)
    gradient = _normaliser_gradient(weights, correction)
    d_normaliser = _row_sums(gradient * weights_tangent)
    c = (centred * as_row(weights)) @ adjoint(centred) / normaliser[..., None]
    return (moved - c * d_normaliser[..., None]) / normaliser[..., None]


def _scale(weights: Array) -> Array:
    """The largest of the weights, shape (..., 1)."""
    return namespace(weights).max(weights, axis=-1, keepdims=True)


def _normaliser(weights: Array, correction: float) -> Array:
    """``N``, shape (..., 1)."""
    total = _row_sums(weights)
    return total - correction * _row_sums(weights * weights) / total


def _normaliser_gradient(weights: Array, correction: float) -> Array:
    """``dN/dw_k``, shape (..., m)."""
    total, squares = _row_sums(weights), _row_sums(weights * weights)
    return 1.0 - correction * (2.0 * weights / total - squares / (total * total))


def _mean(x: Array, share: Array | None) -> Array:
    return _row_sums(x) / x.shape[-1] if share is None else _row_sums(x * share)


def _row_sums(x: Array) -> Array:
    """Sums along the last axis, kept as an axis of length 1."""
    return namespace(x).sum(x, axis=-1, keepdims=True)
