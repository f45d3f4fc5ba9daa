"""Stable, and where possible exact, gradients through symmetric and Hermitian eigendecompositions."""

from specgrad.bounded_functions import Cos, Sign, Sin
from specgrad.composed_functions import Clamped, FromDerivative, Shifted
from specgrad.decompositions import eigh, eigvalsh
from specgrad.denoising import Standardise, denoising_matrix, pca_denoise
from specgrad.functions import Exp, InverseSqrt, Log, Power, Sqrt
from specgrad.gaps import (
    BalancedPowerIterationGap,
    BroadenedGap,
    ClippedGap,
    ExactGap,
    MaskedCut,
    MaskedGap,
    PadeGap,
    PowerIterationGap,
    RoundingFloor,
    TaylorGap,
    TopNGap,
)
from specgrad.gauge import GaugeError, GaugeWarning, ProjectGauge, RaiseGauge, WarnGauge
from specgrad.generalised import generalised_eigh
from specgrad.gradients import DaleckiiKrein, NewtonSchulzGradient, ThroughEigenvectors, ThroughSolver
from specgrad.matrix_functions import matrix_function, spectral_projector
from specgrad.named_functions import expm, inv_sqrtm, logm, powm, sqrtm
from specgrad.planning import required_steps
from specgrad.results import DenoisingResult, EighResult, TruncatedEighResult, WhiteningResult
from specgrad.solvers import (
    AcceptResidual,
    ConvergenceError,
    ConvergenceWarning,
    DenseEigh,
    DenseSVD,
    Fallback,
    NewtonSchulz,
    PowerIteration,
    RaiseResidual,
    Refined,
    WarnResidual,
)
from specgrad.statistics import covariance, covariance_pool
from specgrad.transforms import jvp, vjp
from specgrad.truncation import (
    EigenvalueFloor,
    EnergyRatio,
    MaxRank,
    RayleighMismatch,
)
from specgrad.whitening import whitening_matrix, zca_whiten

__version__ = "0.1.0"

__all__ = [
    "AcceptResidual",
    "BalancedPowerIterationGap",
    "BroadenedGap",
    "Clamped",
    "ClippedGap",
    "ConvergenceError",
    "ConvergenceWarning",
    "Cos",
    "DaleckiiKrein",
    "DenoisingResult",
    "DenseEigh",
    "DenseSVD",
    "EigenvalueFloor",
    "EighResult",
    "EnergyRatio",
    "ExactGap",
    "Exp",
    "Fallback",
    "FromDerivative",
    "GaugeError",
    "GaugeWarning",
    "InverseSqrt",
    "Log",
    "MaskedCut",
    "MaskedGap",
    "MaxRank",
    "NewtonSchulz",
    "NewtonSchulzGradient",
    "PadeGap",
    "Power",
    "PowerIteration",
    "PowerIterationGap",
    "ProjectGauge",
    "RaiseGauge",
    "RaiseResidual",
    "RayleighMismatch",
    "Refined",
    "RoundingFloor",
    "Shifted",
    "Sign",
    "Sin",
    "Sqrt",
    "Standardise",
    "TaylorGap",
    "ThroughEigenvectors",
    "ThroughSolver",
    "TopNGap",
    "TruncatedEighResult",
    "WarnGauge",
    "WarnResidual",
    "WhiteningResult",
    "covariance",
    "covariance_pool",
    "denoising_matrix",
    "eigh",
    "eigvalsh",
    "expm",
    "generalised_eigh",
    "inv_sqrtm",
    "jvp",
    "logm",
    "matrix_function",
    "pca_denoise",
    "powm",
    "required_steps",
    "spectral_projector",
    "sqrtm",
    "vjp",
    "whitening_matrix",
    "zca_whiten",
]
