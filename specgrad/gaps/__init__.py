"""Gap rules: what stands for ``1/(l_j - l_i)`` where eigenvalues come close."""

from specgrad.gaps.cut import ClippedGap, TopNGap
from specgrad.gaps.pointwise import BroadenedGap, ExactGap, MaskedCut, MaskedGap
from specgrad.gaps.rule import GapRule, RoundingFloor
from specgrad.gaps.series import BalancedPowerIterationGap, PadeGap, PowerIterationGap, TaylorGap

__all__ = [
    "BalancedPowerIterationGap",
    "BroadenedGap",
    "ClippedGap",
    "ExactGap",
    "GapRule",
    "MaskedCut",
    "MaskedGap",
    "PadeGap",
    "PowerIterationGap",
    "RoundingFloor",
    "TaylorGap",
    "TopNGap",
]
