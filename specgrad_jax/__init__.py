"""specgrad under JAX autodiff: the same functions, on arrays that JAX transforms."""

import specgrad
from specgrad_jax._bind import JAX

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

covariance = specgrad.covariance.bound(JAX)
covariance_pool = specgrad.covariance_pool.bound(JAX)
denoising_matrix = specgrad.denoising_matrix.bound(JAX)
eigh = specgrad.eigh.bound(JAX)
eigvalsh = specgrad.eigvalsh.bound(JAX)
expm = specgrad.expm.bound(JAX)
generalised_eigh = specgrad.generalised_eigh.bound(JAX)
inv_sqrtm = specgrad.inv_sqrtm.bound(JAX)
logm = specgrad.logm.bound(JAX)
matrix_function = specgrad.matrix_function.bound(JAX)
pca_denoise = specgrad.pca_denoise.bound(JAX)
powm = specgrad.powm.bound(JAX)
spectral_projector = specgrad.spectral_projector.bound(JAX)
sqrtm = specgrad.sqrtm.bound(JAX)
whitening_matrix = specgrad.whitening_matrix.bound(JAX)
zca_whiten = specgrad.zca_whiten.bound(JAX)
