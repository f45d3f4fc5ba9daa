"""Primitives: a forward pass and its derivatives as one frozen value each."""

from specgrad.primitives.eigh import Eigh, TruncatedEigh
from specgrad.primitives.generalised_eigh import GeneralisedEigh
from specgrad.primitives.matrix_function import ApplyFunction, Frechet
from specgrad.primitives.square_root import SquareRoot
from specgrad.primitives.standardised import Standardised
from specgrad.primitives.statistics import Covariance, PooledCovariance, SpectralFilter

__all__ = [
    "ApplyFunction",
    "Covariance",
    "Eigh",
    "Frechet",
    "GeneralisedEigh",
    "PooledCovariance",
    "SpectralFilter",
    "SquareRoot",
    "Standardised",
    "TruncatedEigh",
]
