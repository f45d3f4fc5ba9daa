"""The eigendecomposition of a Hermitian matrix in a metric as a primitive."""

from dataclasses import dataclass
from functools import cached_property

from specgrad._array import (
    adjoint,
    as_column,
    as_row,
    device,
    hermitian_part,
    identity,
    positions,
    real_part,
    rounding_of,
)
from specgrad._namespace import eps, is_complex, is_single, namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import generalised_eigh
from specgrad.gaps import GapRule
from specgrad.gauge import GaugePolicy
from specgrad.portable import portable_methods
from specgrad.primitives._cotangents import fitted
from specgrad.primitives.eigh import signal_of
from specgrad.solvers import Solver, decompose

__all__ = ["GeneralisedEigh"]

# Up to what share of the condition number of the metric, in roundings, eigenvalues and cotangents may be off:
# a few times what was measured. The default floor, of 8 and 64 roundings, leaves room for that up to here.
_SHARE = 1 / 8
_IN_FLOOR_SINGLE, _IN_FLOOR_DOUBLE = 8 / _SHARE, 64 / _SHARE


@dataclass(frozen=True)
class GeneralisedEigh:
    """``(A, B) -> (l, X, s)`` with ``A X = B X diag(l)`` and ``X^H B X = I``; batch axes broadcast.

    ``s`` (..., n) are the eigenvalues of ``B`` scaled to a diagonal of ones, ascending. The scaling takes out
    what units put into the condition number. Where they are not positive, ``l`` and ``X`` are NaN.

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
        whitener, spectrum = _whitener(self.solver, b)
        values, vectors = decompose(self.solver, adjoint(whitener) @ a @ whitener)
        return values, whitener @ vectors, spectrum

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (values, vectors, _), (g_values, g_vectors, _) = outputs, cotangents
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
        values, vectors, spectrum = outputs
        fixed = namespace(spectrum).zeros_like(spectrum)  # nothing reads how it moves
        if 0 in vectors.shape:
            xp = namespace(values)
            return xp.zeros_like(values), xp.zeros_like(vectors), fixed
        tangent, metric_tangent = _alike(*tangents)
        return *generalised_eigh.jvp(values, vectors, tangent, metric_tangent, self.gap), fixed

    def _fitted(self, cotangents: Arrays, arrays: Arrays) -> tuple[Array, ...]:
        return cotangents if self.alike else tuple(map(fitted, cotangents, arrays))

    def _in_eigenbasis(
        self, binding: Binding, outputs: Arrays, g_values: Array | None, g_vectors: Array
    ) -> Array:
        """``X^H gX``, without what is rounding in it, or against the gauge policy."""
        values, vectors, spectrum = outputs
        xp, condition = namespace(values), spectrum[..., -1:] / spectrum[..., :1]
        inner = adjoint(vectors) @ g_vectors
        signal = signal_of(self.gap, binding)
        if signal is not None:
            even = hermitian_part(inner)
            excess = condition / (_IN_FLOOR_SINGLE if is_single(values) else _IN_FLOOR_DOUBLE)
            inner = even + signal(values, inner - even, as_row(xp.where(excess > 1, excess, 1.0)) * inner)
        # In its own basis, in which eigenvectors are orthonormal. What the metric cannot tell apart is a tie.
        largest = xp.max(xp.abs(values), axis=-1, keepdims=True)
        merged = _merged(values, _SHARE * eps(values) * condition * largest)
        return self.gauge.apply(merged, identity(inner), (g_values, inner), binding)


def _merged(values: Array, width: Array) -> Array:
    """Ascending eigenvalues (..., n), each that follows another within a width (..., 1) made equal to it."""
    xp, position = namespace(values), positions(values.shape[-1], values)
    before = xp.concat([values[..., :1], values[..., :-1]], axis=-1)
    starts = xp.where((values - before > width) | (position == 0), values, -xp.inf)
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


def _whitener(solver: Solver, b: Array) -> tuple[Array, Array]:
    """``W`` with ``W^H B W = I``, NaN where there is none, and the eigenvalues of the scaled ``B``."""
    if 0 in b.shape:
        return b, namespace(b).zeros(b.shape[:-1], dtype=real_part(b).dtype, device=device(b))
    xp = namespace(b)
    variances = real_part(xp.linalg.diagonal(b))
    scale = 1.0 / xp.sqrt(xp.where((variances > 0) & (variances < xp.inf), variances, 1.0))
    spectrum, vectors = decompose(solver, as_column(scale) * b * as_row(scale))
    shrink = 1.0 / xp.sqrt(xp.where(spectrum > rounding_of(spectrum), spectrum, xp.nan))
    return as_column(scale) * vectors * as_row(shrink), spectrum
