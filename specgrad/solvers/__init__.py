"""Solvers: frozen values that decompose Hermitian matrices.

A solver is any frozen dataclass with ``solve(a) -> (eigenvalues, eigenvectors)``, ascending. One that
also has ``vjp`` and ``jvp`` (see `power_iteration`) brings its own derivative.
"""

from specgrad.solvers._protocol import ConvergenceError, DifferentiatedSolver, Solver, has_own_derivative
from specgrad.solvers.dense import DenseEigh, DenseSVD
from specgrad.solvers.fallback import Fallback, Guarded, HermitianPart, decompose, prepare
from specgrad.solvers.power_iteration import PowerIteration

__all__ = [
    "ConvergenceError",
    "DenseEigh",
    "DenseSVD",
    "DifferentiatedSolver",
    "Fallback",
    "Guarded",
    "HermitianPart",
    "PowerIteration",
    "Solver",
    "decompose",
    "has_own_derivative",
    "prepare",
]
