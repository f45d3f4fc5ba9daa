"""The eigendecomposition of a Hermitian matrix as a primitive, truncated or not."""

from dataclasses import dataclass
from typing import cast

from specgrad._array import as_row, device, namespace, take_columns
from specgrad._typing import Array, Arrays
from specgrad.bind import Binding
from specgrad.derivatives import eigh
from specgrad.gaps import GapRule
from specgrad.gauge import GaugePolicy
from specgrad.leading import by_magnitude, leading, leading_run, rank_of
from specgrad.primitives._cotangents import add
from specgrad.solvers import DifferentiatedSolver, Solver, decompose
from specgrad.truncation import MaxRank, Truncation

__all__ = ["Eigh"]


@dataclass(frozen=True)
class Eigh:
    """``A -> (l, V)``, or with a truncation ``A -> (l_kept, V_kept, rank, l, V)``, ``l`` by magnitude.

    Parameters
    ----------
    solver : Solver
        Gives ``(l, V)``.
    gap : GapRule or None
        Gives the pair matrix of the derivative. None: the solver brings its own derivative.
    truncation : Truncation or None
    gauge : GaugePolicy
        What to do with a cotangent that depends on the gauge.
    """

    solver: Solver
    gap: GapRule | None
    truncation: Truncation | None
    gauge: GaugePolicy

    def forward(self, a: Array) -> Arrays:
        values, vectors = decompose(self.solver, a)
        if self.truncation is None:
            return values, vectors
        values, vectors = by_magnitude(values, vectors)
        rank = rank_of(leading_run(self.truncation.keep(a, values, vectors)))
        return *self._restrict(rank, values, vectors), rank, values, vectors

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        values, vectors = outputs[-2:]
        g_values, g_vectors = cotangents[-2:]
        if self.truncation is not None:
            g_kept_values, g_kept_vectors = self._extend(outputs[2], values, *cotangents[:2])
            g_values, g_vectors = add(g_values, g_kept_values), add(g_vectors, g_kept_vectors)
        if g_values is None and g_vectors is None:
            return (None,)
        if 0 in arrays[0].shape:
            return (namespace(values).zeros_like(arrays[0]),)
        if self.gap is None:
            return (self._vjp_of_solver(arrays[0], values, vectors, g_values, g_vectors),)
        if g_vectors is not None:
            g_vectors = self.gauge.apply(values, vectors, g_vectors, binding)
        return (eigh.vjp(values, vectors, g_values, g_vectors, self.gap),)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        values, vectors = outputs[-2:]
        if 0 in arrays[0].shape:
            xp = namespace(values)
            d_values, d_vectors = xp.zeros_like(values), xp.zeros_like(vectors)
        elif self.gap is None:
            d_values, d_vectors = self._jvp_of_solver(arrays[0], values, tangents[0])
        else:
            d_values, d_vectors = eigh.jvp(values, vectors, tangents[0], self.gap)
        if self.truncation is None:
            return d_values, d_vectors
        return *self._restrict(outputs[2], d_values, d_vectors), None, d_values, d_vectors

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


def _widen(columns: Array, size: int) -> Array:
    """`columns` repeated along the last axis up to `size`; the caller masks the repetitions."""
    if columns.shape[-1] == size:
        return columns
    xp = namespace(columns)
    position = xp.arange(size, device=device(columns))
    return xp.take(columns, position % columns.shape[-1], axis=-1)
