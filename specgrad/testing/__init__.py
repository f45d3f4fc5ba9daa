"""The conformance kit: what solvers, rules, truncations and functions must satisfy, for authors of plug-ins.

Five checks raise `AssertionError` with where it fails, what was measured and what is allowed:

`check_solver`
    LAPACK's residual ratios over `SPECTRA`.
`check_gap`
    The contract of a gap rule, property by property.
`check_truncation`
    What a truncation marks: the same alone and in batches, and for every choice of phases.
`check_gradient`
    A pullback against finite differences, and against its own Jacobian-vector product.
`check_function`
    The divided differences of a function of eigenvalues against quotients, and derivatives at ties.

They are built from named spectra, random matrices that have them, Hypothesis strategies, losses that do
not depend on the gauge, and oracles in higher precision, all of which can be used alone. The kit needs
hypothesis and mpmath, which the library itself does not.
"""

from specgrad.testing.function_checks import check_function
from specgrad.testing.gap_checks import check_gap
from specgrad.testing.gap_properties import (
    GAP_PROPERTIES,
    antisymmetry,
    batches,
    bound_holds,
    finite_with_floor,
    permutation_equivariance,
    scale_equivariance,
    sign,
    wide_gaps,
    zero_diagonal,
)
from specgrad.testing.gradient_checks import check_gradient
from specgrad.testing.losses import ClusterLoss, LinearLoss
from specgrad.testing.matrices import banded, dense, diagonal, random_hermitian, random_unitary
from specgrad.testing.oracles import cluster_gradient, subspace_gradient
from specgrad.testing.solver_checks import check_solver, orthogonality_ratio, reconstruction_ratio
from specgrad.testing.spectra import GAP_SWEEP, LAPACK_SPECTRA, SPECTRA, Spectrum, gap_spectrum
from specgrad.testing.strategies import hermitian_matrices, spectra
from specgrad.testing.truncation_checks import check_truncation

__all__ = [
    "GAP_PROPERTIES",
    "GAP_SWEEP",
    "LAPACK_SPECTRA",
    "SPECTRA",
    "ClusterLoss",
    "LinearLoss",
    "Spectrum",
    "antisymmetry",
    "banded",
    "batches",
    "bound_holds",
    "check_function",
    "check_gap",
    "check_gradient",
    "check_solver",
    "check_truncation",
    "cluster_gradient",
    "dense",
    "diagonal",
    "finite_with_floor",
    "gap_spectrum",
    "hermitian_matrices",
    "orthogonality_ratio",
    "permutation_equivariance",
    "random_hermitian",
    "random_unitary",
    "reconstruction_ratio",
    "scale_equivariance",
    "sign",
    "spectra",
    "subspace_gradient",
    "wide_gaps",
    "zero_diagonal",
]
