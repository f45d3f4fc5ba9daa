r"""Newton-Schulz iteration for the square root and its inverse, and its derivatives, by products only.

    ``t = tr A,  Y_0 = A/t,  Z_0 = I``
    ``T_k = (3 I - Z_k Y_k)/2,  Y_{k+1} = Y_k T_k,  Z_{k+1} = T_k Z_k``      (k = 0 .. N-1)
    ``A^(1/2) ~ sqrt(t) Y_N,  A^(-1/2) ~ Z_N/sqrt(t)``

The vjp is this program run backwards, one line for each line above; the trace, which depends on `A`, adds a
multiple of the identity. Nothing is assumed of the cotangent; of its result the Hermitian part is taken,
as `A` is Hermitian. Iterates are computed again.

Source: Li, Xie, Wang and Gao, "Towards faster training of global covariance pooling networks by iterative
matrix square root normalization", CVPR 2018 (iSQRT-COV); N. J. Higham, "Functions of Matrices" (SIAM, 2008),
section 6.7.
"""

from typing import NamedTuple

from specgrad._array import adjoint, hermitian_part, identity, real_part, real_product
from specgrad._namespace import namespace
from specgrad._typing import Array

__all__ = ["forward", "jvp", "residual", "vjp"]


class _Iterates(NamedTuple):
    trace: Array  # t, (..., 1, 1)
    roots: list[Array]  # Y_0 .. Y_N
    inverses: list[Array]  # Z_0 .. Z_N
    corrections: list[Array]  # T_0 .. T_{N-1}


def forward(a: Array, steps: int) -> tuple[Array, Array]:
    """The square root and the inverse square root, shape (..., n, n) each, after `steps` iterations."""
    t, roots, inverses, _ = _iterate(a, steps)
    scale = namespace(a).sqrt(t)
    return scale * roots[-1], inverses[-1] / scale


def vjp(a: Array, steps: int, root_cotangent: Array | None, inverse_cotangent: Array | None) -> Array:
    """The cotangent of `a` from those of the square root and the inverse square root, None for zero."""
    xp = namespace(a)
    t, roots, inverses, corrections = _iterate(a, steps)
    scale = xp.sqrt(t)
    g_y = g_z = xp.zeros_like(a)
    g_t = xp.zeros_like(t)
    if root_cotangent is not None:
        g_y = scale * root_cotangent
        g_t = g_t + _frobenius(root_cotangent, roots[-1]) / (2.0 * scale)
    if inverse_cotangent is not None:
        g_z = inverse_cotangent / scale
        g_t = g_t - 0.5 * (_frobenius(inverse_cotangent, inverses[-1]) / t) / scale
    for k in reversed(range(steps)):
        y, z, correction = roots[k], inverses[k], corrections[k]
        g_correction = adjoint(y) @ g_y + g_z @ adjoint(z)
        g_y = g_y @ adjoint(correction) - 0.5 * adjoint(z) @ g_correction
        g_z = adjoint(correction) @ g_z - 0.5 * g_correction @ adjoint(y)
    return hermitian_part(g_y / t + (g_t - _frobenius(g_y, roots[0]) / t) * identity(a))


def jvp(a: Array, steps: int, tangent: Array) -> tuple[Array, Array]:
    """The tangents of the square root and the inverse square root; the Hermitian part of `tangent` counts."""
    xp = namespace(a)
    tangent = hermitian_part(tangent)
    t, roots, inverses, corrections = _iterate(a, steps)
    scale, d_t = xp.sqrt(t), _trace(tangent)
    d_y, d_z = tangent / t - roots[0] * (d_t / t), xp.zeros_like(a)
    for y, z, correction in zip(roots[:-1], inverses[:-1], corrections, strict=True):
        d_correction = -0.5 * (d_z @ y + z @ d_y)
        d_y, d_z = d_y @ correction + y @ d_correction, d_correction @ z + correction @ d_z
    return (
        scale * d_y + roots[-1] * (d_t / (2.0 * scale)),
        d_z / scale - inverses[-1] * (0.5 * (d_t / t) / scale),
    )


def residual(root: Array, inverse: Array) -> Array:
    """``||X B - I||_F / sqrt(n)`` of the root ``X`` and its inverse ``B``, 0 at convergence; shape (...)."""
    difference = root @ inverse - identity(root)
    return namespace(root).sqrt(_frobenius(difference, difference)[..., 0, 0] / max(root.shape[-1], 1))


def _iterate(a: Array, steps: int) -> _Iterates:
    eye = identity(a)
    t = _trace(a) if a.shape[-1] else _trace(a) + 1.0  # no 0/0 where there is nothing to divide
    roots, inverses, corrections = [a / t], [eye + namespace(a).zeros_like(a)], []
    for _ in range(steps):
        corrections.append(1.5 * eye - 0.5 * (inverses[-1] @ roots[-1]))
        roots.append(roots[-1] @ corrections[-1])
        inverses.append(corrections[-1] @ inverses[-1])
    return _Iterates(t, roots, inverses, corrections)


def _trace(x: Array) -> Array:
    """``tr X`` of Hermitian matrices, (..., 1, 1)."""
    xp = namespace(x)
    return xp.sum(real_part(xp.linalg.diagonal(x)), axis=-1, keepdims=True)[..., None]


def _frobenius(x: Array, y: Array) -> Array:
    """``Re <X, Y>``, (..., 1, 1)."""
    return namespace(x).sum(real_product(x, y), axis=(-2, -1), keepdims=True)
