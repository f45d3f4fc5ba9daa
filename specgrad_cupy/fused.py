"""Gap rules in one kernel, where the array expression launches one for each operation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

from specgrad import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
)
from specgrad._array import as_column, as_row, magnitude_scale
from specgrad.gaps import GapRule
from specgrad.gaps.pairs import negligible
from specgrad_cupy._require import cupy
from specgrad_cupy.pair_sources import PAIR_BODIES, PAIRS

__all__ = ["FusedGap"]

# The number that the body of each rule needs, or one for each spectrum.
_PARAMETERS: dict[type, Callable[[Any, Any], Any]] = {
    ExactGap: lambda rule, values: float(rule.noise is not None),
    MaskedGap: lambda rule, values: rule.tie_width(values)[..., None],
    BroadenedGap: lambda rule, values: rule.relative_width(values),
    ClippedGap: lambda rule, values: rule.largest(values),
    PowerIterationGap: lambda rule, values: rule.steps,
    BalancedPowerIterationGap: lambda rule, values: rule.steps,
    TaylorGap: lambda rule, values: rule.degree,
    PadeGap: lambda rule, values: rule.least_ratio(values),
}


@dataclass(frozen=True)
class FusedGap:
    """The same gap rule with its pair matrix in one elementwise kernel.

    Parameters
    ----------
    rule : GapRule
        Any of `specgrad` but `TopNGap`.

    Raises
    ------
    TypeError
        For another rule.

    Examples
    --------
    >>> import cupy
    >>> from specgrad import MaskedGap
    >>> from specgrad_cupy import FusedGap, eigh, vjp
    >>> output, pullback = vjp(eigh, cupy.diag(cupy.arange(3.0)), gap=FusedGap(MaskedGap()))
    """

    rule: GapRule

    def __post_init__(self) -> None:
        if type(self.rule) not in _PARAMETERS:
            known = ", ".join(kind.__name__ for kind in _PARAMETERS)
            raise TypeError(
                f"FusedGap has kernels for {known}, and was given {self.rule!r}: pass that rule itself as "
                "gap."
            )

    @property
    def noise(self) -> RoundingFloor | None:
        """The rounding floor of the rule."""
        return getattr(self.rule, "noise", None)

    def matrix(self, values: Any) -> Any:
        """The pair matrix, (..., n, n), of eigenvalues (..., n)."""
        if 0 in values.shape:
            return self.rule.matrix(values)
        position = cupy.arange(values.shape[-1])
        return _kernel(type(self.rule).__name__)(
            as_column(values),
            as_row(values),
            position[:, None],
            position,
            _PARAMETERS[type(self.rule)](self.rule, values),
            magnitude_scale(values)[..., None],
            negligible(values)[..., None],
        )

    def bound(self, values: Any) -> Any:
        """That of the rule."""
        return self.rule.bound(values)


@cache
def _kernel(name: str) -> Any:
    return cupy.ElementwiseKernel(
        "T x, T y, int64 row, int64 column, T parameter, T scale, T negligible",
        "T k",
        PAIR_BODIES[name],
        f"specgrad_{name}",
        preamble="#define DEVICE __device__ inline\n" + PAIRS,
    )
