"""Primitives: a forward pass and its derivatives as one frozen value each."""

from specgrad.primitives.eigh import Eigh
from specgrad.primitives.matrix_function import ApplyFunction, Frechet
from specgrad.primitives.newton_schulz import NewtonSchulzRoot

__all__ = ["ApplyFunction", "Eigh", "Frechet", "NewtonSchulzRoot"]
