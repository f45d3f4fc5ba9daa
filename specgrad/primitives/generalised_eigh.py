"""The eigendecomposition of a Hermitian matrix in a metric as a primitive."""

from dataclasses import dataclass
from functools import cached_property

from specgrad._array import (
    adjoint,
    as_column,
    as_row,
    column_products,
    device,
    hermitian_part,
    identity,
    positions,
    real_part,
    rounding_of,
)
from specgrad._namespace import eps, is_complex, namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import generalised_eigh
from specgrad.gaps import GapRule, RoundingFloor
from specgrad.gauge import GaugePolicy
from specgrad.portable import portable_methods
from specgrad.primitives._cotangents import fitted
from specgrad.primitives.eigh import Signal, signal_of
from specgrad.solvers import Solver, decompose

__all__ = ["GeneralisedEigh"]

# Errors of entries of the scaled matrices, in units of eps, that explain all that was measured.
_ROUNDINGS = 4.0
_OF_METRIC = Signal(RoundingFloor(factor=_ROUNDINGS))


@dataclass(frozen=True)
class GeneralisedEigh:
    r"""``(A, B) -> (l, X, s, d, m)`` with ``A X = B X diag(l)`` and ``X^H B X = I``; batch axes broadcast.

    ``d`` (..., n) scales ``B`` to a diagonal of ones, which takes out what units put into its condition
    number. ``s`` (..., n) are the eigenvalues of ``D B D``, ascending; where one is not positive, ``l`` and
    ``X`` are NaN. ``m`` (..., 1) is the largest entry of ``D A D``.

    Rounding in entries of ``D A D`` and ``D B D`` reaches eigenvectors by ``h_i = ||x_i / d||``. By what was
    measured, eigenvalues are off by

        ``4 eps e_i,   e_i = h_i^2 (m + |l_i|)``

    and what is within ``4 eps (e_i + e_j)`` counts as equal to a gauge policy. The floor of a gap rule sees
    eigenvectors of length one, ``x_i / (d h_i)``. But cotangents ``gX = G X`` that are smaller than ``G`` and
    ``X``, as ``X`` is large where the metric is small, have lost digits. With ``y_i`` the columns of
    ``Y = X^H gX``, what is below

        ``4 eps h_i h_j (||y_i|| + ||y_j||)``

    in the anti-Hermitian part of ``Y`` is rounding as well.

    Parameters
    ----------
    solver : Solver
        Decomposes the scaled ``B``, and ``A`` in its metric, both Hermitian to rounding.
    gap : GapRule
        Gives the pair matrix of the derivative.
    gauge : GaugePolicy
        What to do with a cotangent that depends on the gauge.
    alike : bool
        Whether the two matrices have one shape, and are both complex or neither. Else cotangents are fitted
        to the inputs, which are kept for that.
    """

    solver: Solver
    gap: GapRule
    gauge: GaugePolicy
    alike: bool

    @property
    def unread_inputs(self) -> tuple[int, ...]:
        return (0, 1) if self.alike else ()

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return portable_methods(self.gap, self.gauge)

    def forward(self, a: Array, b: Array) -> Arrays:
        a, b = _alike(a, b)
        whitener, spectrum, scale = _whitener(self.solver, b)
        a = as_column(scale) * a * as_row(scale)
        values, vectors = decompose(self.solver, adjoint(whitener) @ a @ whitener)
        return values, as_column(scale) * (whitener @ vectors), spectrum, scale, _largest(a)

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (values, vectors, *_), (g_values, g_vectors, *_) = outputs, cotangents
        if g_values is None and g_vectors is None:
            return None, None
        if 0 in vectors.shape:
            zero = namespace(vectors).zeros_like(vectors)
            return self._fitted((zero, zero), arrays)
        inner = None if g_vectors is None else self._in_eigenbasis(binding, outputs, g_values, g_vectors)
        found = generalised_eigh.vjp(values, vectors, g_values, inner, self.gap)
        return self._fitted(found, arrays)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        values, vectors, *rest = outputs
        fixed = map(namespace(values).zeros_like, rest)  # nothing reads how they move
        if 0 in vectors.shape:
            xp = namespace(values)
            return xp.zeros_like(values), xp.zeros_like(vectors), *fixed
        tangent, metric_tangent = _alike(*tangents)
        return *generalised_eigh.jvp(values, vectors, tangent, metric_tangent, self.gap), *fixed

    def _fitted(self, cotangents: Arrays, arrays: Arrays) -> tuple[Array, ...]:
        return cotangents if self.alike else tuple(map(fitted, cotangents, arrays))

    def _in_eigenbasis(
        self, binding: Binding, outputs: Arrays, g_values: Array | None, g_vectors: Array
    ) -> Array:
        """``Y = X^H gX``, without what is rounding in it, or against the gauge policy."""
        xp, (values, vectors, _, scale, size) = namespace(outputs[0]), outputs
        scaled = vectors / as_column(scale)
        lengths = xp.sqrt(column_products(scaled, scaled))
        inner = adjoint(vectors) @ g_vectors
        signal = signal_of(self.gap, binding)
        if signal is not None:
            even, pairs = hermitian_part(inner), as_column(lengths) * as_row(lengths)
            odd = signal(values, (inner - even) / pairs, as_column(scale) * g_vectors / as_row(lengths))
            inner = even + pairs * binding.apply(_OF_METRIC, values, odd, inner)[0]
        merged = _merged(values, _ROUNDINGS * eps(values) * lengths**2 * (size + xp.abs(values)))
        return self.gauge.apply(merged, identity(inner), (g_values, inner), binding)


