"""Primitives: a forward pass and its derivatives as one frozen value each."""

from specgrad.primitives.eigh import Eigh

__all__ = ["Eigh"]
