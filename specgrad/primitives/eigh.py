"""The eigendecomposition of a Hermitian matrix as a primitive, and the truncated one as another."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

from specgrad._array import as_row, device, hermitian_part, take_columns
from specgrad._namespace import namespace
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import eigh
from specgrad.gaps import GapRule, RoundingFloor
from specgrad.gauge import GaugePolicy
from specgrad.leading import by_magnitude, leading, rank_of
from specgrad.portable import portable_methods
from specgrad.primitives._cotangents import add
from specgrad.solvers import DifferentiatedSolver, Solver, decompose
from specgrad.truncation import MaxRank, Truncation

__all__ = ["Eigh", "Signal", "TruncatedEigh", "rank_by", "signal_of", "vjp_of_rule"]


@dataclass(frozen=True)
class Eigh:
    """``A -> (l, V)``.

    Parameters
    ----------
    solver : Solver
        Gives ``(l, V)``.
    gap : GapRule or None
        Gives the pair matrix of the derivative. None: the solver brings its own derivative.
    gauge : GaugePolicy
        What to do with a cotangent that depends on the gauge.
    """

    solver: Solver
    gap: GapRule | None
    gauge: GaugePolicy

    @property
    def unread_inputs(self) -> tuple[int, ...]:
        return () if self.gap is None else (0,)

    @cached_property
    def portable(self) -> tuple[str, ...]:
        if self.gap is None or not portable_methods(self.gap, self.gauge):
            return ()
        return ("vjp",)  # in the forward pass there is nothing but the solver

    def forward(self, a: Array) -> Arrays:
        values, vectors = decompose(self.solver, a)
        return values, vectors

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (values, vectors), (g_values, g_vectors) = outputs, cotangents
        if g_values is None and g_vectors is None:
            return (None,)
        if 0 in vectors.shape:
            return (namespace(vectors).zeros_like(vectors),)
        if self.gap is None:
            return (self._vjp_of_solver(arrays[0], values, vectors, g_values, g_vectors),)
        if g_vectors is not None:
            g_vectors = self.gauge.apply(values, vectors, (g_values, g_vectors), binding)
        return (vjp_of_rule(self.gap, binding, values, vectors, g_values, g_vectors),)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        values, vectors = outputs
        if 0 in vectors.shape:
            xp = namespace(values)
            return xp.zeros_like(values), xp.zeros_like(vectors)
        if self.gap is None:
            return self._jvp_of_solver(arrays[0], values, tangents[0])
        return eigh.jvp(values, vectors, tangents[0], self.gap)

    def _vjp_of_solver(
        self, a: Array, values: Array, vectors: Array, g_values: Array | None, g_vectors: Array | None
    ) -> Array:
        xp = namespace(values)
        cotangents = take_columns(
            xp.argsort(values, axis=-1, stable=True),  # solvers put out ascending eigenvalues
            xp.zeros_like(values) if g_values is None else g_values,
            xp.zeros_like(vectors) if g_vectors is None else g_vectors,
        )
        return cast(DifferentiatedSolver, self.solver).vjp(a, cotangents)

    def _jvp_of_solver(self, a: Array, values: Array, tangent: Array) -> tuple[Array, Array]:
        xp = namespace(values)
        own = cast(DifferentiatedSolver, self.solver).jvp(a, tangent)
        ascending = xp.argsort(values, axis=-1, stable=True)
        return take_columns(xp.argsort(ascending, axis=-1), *own)


@dataclass(frozen=True)
class TruncatedEigh:
    """``A -> (l_kept, V_kept, rank, l, V)``, the largest magnitude first.

    Parameters
    ----------
    whole : Eigh
        The decomposition that is truncated.
    truncation : Truncation
    """

    whole: Eigh
    truncation: Truncation

    @property
    def unread_inputs(self) -> tuple[int, ...]:
        return self.whole.unread_inputs

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return portable_methods(self.truncation) if self.whole.portable else ()

    def forward(self, a: Array) -> Arrays:
        values, vectors = by_magnitude(*self.whole.forward(a))
        rank = rank_by(self.truncation, a, values, vectors)
        return *self._restrict(rank, values, vectors), rank, values, vectors

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (_, _, rank, *pair), (g_kept_values, g_kept_vectors, _, *whole) = outputs, cotangents
        extended = self._extend(rank, pair[0], g_kept_values, g_kept_vectors)
        return self.whole.vjp(binding, arrays, tuple(pair), tuple(map(add, whole, extended)))

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        rank, *pair = outputs[2:]
        d_values, d_vectors = self.whole.jvp(binding, arrays, tuple(pair), tangents)
        return *self._restrict(rank, d_values, d_vectors), None, d_values, d_vectors

    def _restrict(self, rank: Array, values: Array, vectors: Array) -> tuple[Array, Array]:
        """The kept part: a slice for a bare `MaxRank`, zeros beyond the rank for the others."""
        if isinstance(self.truncation, MaxRank):
            columns = min(self.truncation.rank, values.shape[-1])
            return values[..., :columns], vectors[..., :, :columns]
        xp = namespace(values)
        kept = leading(rank, values.shape[-1])
        return xp.where(kept, values, 0.0), xp.where(as_row(kept), vectors, 0.0)

    def _extend(
        self, rank: Array, values: Array, g_values: Array | None, g_vectors: Array | None
    ) -> tuple[Array | None, Array | None]:
        """The transpose of `_restrict`."""
        xp = namespace(values)
        kept = leading(rank, values.shape[-1])
        if g_values is not None:
            g_values = xp.where(kept, _widen(g_values, values.shape[-1]), 0.0)
        if g_vectors is not None:
            g_vectors = xp.where(as_row(kept), _widen(g_vectors, values.shape[-1]), 0.0)
        return g_values, g_vectors


@dataclass(frozen=True)
class Signal:
    """``(l, Y, gV) -> (Y,)`` with 0 for what the rounding floor takes for rounding.

    A primitive of its own because where ``Y`` passes through 0, as at the optimum of a loss, its derivative
    need not, and a mask taken for a constant would make it 0. A tangent of ``Y`` meets a floor of its own
    size, that of the tangent of ``gV``. A cotangent has none, and meets `RoundingFloor.signal_vjp`.

    Parameters
    ----------
    noise : RoundingFloor
    """

    noise: RoundingFloor

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return portable_methods(self.noise)

    def forward(self, values: Array, inner: Array, vectors_cotangent: Array) -> Arrays:
        return (self.noise.signal(values, inner, vectors_cotangent),)

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        if cotangents[0] is None:
            return None, None, None
        return None, self.noise.signal_vjp(arrays[0], arrays[1], arrays[2], cotangents[0]), None

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        _, d_inner, d_cotangent = tangents
        return binding.apply(self, arrays[0], d_inner, d_cotangent)


def vjp_of_rule(
    gap: GapRule,
    binding: Binding,
    values: Array,
    vectors: Array,
    g_values: Array | None,
    g_vectors: Array | None,
) -> Array:
    """The cotangent of ``A`` by a gap rule, with its rounding floor if it has one."""
    return eigh.vjp(values, vectors, g_values, g_vectors, gap, signal_of(gap, binding))


def signal_of(gap: GapRule, binding: Binding) -> Callable[..., Array] | None:
    """The rounding floor of a gap rule as a function, if it has one."""
    noise: RoundingFloor | None = getattr(gap, "noise", None)
    return None if noise is None else lambda *arrays: binding.apply(Signal(noise), *arrays)[0]


def rank_by(truncation: Truncation, a: Array, values: Array, vectors: Array) -> Array:
    """The rank that a truncation gives, shape (...), or an error if it marks anything but eigenvalues."""
    marks = truncation.keep(hermitian_part(a), values, vectors)
    dtype, shape = getattr(marks, "dtype", None), getattr(marks, "shape", None)
    if dtype != namespace(values).bool or shape != values.shape:
        raise TypeError(
            f"{truncation!r} gave a {type(marks).__name__} of dtype {dtype} and shape {shape}, and a boolean "
            f"array of the eigenvalues' shape, {tuple(values.shape)}, is needed: True for those to keep."
        )
    return rank_of(marks)


def _widen(columns: Array, size: int) -> Array:
    """`columns` repeated along the last axis up to `size`; the caller masks the repetitions."""
    if columns.shape[-1] == size:
        return columns
    xp = namespace(columns)
    position = xp.arange(size, device=device(columns))
    return xp.take(columns, position % columns.shape[-1], axis=-1)
