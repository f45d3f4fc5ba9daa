"""Covariances, and what is made of them, as primitives: data in rows of variables, samples last."""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from specgrad._array import device, hermitian_part, plus_identity, real_part
from specgrad._namespace import is_complex, namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, Primitive
from specgrad.derivatives import covariance, spectral_filter
from specgrad.portable import portable_methods
from specgrad.primitives._cotangents import add, fitted

__all__ = ["Covariance", "PooledCovariance", "SpectralFilter"]


@dataclass(frozen=True)
class Covariance:
    """``(x[, weights]) -> (C,)``, with ``eps`` on the diagonal; batch axes broadcast.

    Parameters
    ----------
    correction : float
        Taken off the number of samples.
    eps : float
    """

    correction: float
    eps: float

    # So that the result need not be kept, and may be modified in place.
    unread_outputs: ClassVar[tuple[int, ...]] = (0,)
    portable: ClassVar[tuple[str, ...]] = portable_methods()

    def forward(self, *arrays: Array) -> Arrays:
        return (plus_identity(covariance.forward(*_aligned(arrays), self.correction), self.eps),)

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        if cotangents[0] is None:
            return (None,) * len(arrays)
        found = covariance.vjp(*_aligned(arrays), self.correction, cotangents[0])
        return tuple(fitted(g, x) for g, x in zip(found, arrays, strict=False))

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        return (covariance.jvp(*_aligned(arrays), self.correction, *_aligned(tangents)),)


@dataclass(frozen=True)
class PooledCovariance:
    """``x -> (upper triangle of f(C) row by row, C, f(C), ...)``; the rest is what ``f`` puts out.

    Parameters
    ----------
    function : Primitive
        ``C -> (f(C), ...)``.
    correction, eps : float
        As in `Covariance`.
    """

    function: Primitive
    correction: float
    eps: float

    # For the same reasons as in `Covariance`.
    unread_outputs: ClassVar[tuple[int, ...]] = (0,)

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return getattr(self.function, "portable", ())

    def forward(self, x: Array) -> Arrays:
        c = plus_identity(covariance.forward(x, None, self.correction), self.eps)
        image, *rest = self.function.forward(c)
        return _upper_triangle(image), c, image, *rest

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (g_pooled, g_c, g_image, *g_rest), (_, c, *images) = cotangents, outputs
        if g_pooled is not None:
            g_image = add(g_image, _from_upper_triangle(g_pooled, c.shape[-1]))
        (g_moment,) = self.function.vjp(binding, (c,), tuple(images), (g_image, *g_rest))
        g_moment = add(g_moment, g_c)
        if g_moment is None:
            return (None,)
        return covariance.vjp(arrays[0], None, self.correction, g_moment)[:1]

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        _, c, *images = outputs
        d_c = covariance.jvp(arrays[0], None, self.correction, tangents[0], None)
        d_image, *d_rest = self.function.jvp(binding, (c,), tuple(images), (d_c,))
        return None if d_image is None else _upper_triangle(d_image), d_c, d_image, *d_rest


