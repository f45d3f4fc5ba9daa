"""CuPy's solvers for the arrays of other libraries on the same device, without a copy."""

from dataclasses import dataclass
from typing import Any

from specgrad._array import namespace
from specgrad.solvers import Solver
from specgrad_cupy._require import cupy
from specgrad_cupy.auto import AutoSolver

__all__ = ["ThroughDLPack"]

_AUTO = AutoSolver()


@dataclass(frozen=True)
class ThroughDLPack:
    """A solver of this package for the CUDA arrays of another library, as PyTorch's tensors.

    For `specgrad_torch` on CUDA, where PyTorch before 2.12 takes matrices beyond n = 32 one by one. The
    exchange orders the two libraries' streams on the device; the host does not wait.

    Parameters
    ----------
    solver : Solver, default AutoSolver()

    Examples
    --------
    >>> import torch  # doctest: +SKIP
    >>> import specgrad_torch  # doctest: +SKIP
    >>> a = torch.eye(100, device="cuda").expand(500, 100, 100)  # doctest: +SKIP
    >>> specgrad_torch.eigh(a, solver=ThroughDLPack())  # doctest: +SKIP
    """

    solver: Solver = _AUTO

    def solve(self, a: Any) -> tuple[Any, Any]:
        """Eigenvalues (..., n), ascending, and eigenvectors (..., n, n)."""
        # Libraries do not export what carries gradients; the derivative is not taken through here.
        # Nor what is only marked as conjugated.
        given = a.detach().resolve_conj() if hasattr(a, "detach") else a
        results = self.solver.solve(cupy.from_dlpack(given))
        # A negative or zero stride cannot be imported everywhere.
        return tuple(namespace(a).from_dlpack(cupy.ascontiguousarray(x)) for x in results)
