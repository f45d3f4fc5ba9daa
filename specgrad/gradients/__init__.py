"""Gradient rules of matrix functions: which derivative goes with the forward pass."""

from specgrad.gradients.rule import Decomposition, GradientRule
from specgrad.gradients.sandwich import DaleckiiKrein, ThroughEigenvectors
from specgrad.gradients.steps import NewtonSchulzGradient, ThroughSolver

__all__ = [
    "DaleckiiKrein",
    "Decomposition",
    "GradientRule",
    "NewtonSchulzGradient",
    "ThroughEigenvectors",
    "ThroughSolver",
]
