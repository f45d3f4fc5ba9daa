"""specgrad under JAX autodiff: the same functions, on arrays that JAX transforms."""

import specgrad
from specgrad_jax._bind import JAX

__all__ = [
    "eigh",
    "eigvalsh",
    "expm",
    "inv_sqrtm",
    "logm",
    "matrix_function",
    "powm",
    "spectral_projector",
    "sqrtm",
]

eigh = specgrad.eigh.bound(JAX)
eigvalsh = specgrad.eigvalsh.bound(JAX)
expm = specgrad.expm.bound(JAX)
inv_sqrtm = specgrad.inv_sqrtm.bound(JAX)
logm = specgrad.logm.bound(JAX)
matrix_function = specgrad.matrix_function.bound(JAX)
powm = specgrad.powm.bound(JAX)
spectral_projector = specgrad.spectral_projector.bound(JAX)
sqrtm = specgrad.sqrtm.bound(JAX)
