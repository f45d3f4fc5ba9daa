"""Gap rules in one kernel, where the array expression launches one for each operation."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from specgrad import BroadenedGap, ClippedGap, MaskedGap, RoundingFloor
from specgrad._array import as_column, as_row, eps, smallest_normal
from specgrad_cupy._require import cupy
from specgrad_cupy.sources import PAIR_BODIES

__all__ = ["FusedGap"]

_PARAMETERS = {MaskedGap: "tolerance", BroadenedGap: "width", ClippedGap: "limit"}


@dataclass(frozen=True)
class FusedGap:
    """The same gap rule with its pair matrix in one elementwise kernel.

    Parameters
    ----------
    rule : MaskedGap, BroadenedGap or ClippedGap

    Raises
    ------
    TypeError
        For another rule.

    Examples
    --------
    >>> from specgrad import MaskedGap
    >>> from specgrad_cupy import FusedGap, eigh, vjp
    >>> output, pullback = vjp(eigh, cupy.diag(cupy.arange(3.0)), gap=FusedGap(MaskedGap()))
    """

    rule: MaskedGap | BroadenedGap | ClippedGap

    def __post_init__(self) -> None:
        if type(self.rule) not in _PARAMETERS:
            raise TypeError(
                "FusedGap has kernels for MaskedGap, BroadenedGap and ClippedGap, and was given "
                f"{self.rule!r}: pass that rule itself as gap."
            )

    @property
    def noise(self) -> RoundingFloor | None:
        """The rounding floor of the rule."""
        return self.rule.noise

    def matrix(self, values: Any, tie_width: Any = None) -> Any:
        """The pair matrix, (..., n, n), of eigenvalues (..., n)."""
        if 0 in values.shape:
            return self.rule.matrix(values, tie_width)
        given = getattr(self.rule, _PARAMETERS[type(self.rule)])
        parameter = eps(values) ** 0.75 if given is None else given
        scale = cupy.abs(values).max(axis=-1)[..., None, None]
        # A spectrum of zeros has only ties; its scale divides none.
        scale = cupy.where(scale > smallest_normal(values) / eps(values), scale, scale.dtype.type(1))
        width = values.dtype.type(0) if tie_width is None else tie_width
        return _kernel(type(self.rule).__name__)(
            as_column(values), as_row(values), parameter, scale, smallest_normal(values), width
        )

    def bound(self, values: Any) -> Any:
        """That of the rule."""
        return self.rule.bound(values)


@cache
def _kernel(name: str) -> Any:
    return cupy.ElementwiseKernel(
        "T x, T y, T parameter, T scale, T smallest, T tie_width",
        "T k",
        PAIR_BODIES[name],
        f"specgrad_{name}",
    )
