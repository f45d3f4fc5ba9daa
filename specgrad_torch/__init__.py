"""specgrad under PyTorch autograd: the same functions, on tensors that carry gradients."""

import specgrad
from specgrad_torch._bind import TORCH

__all__ = [
    "covariance",
    "covariance_pool",
    "denoising_matrix",
    "eigh",
    "eigvalsh",
    "expm",
    "generalised_eigh",
    "inv_sqrtm",
    "logm",
    "matrix_function",
    "pca_denoise",
    "powm",
    "spectral_projector",
    "sqrtm",
    "whitening_matrix",
    "zca_whiten",
]

covariance = specgrad.covariance.bound(TORCH)
covariance_pool = specgrad.covariance_pool.bound(TORCH)
denoising_matrix = specgrad.denoising_matrix.bound(TORCH)
eigh = specgrad.eigh.bound(TORCH)
eigvalsh = specgrad.eigvalsh.bound(TORCH)
expm = specgrad.expm.bound(TORCH)
generalised_eigh = specgrad.generalised_eigh.bound(TORCH)
inv_sqrtm = specgrad.inv_sqrtm.bound(TORCH)
logm = specgrad.logm.bound(TORCH)
matrix_function = specgrad.matrix_function.bound(TORCH)
pca_denoise = specgrad.pca_denoise.bound(TORCH)
powm = specgrad.powm.bound(TORCH)
spectral_projector = specgrad.spectral_projector.bound(TORCH)
sqrtm = specgrad.sqrtm.bound(TORCH)
whitening_matrix = specgrad.whitening_matrix.bound(TORCH)
zca_whiten = specgrad.zca_whiten.bound(TORCH)
