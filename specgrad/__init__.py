"""Stable, and where possible exact, gradients through symmetric and Hermitian eigendecompositions."""

from specgrad.decompositions import eigh, eigvalsh
from specgrad.gaps import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
    TopNGap,
)
from specgrad.gauge import GaugeError, GaugeWarning, ProjectGauge, RaiseGauge, WarnGauge
from specgrad.planning import required_steps
from specgrad.results import EighResult, TruncatedEighResult
from specgrad.solvers import ConvergenceError, DenseEigh, DenseSVD, Fallback, PowerIteration
from specgrad.transforms import jvp, vjp
from specgrad.truncation import (
    EigenvalueFloor,
    EnergyRatio,
    MaxRank,
    RayleighMismatch,
)

__all__ = [
    "BalancedPowerIterationGap",
    "BroadenedGap",
    "ClippedGap",
    "ConvergenceError",
    "DenseEigh",
    "DenseSVD",
    "EigenvalueFloor",
    "EighResult",
    "EnergyRatio",
    "ExactGap",
    "Fallback",
    "GaugeError",
    "GaugeWarning",
    "MaskedGap",
    "MaxRank",
    "PadeGap",
    "PowerIteration",
    "PowerIterationGap",
    "ProjectGauge",
    "RaiseGauge",
    "RayleighMismatch",
    "RoundingFloor",
    "TaylorGap",
    "TopNGap",
    "TruncatedEighResult",
    "WarnGauge",
    "eigh",
    "eigvalsh",
    "jvp",
    "required_steps",
    "vjp",
]