@dataclass(frozen=True)
class SpectralFilter:
    """``(x[, weight, bias]) -> (y, mean, M, ..., xc, C)`` in the letters of the formulas.

    ``x`` is (..., p, m); its variables form `groups` of ``d = p/groups``, so ``M`` is (..., groups, d, d).

    Parameters
    ----------
    function : Primitive
        ``C -> (M, ...)``, the rest being what its derivative needs.
    groups : int
    correction, eps : float
        As in `Covariance`.
    """

    function: Primitive
    groups: int
    correction: float
    eps: float

    # The derivatives need neither x nor y, the largest arrays of all.
    unread_inputs: ClassVar[tuple[int, ...]] = (0,)
    unread_outputs: ClassVar[tuple[int, ...]] = (0,)

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return getattr(self.function, "portable", ())

    def forward(self, x: Array, *affine: Array) -> Arrays:
        mean, centred = covariance.centre(self._grouped(x))
        c = plus_identity(covariance.second_moment(centred, x.shape[-1] - self.correction), self.eps)
        matrix, *rest = self.function.forward(c)
        y = spectral_filter.forward(centred, matrix, self._affine(affine, x.ndim))
        return self._flat(y), self._flat(mean)[..., 0], matrix, *rest, centred, c

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (_, *affine), (_, _, *matrices, centred, c) = arrays, outputs
        g_y, g_mean, g_matrix, *g_rest, g_x, g_c = cotangents
        xp, count = namespace(centred), centred.shape[-1]
        g_affine: tuple[Array | None, ...] = (None,) * len(affine)
        if g_x is not None:
            _, g_x = covariance.centre(g_x)
        if g_y is not None:
            through_data, through_matrix, grouped_affine = spectral_filter.vjp(
                centred, matrices[0], self._affine(tuple(affine), c.ndim - 1), self._grouped(g_y)
            )
            g_x, g_matrix = add(g_x, through_data), add(g_matrix, through_matrix)
            g_affine = tuple(map(_summed, grouped_affine or (), affine))
        (g_moment,) = self.function.vjp(binding, (c,), tuple(matrices), (g_matrix, *g_rest))
        if g_c is not None:
            g_moment = add(g_moment, hermitian_part(g_c))
        if g_moment is not None:
            g_x = add(g_x, covariance.second_moment_vjp(centred, count - self.correction, g_moment))
        if g_mean is not None:
            g_x = add(g_x, xp.zeros_like(centred) + self._grouped(g_mean[..., None]) / count)
        return None if g_x is None else self._flat(g_x), *g_affine

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        _, _, *matrices, centred, c = outputs
        d_mean, d_centred = covariance.centre(self._grouped(tangents[0]))
        d_c = covariance.second_moment_jvp(centred, centred.shape[-1] - self.correction, d_centred)
        d_matrix, *d_rest = self.function.jvp(binding, (c,), tuple(matrices), (d_c,))
        affine, d_affine = (self._affine(pair, c.ndim - 1) for pair in (arrays[1:], tangents[1:]))
        d_y = spectral_filter.jvp(centred, matrices[0], affine, d_centred, d_matrix, d_affine)
        return self._flat(d_y), self._flat(d_mean)[..., 0], d_matrix, *d_rest, d_centred, d_c

    def _grouped(self, x: Array) -> Array:
        """(..., p, m) as (..., groups, d, m)."""
        *batch, p, m = x.shape
        return namespace(x).reshape(x, (*batch, self.groups, p // self.groups, m))

    def _flat(self, grouped: Array) -> Array:
        """The way back of `_grouped`."""
        *batch, groups, d, m = grouped.shape
        return namespace(grouped).reshape(grouped, (*batch, groups * d, m))

    def _affine(self, affine: Arrays, axes: int) -> spectral_filter.Affine:
        """Weight and bias, (p,) each, as (..., groups, d) with as many axes as the data, or None."""
        if not affine:
            return None
        shape = (*(1,) * (axes - 2), self.groups, -1)
        weight, bias = (namespace(v).reshape(v, shape) for v in affine)
        return weight, bias


def _summed(gradient: Array, parameter: Array) -> Array:
    """The cotangent of a parameter (p,) from one (..., groups, d) for each item of the batch."""
    xp = namespace(parameter)
    batch = tuple(range(gradient.ndim - 2))
    total = xp.sum(gradient, axis=batch) if batch else gradient
    return xp.reshape(total if is_complex(parameter) else real_part(total), parameter.shape)


def _aligned(arrays: Arrays) -> tuple[Array, Array | None]:
    """Data and weights with equally many batch axes, or None if there are no weights."""
    if len(arrays) == 1:
        return arrays[0], None
    (x, weights), xp = arrays, namespace(arrays[0])
    axes = max(x.ndim - 2, weights.ndim - 1)
    ones = (1,) * axes
    return (
        xp.reshape(x, (*ones[: axes + 2 - x.ndim], *x.shape)),
        xp.reshape(weights, (*ones[: axes + 1 - weights.ndim], *weights.shape)),
    )


def _upper_triangle(a: Array) -> Array:
    """The upper triangle of (..., n, n) with its diagonal, row by row: (..., n(n+1)/2)."""
    xp, n = namespace(a), a.shape[-1]
    # In closed form, as ONNX has no stable sort, and `concat` of rows cannot be batched everywhere. Counted
    # from the end, row r has r + 1 entries, the first of them number r(r+1)/2.
    k = xp.arange(n * (n + 1) // 2 - 1, -1, -1, device=device(a))
    r = xp.astype(0.5 * xp.sqrt(xp.astype(8 * k + 1, real_part(a).dtype)) - 0.5, k.dtype)
    first = r * (r + 1) // 2
    r = r + xp.astype(first + r < k, k.dtype) - xp.astype(first > k, k.dtype)  # where the root was rounded
    position = n * n - 1 - (n * r + k - r * (r + 1) // 2)
    return xp.take(xp.reshape(a, (*a.shape[:-2], n * n)), position, axis=-1)


def _from_upper_triangle(vector: Array, n: int) -> Array:
    """The transpose of `_upper_triangle`: zeros below the diagonal."""
    xp = namespace(vector)
    column = xp.arange(n, device=device(vector))[None, :]
    row = column.mT
    position = row * n - row * (row + 1) // 2 + column
    upper = column >= row
    flat = xp.reshape(xp.where(upper, position, 0), (-1,))
    spread = xp.reshape(xp.take(vector, flat, axis=-1), (*vector.shape[:-1], n, n))
    return xp.where(upper, spread, 0.0)