def _merged(values: Array, errors: Array) -> Array:
    """Ascending eigenvalues, each that follows another within the sum of their errors made equal to it."""
    xp, position = namespace(values), positions(values.shape[-1], values)
    before, error_before = (xp.concat([x[..., :1], x[..., :-1]], axis=-1) for x in (values, errors))
    is_apart = (values - before > errors + error_before) | (position == 0)
    starts = xp.where(is_apart, values, -xp.inf)
    return xp.max(xp.where(as_row(position) <= as_column(position), as_row(starts), -xp.inf), axis=-1)


def _alike(*matrices: Array) -> Arrays:
    """The matrices with as many batch axes each, and complex if one is, on which some libraries insist."""
    axes = max(matrix.ndim for matrix in matrices)
    dtype = next((matrix.dtype for matrix in matrices if is_complex(matrix)), matrices[0].dtype)
    xp = namespace(matrices[0])
    return tuple(
        xp.astype(xp.reshape(matrix, (*(1,) * (axes - matrix.ndim), *matrix.shape)), dtype)
        for matrix in matrices
    )


def _whitener(solver: Solver, b: Array) -> tuple[Array, Array, Array]:
    """``W`` with ``W^H D B D W = I``, NaN where there is none, ``s`` and ``d``."""
    if 0 in b.shape:
        empty = namespace(b).zeros(b.shape[:-1], dtype=real_part(b).dtype, device=device(b))
        return b, empty, empty
    xp = namespace(b)
    variances = real_part(xp.linalg.diagonal(b))
    scale = 1.0 / xp.sqrt(xp.where((variances > 0) & (variances < xp.inf), variances, 1.0))
    spectrum, vectors = decompose(solver, as_column(scale) * b * as_row(scale))
    shrink = 1.0 / xp.sqrt(xp.where(spectrum > rounding_of(spectrum), spectrum, xp.nan))
    return vectors * as_row(shrink), spectrum, scale


def _largest(a: Array) -> Array:
    """The largest magnitude, shape (..., 1)."""
    xp = namespace(a)
    if 0 in a.shape:
        return xp.zeros((*a.shape[:-2], 1), dtype=real_part(a).dtype, device=device(a))
    return xp.max(xp.abs(a), axis=(-2, -1), keepdims=True)[..., 0]
