"""A function of the correlation that belongs to a covariance, as a primitive."""

from dataclasses import dataclass
from functools import cached_property

from specgrad._typing import Array, Arrays
from specgrad.bind import Binding, Primitive
from specgrad.derivatives import standardise
from specgrad.primitives._cotangents import add

__all__ = ["Standardised"]


@dataclass(frozen=True)
class Standardised:
    """``C -> (M, ..., P, R)`` with ``P = f(R)``; what lies between is what ``f`` puts out.

    Parameters
    ----------
    function : Primitive
        ``R -> (f(R), ...)``.
    eps : float
        Added to the variances.
    """

    function: Primitive
    eps: float

    @cached_property
    def portable(self) -> tuple[str, ...]:
        return getattr(self.function, "portable", ())

    def forward(self, c: Array) -> Arrays:
        s = standardise.deviation(c, self.eps)
        r = standardise.correlation(c, s)
        p, *rest = self.function.forward(r)
        return standardise.acting_on_data(p, s), *rest, p, r

    def vjp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, cotangents: tuple[Array | None, ...]
    ) -> tuple[Array | None, ...]:
        (m, *rest, p, r), (g_m, *g_rest, g_p, g_r) = outputs, cotangents
        s = standardise.deviation(arrays[0], self.eps)
        if g_m is not None:
            g_p = add(g_p, standardise.acting_on_data(g_m, s))
        (through_image,) = self.function.vjp(binding, (r,), (p, *rest), (g_p, *g_rest))
        g_r = add(g_r, through_image)
        if g_m is None and g_r is None:
            return (None,)
        return (standardise.vjp(m, r, s, g_m, g_r),)

    def jvp(
        self, binding: Binding, arrays: Arrays, outputs: Arrays, tangents: Arrays
    ) -> tuple[Array | None, ...]:
        m, *rest, p, r = outputs
        s = standardise.deviation(arrays[0], self.eps)
        d_s, d_r = standardise.correlation_jvp(r, s, tangents[0])
        d_p, *d_rest = self.function.jvp(binding, (r,), (p, *rest), (d_r,))
        return standardise.acting_on_data_jvp(m, s, d_p, d_s), *d_rest, d_p, d_r
