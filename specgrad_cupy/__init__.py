"""specgrad on CuPy arrays: the same functions with solvers for the GPU, vjp and jvp."""

import specgrad
from specgrad import jvp, vjp
from specgrad_cupy._default_solver import with_default_solver as _with_default_solver
from specgrad_cupy.auto import AutoSolver
from specgrad_cupy.bridge import ThroughDLPack
from specgrad_cupy.cusolver import Syevd, SyevjBatched
from specgrad_cupy.fused import FusedGap
from specgrad_cupy.jacobi import Jacobi
from specgrad_cupy.repair import Repaired

__all__ = [
    "AutoSolver",
    "FusedGap",
    "Jacobi",
    "Repaired",
    "Syevd",
    "SyevjBatched",
    "ThroughDLPack",
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
    "spectral_projector",
    "sqrtm",
    "vjp",
    "whitening_matrix",
    "zca_whiten",
]

_AUTO = AutoSolver()

covariance = specgrad.covariance
covariance_pool = _with_default_solver(specgrad.covariance_pool, _AUTO)
denoising_matrix = _with_default_solver(specgrad.denoising_matrix, _AUTO)
eigh = _with_default_solver(specgrad.eigh, _AUTO)
eigvalsh = _with_default_solver(specgrad.eigvalsh, _AUTO)
expm = _with_default_solver(specgrad.expm, _AUTO)
generalised_eigh = _with_default_solver(specgrad.generalised_eigh, _AUTO)
inv_sqrtm = _with_default_solver(specgrad.inv_sqrtm, _AUTO)
logm = _with_default_solver(specgrad.logm, _AUTO)
matrix_function = _with_default_solver(specgrad.matrix_function, _AUTO)
pca_denoise = _with_default_solver(specgrad.pca_denoise, _AUTO)
powm = _with_default_solver(specgrad.powm, _AUTO)
spectral_projector = _with_default_solver(specgrad.spectral_projector, _AUTO)
sqrtm = _with_default_solver(specgrad.sqrtm, _AUTO)
whitening_matrix = _with_default_solver(specgrad.whitening_matrix, _AUTO)
zca_whiten = _with_default_solver(specgrad.zca_whiten, _AUTO)
