"""Solvers: frozen values that decompose Hermitian matrices.

A solver is any frozen dataclass with ``solve(a) -> (eigenvalues, eigenvectors)``, ascending. One that
also has ``vjp`` and ``jvp`` (see `PowerIteration`) brings its own derivative.
"""

from specgrad.solvers.dense import DenseEigh, DenseSVD
from specgrad.solvers.fallback import Fallback
from specgrad.solvers.guard import decompose, eigenvalues_alone, prepare
from specgrad.solvers.newton_schulz import (
    AcceptResidual,
    ConvergenceWarning,
    NewtonSchulz,
    RaiseResidual,
    WarnResidual,
)
from specgrad.solvers.power_iteration import PowerIteration
from specgrad.solvers.protocol import (
    ConvergenceError,
    DifferentiatedSolver,
    EigenvalueSolver,
    ResidualPolicy,
    RootSolver,
    Solver,
    has_own_derivative,
    is_root_solver,
    replaced,
    require_complete,
    solved,
    without_looking,
)
from specgrad.solvers.refined import Refined

__all__ = [
    "AcceptResidual",
    "ConvergenceError",
    "ConvergenceWarning",
    "DenseEigh",
    "DenseSVD",
    "DifferentiatedSolver",
    "EigenvalueSolver",
    "Fallback",
    "NewtonSchulz",
    "PowerIteration",
    "RaiseResidual",
    "Refined",
    "ResidualPolicy",
    "RootSolver",
    "Solver",
    "WarnResidual",
    "decompose",
    "eigenvalues_alone",
    "has_own_derivative",
    "is_root_solver",
    "prepare",
    "replaced",
    "require_complete",
    "solved",
    "without_looking",
]
