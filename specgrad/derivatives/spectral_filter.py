r"""Data filtered by a matrix that is a function of their own covariance: whitening, PCA denoising.

Variables in rows, ``m`` samples in columns, and any function ``M`` of a Hermitian matrix:

    ``xc = x - mean,   C = xc xc^H / N,   M = M(C),   y = diag(weight) M xc + bias``

Backwards, with ``A = diag(weight) M`` and ``P = (gy - mean gy) xc^H``:

    ``gM = diag(weight)^H P,   gweight_i = sum_j P_ij conj(M_ij),   gbias_i = sum_k gy_ik``
    ``gC``  from ``gM`` by the rule of ``M``
    ``gx = A^H (gy - mean gy) + 2 herm(gC) xc / N``

The mean of ``gx`` is zero without a pass of its own, as those of ``gy - mean gy`` and of ``xc`` are.

Assumptions: ``weight`` real or of the dtype of ``x``; complex cotangents follow ``dL = Re <g, dx>``.

Source: Wang et al., "Backpropagation-friendly eigendecomposition" (NeurIPS 2019), section 3.
"""

from typing import TypeAlias

from specgrad._array import adjoint, as_column, conj
from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["Affine", "forward", "jvp", "vjp"]


Affine: TypeAlias = tuple[Array, Array] | None
"""``weight`` and ``bias``, or None for 1 and 0."""


def forward(centred: Array, matrix: Array, affine: Affine) -> Array:
    """``y``, shape (..., p, m)."""
    if affine is None:
        return matrix @ centred
    weight, bias = affine
    return (as_column(weight) * matrix) @ centred + as_column(bias)


def vjp(centred: Array, matrix: Array, affine: Affine, g_y: Array) -> tuple[Array, Array, Affine]:
    """The cotangents of ``xc``, whose mean is zero, of ``M``, and of ``(weight, bias)``."""
    xp = namespace(centred)
    mean = xp.sum(g_y, axis=-1, keepdims=True) / g_y.shape[-1]
    g_centred = g_y - mean
    product = g_centred @ adjoint(centred)
    if affine is None:
        return adjoint(matrix) @ g_centred, product, None
    weight, _ = affine
    g_weight = xp.sum(product * conj(matrix), axis=-1)
    g_bias = g_y.shape[-1] * mean[..., 0]
    g_matrix = as_column(conj(weight)) * product
    return adjoint(as_column(weight) * matrix) @ g_centred, g_matrix, (g_weight, g_bias)


def jvp(
    centred: Array,
    matrix: Array,
    affine: Affine,
    d_centred: Array,
    d_matrix: Array,
    d_affine: Affine,
) -> Array:
    """The tangent of ``y``."""
    if affine is None or d_affine is None:
        return matrix @ d_centred + d_matrix @ centred
    (weight, _), (d_weight, d_bias) = affine, d_affine
    moved = as_column(weight) * d_matrix + as_column(d_weight) * matrix
    return (as_column(weight) * matrix) @ d_centred + moved @ centred + as_column(d_bias)
